"""Scores of models on test sets by scikit-learn's scorer names, and what a prediction takes."""

import difflib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring, get_scorer_names

from distml.errors import UserError

__all__ = ["Scores", "check_metrics", "default_metrics", "evaluate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What a model reached on one test set."""

    values: dict[str, float | None]
    """Scorer name → score; greater is better. `None` where the model cannot be scored so."""
    predict_seconds: float
    """Wall time of its predictions."""


def default_metrics(num_classes: int | None) -> tuple[str, ...]:
    """What to look at if the job does not say: `num_classes` is `None` for a regression."""
    if num_classes is None:
        return ("r2", "neg_root_mean_squared_error", "neg_mean_absolute_error")
    if num_classes == 2:
        return ("roc_auc", "average_precision", "neg_log_loss", "accuracy")
    return ("accuracy", "f1_macro", "roc_auc_ovr", "neg_log_loss")


def check_metrics(names: Sequence[str]) -> None:
    """Refuse names that scikit-learn has no scorer for.

    Raises:
        UserError: names the first of them and the nearest one that exists.
    """
    known = get_scorer_names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else "see sklearn.metrics.get_scorer_names()"
            )
            raise UserError(f"metrics: {name!r} is no scorer of scikit-learn; {hint}")


def evaluate(model: BaseEstimator, X: Any, y: np.ndarray, metrics: Sequence[str]) -> Scores:
    """Score a fitted model; each kind of prediction is made once, however many scorers need it.

    Args:
        model: Fitted classifier or regressor.
        X: What it predicts from, n_samples rows.
        y: Array of shape (n_samples,).
        metrics: scikit-learn's scorer names.
    """
    watched = _Stopwatch(model)
    scorer = check_scoring(watched, scoring=list(metrics), raise_exc=False)
    scores = scorer(watched, X, y)
    values = {name: _number(scores[name]) for name in metrics}
    return Scores(values=values, predict_seconds=watched.seconds)


def _number(score: Any) -> float | None:
    """A finite score; a scorer that failed gives its traceback as text."""
    return None if isinstance(score, str) or not math.isfinite(score) else float(score)


class _Stopwatch:
    """A model whose predictions are timed."""

    _TIMED = frozenset({"predict", "predict_proba", "decision_function"})

    def __init__(self, model: BaseEstimator) -> None:
        self._model = model
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        return self._timed(value) if name in self._TIMED else value

    def _timed(self, method: Any) -> Any:
        def predict(X: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(X)
            finally:
                self.seconds += time.perf_counter() - started

        predict.__name__ = method.__name__
        return predict
