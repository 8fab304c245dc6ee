"""Scores by scikit-learn's scorer names, and which of them to look at."""

import difflib
import logging
import math
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names

from distml.errors import UserError
from distml.fit.predictions import Predictions

__all__ = ["check_metrics", "decisive_methods", "default_metrics", "score", "scores"]

logger = logging.getLogger(__name__)


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


def score(
    name: str, predicted: Predictions, y: np.ndarray, rows: np.ndarray | None = None
) -> float | None:
    """Score predictions by one of scikit-learn's scorers.

    Args:
        name: The scorer.
        predicted: Predictions of all rows.
        y: Array of shape (n_rows,), the labels of all rows.
        rows: Integer array of the rows to score, in which a row may stand twice; `None` for all.

    Returns:
        The score, greater is better; `None` where the model cannot be scored so: a hard vote has no
        probabilities, a set may lack a class.
    """
    rows = np.arange(len(y)) if rows is None else rows
    try:
        return _value(name, predicted, y, rows)
    except (AttributeError, ValueError) as error:
        logger.info("%s cannot be scored by %s: %s", predicted.model_name, name, error)
        return None


def _value(name: str, predicted: Predictions, y: np.ndarray, rows: np.ndarray) -> float | None:
    with warnings.catch_warnings():
        # What is not defined is `None`, or what scikit-learn takes instead.
        warnings.simplefilter("ignore", UserWarning)
        value = float(get_scorer(name)(predicted, rows, y[rows]))
    return value if math.isfinite(value) else None


def scores(names: Sequence[str], predicted: Predictions, y: np.ndarray) -> dict[str, float | None]:
    """Score predictions of all rows by several scorers: name → score."""
    return {name: score(name, predicted, y) for name in names}


def decisive_methods(name: str, predicted: Predictions, y: np.ndarray) -> list[str]:
    """The one kind of prediction that a scorer needs, or all if none is enough by itself."""
    enough = (method for method in predicted.said if _can_score(name, predicted.only(method), y))
    method = next(enough, None)
    return list(predicted.said) if method is None else [method]


def _can_score(name: str, predicted: Predictions, y: np.ndarray) -> bool:
    """Whether it can; that it cannot is no news of the model, which may have other methods."""
    try:
        return _value(name, predicted, y, np.arange(len(y))) is not None
    except (AttributeError, ValueError):
        return False
