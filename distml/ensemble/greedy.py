"""Greedy forward selection of an ensemble from a pool, with replacement.

Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble Selection from Libraries of Models (ICML 2004),
with what they add against overfitting: a start from the best members, the best of all sizes passed,
and bags of the pool. An ensemble is how often each member is in it; all that a metric has to give
is the score of an ensemble with each member added once, for all members at a time.

Scores that differ by rounding alone are ties, and ties go to the member that is named first, so a
selection does not depend on how a sum was ordered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

__all__ = [
    "Additions",
    "Climb",
    "accuracy",
    "bags",
    "by_scorer",
    "climb",
    "log_loss",
    "score",
    "squared_error",
]

Additions = Callable[[np.ndarray], np.ndarray]
"""How often each member is in the ensemble → score with each added once, greater is better; float
arrays of shape (n_members,)."""

_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Climb:
    """The way of one selection and where it ended."""

    weights: np.ndarray
    """Float array of shape (n_members,): share of each member in the ensemble, sums to 1."""
    history: np.ndarray
    """Float array: score of the ensemble it started from, then after each round."""


def climb(
    additions: Additions, allowed: np.ndarray, *, max_size: int, n_init: int | str = 1
) -> Climb:
    """Add the member that improves the ensemble most, again and again; keep the best size.

    Args:
        additions: The scores.
        allowed: Bool array of shape (n_members,): those that may be chosen.
        max_size: Members in the largest ensemble that is tried, counted as often as they are in it.
        n_init: Start from so many best members; `auto`: as many as score best together.

    Raises:
        ValueError: a member has no finite score.
    """
    counts = _start(additions, allowed, max_size, n_init)
    passed, history = [counts], [score(additions, counts)]
    while counts.sum() < max_size:
        scores = np.where(allowed, additions(counts), -np.inf)
        best = _first_best(scores)
        counts = counts.copy()
        counts[best] += 1
        passed.append(counts)
        history.append(float(scores[best]))
    counts = passed[_first_best(np.array(history))]
    return Climb(weights=counts / counts.sum(), history=np.array(history))


def score(additions: Additions, weights: np.ndarray) -> float:
    """Score of an ensemble by its weights, which need not sum to 1."""
    heaviest = int(weights.argmax())
    others = weights / weights[heaviest]
    others[heaviest] = 0.0
    return float(additions(others)[heaviest])


def bags(
    allowed: np.ndarray, n_bags: int, fraction: float, rng: np.random.RandomState
) -> list[np.ndarray]:
    """Draw the pools of a bagged selection; all of `allowed` if there is to be only one.

    Args:
        allowed: Bool array of shape (n_members,).
        n_bags: How many pools.
        fraction: Share of the allowed members in each, at least one.
        rng: Draws them.

    Returns:
        Bool arrays of shape (n_members,).
    """
    if n_bags == 1:
        return [allowed]
    members = np.flatnonzero(allowed)
    size = max(1, round(fraction * len(members)))
    every = np.arange(len(allowed))
    return [np.isin(every, rng.choice(members, size, replace=False)) for _ in range(n_bags)]


def _start(
    additions: Additions, allowed: np.ndarray, max_size: int, n_init: int | str
) -> np.ndarray:
    """The ensemble of the best members, each once: float array of shape (n_members,)."""
    left = np.where(allowed, additions(np.zeros(len(allowed))), -np.inf)
    if not np.isfinite(left[allowed]).all():
        raise ValueError("a member of the pool has no finite score; leave it out")
    counts, firsts = np.zeros(len(allowed)), []
    for _ in range(min(max_size, int(allowed.sum()))):
        best = _first_best(left)
        left[best] = -np.inf
        counts[best] = 1.0
        firsts.append(counts.copy())
    if n_init != "auto":
        return firsts[min(int(n_init), len(firsts)) - 1]
    return firsts[_first_best(np.array([score(additions, counts) for counts in firsts]))]


def _first_best(scores: np.ndarray) -> int:
    """Position of the best, of the first among equals."""
    best = scores.max()
    return int(np.flatnonzero(scores >= best - _ROUNDING * max(1.0, abs(best)))[0])


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
        total = np.tensordot(counts, probabilities, 1)
        hits = [(total + member).argmax(axis=1) == codes for member in probabilities]
        return np.array([hit @ share for hit in hits])

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

    def additions(counts: np.ndarray) -> np.ndarray:
        total, size = np.tensordot(counts, predictions, 1), counts.sum() + 1
        means = ((total + member) / size for member in predictions)
        said = [_Said(m) if classes is None else _SaidOfClasses(m, classes) for m in means]
        return np.array([float(scorer(model, X, y, **params)) for model in said])

    return additions


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
