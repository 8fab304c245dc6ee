"""Greedy forward selection of an ensemble from a pool, with replacement.

Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble Selection from Libraries of Models (ICML 2004),
with what they add against overfitting: a start from the best members, the best of all sizes passed,
and bags of the pool. An ensemble is how often each member is in it; what a metric has to give for
that is in `additions`.

Scores that differ by rounding alone are ties, and ties go to the member that is named first, so a
selection does not depend on how a sum was ordered.
"""

from dataclasses import dataclass

import numpy as np

from distml.ensemble.additions import Additions

__all__ = ["Climb", "bags", "climb", "score"]

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
