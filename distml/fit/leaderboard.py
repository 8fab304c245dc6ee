"""The result table: the model, its members and its baselines, each on every test set."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from distml.fit.evaluate import evaluate

__all__ = ["Entry", "fitted", "leaderboard", "models"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A fitted model that takes part."""

    name: str
    """What to call it."""
    kind: str
    """`ensemble`, `model`, `member` or `baseline`."""
    model: BaseEstimator
    """Fitted."""
    fit_seconds: float | None
    """Wall time of its fit on all training rows; for an ensemble that of everything it fits."""
    needs: str = "matrix"
    """Which input it predicts from."""


def models(estimator: BaseEstimator, seconds: float) -> Iterator[Entry]:
    """A fitted estimator and, if it has named members, those.

    Args:
        estimator: What was fitted.
        seconds: How long that took.
    """
    kind = "ensemble" if hasattr(estimator, "estimators_") else "model"
    yield Entry(name=type(estimator).__name__, kind=kind, model=estimator, fit_seconds=seconds)
    times = getattr(estimator, "fit_times_", {})
    for name, member in getattr(estimator, "named_estimators_", {}).items():
        if member != "drop":
            yield Entry(name=name, kind="member", model=member, fit_seconds=times.get(name))


def fitted(
    name: str, model: BaseEstimator, X: Any, y: np.ndarray, *, needs: str = "nothing"
) -> Entry:
    """Fit a baseline here and now."""
    started = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - started
    return Entry(name=name, kind="baseline", model=model, fit_seconds=seconds, needs=needs)


def leaderboard(
    entries: Sequence[Entry],
    inputs: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, np.ndarray],
    metrics: Sequence[str],
) -> list[dict[str, Any]]:
    """Score every entry on every test set.

    Args:
        entries: The models.
        inputs: Test set → kind of input → what to predict from.
        labels: Test set → array of shape (n_samples,).
        metrics: scikit-learn's scorer names.

    Returns:
        A row an entry, in their order: `model`, `kind`, `fit_s`, `predict_s` (seconds, the latter
        over all test sets), and for each test set its scores by name.
    """
    return [_row(entry, inputs, labels, metrics) for entry in entries]


def _row(
    entry: Entry,
    inputs: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, np.ndarray],
    metrics: Sequence[str],
) -> dict[str, Any]:
    scores = {
        name: evaluate(entry.model, inputs[name][entry.needs], y, metrics)
        for name, y in labels.items()
    }
    return {
        "model": entry.name,
        "kind": entry.kind,
        "fit_s": entry.fit_seconds,
        "predict_s": sum(score.predict_seconds for score in scores.values()),
        **{name: score.values for name, score in scores.items()},
    }
