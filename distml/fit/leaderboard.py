"""The result table: the model, its members and its baselines, each on every test set."""

import contextlib
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
import numpy as np
from sklearn.base import BaseEstimator

from distml.fit.predictions import Predictions, predict_blocks
from distml.fit.recipe import Recipe
from distml.fit.tables import Table

__all__ = ["Entry", "fitted", "leaderboard", "models", "named_apart", "predict_part", "size_bytes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A fitted model that takes part."""

    name: str
    """What to call it."""
    kind: str
    """`ensemble`, `model`, `member`, `baseline` or `former`."""
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


def predict_part(
    entries: Sequence[Entry], recipe: Recipe, rows: Table, holds: np.ndarray | None
) -> dict[str, Predictions]:
    """What every model says of one part, which is encoded block by block.

    Args:
        entries: The models.
        recipe: Whose encoder makes the matrix that models predict from.
        rows: Features of the part.
        holds: Where the rule holds, bool array of shape (n_rows,), if there is a rule.

    Returns:
        Name of the model → its predictions.
    """
    inputs: dict[str, Callable[[slice], Any]] = {
        "matrix": lambda block: recipe.encode(rows[block]),
        "rows": lambda block: rows[block],
        "nothing": lambda block: np.empty((block.stop - block.start, 0)),
        "rule": lambda block: None if holds is None else holds[block],
    }
    pairs = [(entry.model, entry.needs) for entry in entries]
    said = predict_blocks(pairs, inputs, rows.num_rows)
    return {entry.name: each for entry, each in zip(entries, said, strict=True)}


def leaderboard(
    entries: Sequence[Entry],
    predicted: Mapping[str, Mapping[str, Predictions]],
    scores: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    validation: Mapping[str, Mapping[str, float | None]],
) -> list[dict[str, Any]]:
    """Lay out what every entry reached on every test set.

    Args:
        entries: The models.
        predicted: Test set → model → its predictions.
        scores: Test set → model → scorer → score.
        validation: Model → scorer → score of rows left out in training.

    Returns:
        A row an entry, in their order: `model`, `kind`, `fit_s`, `predict_s` (seconds, the latter
        over all test sets), `size_bytes`, for each test set its scores by name, and `validation`
        where there is one.
    """
    return [
        {
            "model": entry.name,
            "kind": entry.kind,
            "fit_s": entry.fit_seconds,
            "predict_s": sum(said[entry.name].seconds for said in predicted.values()),
            "size_bytes": size_bytes(entry.model),
            **{name: dict(by_model[entry.name]) for name, by_model in scores.items()},
            **({"validation": found} if (found := validation.get(entry.name)) else {}),
        }
        for entry in entries
    ]


def named_apart(entries: Iterable[Entry]) -> list[Entry]:
    """Entries under names of their own: a baseline gives way to a member of the same name."""
    apart: dict[str, Entry] = {}
    for entry in entries:
        name = entry.name
        while name in apart:
            name = f"{name} ({entry.kind})"
        apart[name] = replace(entry, name=name)
    return list(apart.values())


def size_bytes(model: BaseEstimator) -> int | None:
    """Bytes of a fitted model as a pickle, which is never held; `None` if it cannot be pickled."""
    # What a job file defines is in no module: it goes into the pickle itself.
    for dump in (pickle.dump, cloudpickle.dump):
        count = _Count()
        with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError, ValueError):
            dump(model, count, protocol=5)
            return count.num_bytes
    return None


class _Count:
    """A file that only counts."""

    def __init__(self) -> None:
        self.num_bytes = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.num_bytes += size
        return size
