"""What a metric says of an ensemble with one more member, for all members at a time.

All that a selection needs of a metric. scikit-learn's scorers serve as they are; the usual ones
have a form of their own here that does without the scorer's checks and passes over the rows, and
gives the same numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

__all__ = ["Additions", "accuracy", "by_scorer", "log_loss", "roc_auc", "squared_error"]

Additions = Callable[[np.ndarray], np.ndarray]
"""How often each member is in the ensemble → score with each added once, greater is better; float
arrays of shape (n_members,)."""


def squared_error(
    residuals: np.ndarray, weight: np.ndarray | None, finish: Callable[[np.ndarray], np.ndarray]
) -> Additions:
    """Scores that are a function of the mean squared error, without another look at the rows.

    The error of a mean of members is a quadratic form of the products of their residuals, which
    are summed over the rows once.

    Args:
        residuals: Float array of shape (n_members, n_samples): prediction minus target.
        weight: Float array of shape (n_samples,), or `None`.
        finish: Mean squared errors → scores.
    """
    share = _shares(weight, residuals.shape[1])
    products = (residuals * share) @ residuals.T

    def additions(counts: np.ndarray) -> np.ndarray:
        together = products @ counts
        total = counts @ together + 2 * together + products.diagonal()
        return finish(np.maximum(total, 0.0) / (counts.sum() + 1) ** 2)

    return additions


def log_loss(of_class: np.ndarray, weight: np.ndarray | None) -> Additions:
    """scikit-learn's `neg_log_loss`.

    Args:
        of_class: Float array of shape (n_members, n_samples): probability of each row's own class.
        weight: Float array of shape (n_samples,), or `None`.
    """
    share, eps = _shares(weight, of_class.shape[1]), np.finfo(np.float64).eps

    def additions(counts: np.ndarray) -> np.ndarray:
        mean = (counts @ of_class + of_class) / (counts.sum() + 1)
        np.clip(mean, eps, 1 - eps, out=mean)
        return np.log(mean, out=mean) @ share

    return additions


def accuracy(probabilities: np.ndarray, codes: np.ndarray, weight: np.ndarray | None) -> Additions:
    """scikit-learn's `accuracy`.

    Args:
        probabilities: Float array of shape (n_members, n_samples, n_classes).
        codes: Integer array of shape (n_samples,): number of each row's class.
        weight: Float array of shape (n_samples,), or `None`.
    """
    share = _shares(weight, len(codes))

    def additions(counts: np.ndarray) -> np.ndarray:
        total = _total(counts, probabilities)
        hits = ((total + member).argmax(axis=1) == codes for member in probabilities)
        return np.array([hit @ share for hit in hits])

    return additions


def roc_auc(of_second: np.ndarray, positive: np.ndarray) -> Additions:
    """scikit-learn's `roc_auc` of two classes: the share of pairs in the right order.

    Args:
        of_second: Float array of shape (n_members, n_samples): probability of the second class.
        positive: Bool array of shape (n_samples,): rows that are of it.
    """
    no, yes = of_second[:, ~positive], of_second[:, positive]

    def additions(counts: np.ndarray) -> np.ndarray:
        size, total_no, total_yes = counts.sum() + 1, _total(counts, no), _total(counts, yes)
        means = (
            ((total_no + n) / size, (total_yes + y) / size) for n, y in zip(no, yes, strict=True)
        )
        return np.array([_in_order(*pair) for pair in means])

    return additions


def by_scorer(
    scorer: Callable[..., float],
    predictions: np.ndarray,
    X: Any,
    y: Any,
    weight: np.ndarray | None,
    classes: np.ndarray | None,
) -> Additions:
    """Scores of any scorer of scikit-learn, a call for each member.

    Args:
        scorer: `scorer(estimator, X, y)`.
        predictions: Float array of shape (n_members, n_samples) or, of probabilities,
            (n_members, n_samples, n_classes).
        X: Passed to the scorer.
        y: Labels of the rows.
        weight: Passed to the scorer as `sample_weight` if it is there.
        classes: Labels in the order of the probabilities; `None` for a regression.
    """
    params = {} if weight is None else {"sample_weight": weight}

    def say(mean: np.ndarray) -> BaseEstimator:
        return _Said(mean) if classes is None else _SaidOfClasses(mean, classes)

    def additions(counts: np.ndarray) -> np.ndarray:
        total, size = _total(counts, predictions), counts.sum() + 1
        said = (say((total + member) / size) for member in predictions)
        return np.array([float(scorer(model, X, y, **params)) for model in said])

    return additions


def _total(counts: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Sum of members as often as they are in; rows that tie do so after it, unlike by a product."""
    total = np.zeros(predictions.shape[1:])
    for member in np.flatnonzero(counts):
        total += counts[member] * predictions[member]
    return total


def _in_order(low: np.ndarray, high: np.ndarray) -> float:
    """Share of pairs in which the second is greater, ties by half (Mann and Whitney 1947)."""
    low, high = np.sort(low), np.sort(high)
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.sum() / (2 * len(low) * len(high)))


def _shares(weight: np.ndarray | None, num_rows: int) -> np.ndarray:
    weight = np.ones(num_rows) if weight is None else np.asarray(weight, dtype=np.float64)
    return np.asarray(weight / weight.sum())


class _Said(RegressorMixin, BaseEstimator):
    """A regressor that has said what it predicts, for scorers to look at."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def predict(self, X: Any) -> Any:
        return self.values


class _SaidOfClasses(ClassifierMixin, BaseEstimator):
    """A classifier that has said what it predicts, for scorers to look at."""

    def __init__(self, values: Any, classes: np.ndarray) -> None:
        self.values = values
        self.classes_ = classes

    def predict_proba(self, X: Any) -> Any:
        return self.values

    def predict(self, X: Any) -> Any:
        return self.classes_[self.values.argmax(axis=1)]
