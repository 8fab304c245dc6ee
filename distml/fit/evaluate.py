"""Scores of models on test sets by scikit-learn's scorer names, and what a prediction takes."""

import difflib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer, get_scorer_names

from distml.errors import UserError

__all__ = ["Scores", "check_metrics", "default_metrics", "evaluate"]

logger = logging.getLogger(__name__)


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
    watched = _Watched(model)
    values = {name: _score(name, watched, X, y) for name in metrics}
    return Scores(values=values, predict_seconds=watched.seconds)


def _score(name: str, model: "_Watched", X: Any, y: np.ndarray) -> float | None:
    try:
        score = float(get_scorer(name)(model, X, y))
    except (AttributeError, ValueError) as error:
        # A hard vote has no probabilities; a test set may lack a class.
        logger.info("%s cannot be scored by %s: %s", model.name, name, error)
        return None
    return score if math.isfinite(score) else None


class _Watched:
    """A model whose predictions of one matrix are timed and kept."""

    _KEPT = frozenset({"predict", "predict_proba", "decision_function"})

    def __init__(self, model: BaseEstimator) -> None:
        self._model = model
        self._predictions: dict[str, Any] = {}
        self.name = type(model).__name__
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        return self._kept(name, value) if name in self._KEPT else value

    def _kept(self, name: str, method: Any) -> Any:
        def predict(X: Any) -> Any:
            if name not in self._predictions:
                started = time.perf_counter()
                self._predictions[name] = method(X)
                self.seconds += time.perf_counter() - started
            return self._predictions[name]

        predict.__name__ = name
        return predict
