"""The selection beside brute force over all ensembles of a small pool."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from distml.ensemble import greedy
from distml.ensemble.additions import squared_error

ROWS, MEMBERS = 60, 4
ALL = np.ones(MEMBERS, dtype=bool)
SEEDS = st.integers(0, 2**31 - 1)


def noisy_regressors(seed):
    """Targets, and what members predict with errors that are related: the hard case."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=ROWS)
    noise = rng.normal(size=(MEMBERS, ROWS)) + rng.normal(size=ROWS)
    return y, y + noise * rng.uniform(0.2, 2, size=(MEMBERS, 1))


def multisets(size):
    for chosen in combinations_with_replacement(range(MEMBERS), size):
        yield np.bincount(chosen, minlength=MEMBERS).astype(float)


def mean_squared(y, predictions):
    return squared_error(predictions - y, None, np.negative)


@given(SEEDS, st.integers(1, 12))
def test_each_step_is_the_best_single_addition(seed, max_size):
    y, predictions = noisy_regressors(seed)
    climb = greedy.climb(mean_squared(y, predictions), ALL, max_size=max_size)
    counts = np.zeros(MEMBERS)
    for reached in climb.history:
        tries = [counts + one for one in np.eye(MEMBERS)]
        errors = [metrics.mean_squared_error(y, t @ predictions / t.sum()) for t in tries]
        counts = tries[int(np.argmin(errors))]
        assert reached == pytest.approx(-min(errors), rel=1e-9)


@given(SEEDS)
def test_it_lies_between_the_best_member_and_the_best_of_all_ensembles(seed):
    y, predictions = noisy_regressors(seed)
    additions = mean_squared(y, predictions)
    climb = greedy.climb(additions, ALL, max_size=5)
    reached = greedy.score(additions, climb.weights)
    every = [greedy.score(additions, c) for size in range(1, 6) for c in multisets(size)]
    assert reached == pytest.approx(climb.history.max(), rel=1e-9)
    assert additions(np.zeros(MEMBERS)).max() - 1e-9 <= reached <= max(every) + 1e-9


@given(st.lists(st.integers(1, 9), min_size=MEMBERS, max_size=MEMBERS), st.integers(1, 6))
def test_it_is_the_optimum_where_errors_of_members_are_unrelated(scales, size):
    # The sum of squares is then separable and convex in the counts, where adding the cheapest one
    # is optimal at every size (Fox 1966, Discrete Optimization via Marginal Analysis).
    orthogonal = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], float)
    residuals = orthogonal * np.array(scales)[:, None]
    climb = greedy.climb(squared_error(residuals, None, np.negative), ALL, max_size=size)
    for reached, count in zip(climb.history, range(1, size + 1), strict=True):
        errors = [np.mean((c @ residuals / count) ** 2) for c in multisets(count)]
        assert -reached == pytest.approx(min(errors), rel=1e-12)


def test_ties_go_to_the_first_even_if_rounding_parts_them():
    truth = np.zeros(ROWS)
    same = np.full(ROWS, 0.3)
    climb = greedy.climb(mean_squared(truth, np.stack([same + 1, same, same * (1 - 1e-16), same])),
                         ALL, max_size=6)  # fmt: skip
    assert climb.weights.tolist() == [0, 1, 0, 0]


def test_the_smallest_of_equally_good_sizes_is_kept():
    y, predictions = noisy_regressors(0)
    predictions[2] = y
    climb = greedy.climb(mean_squared(y, predictions), ALL, max_size=9)
    assert climb.weights.tolist() == [0, 0, 1, 0]
    assert len(climb.history) == 9


@pytest.mark.parametrize(("n_init", "size"), [(1, 1), (3, 3), (99, 4)])
def test_it_starts_from_the_best_members(n_init, size):
    y, predictions = noisy_regressors(1)
    additions = mean_squared(y, predictions)
    best = np.argsort(-additions(np.zeros(MEMBERS)))[:size]
    expected = -metrics.mean_squared_error(y, predictions[best].mean(axis=0))
    assert greedy.climb(additions, ALL, max_size=5, n_init=n_init).history[0] == pytest.approx(
        expected
    )


@given(SEEDS)
def test_it_starts_from_as_many_as_are_best_together(seed):
    y, predictions = noisy_regressors(seed)
    additions = mean_squared(y, predictions)
    order = np.argsort(-additions(np.zeros(MEMBERS)))
    errors = [
        metrics.mean_squared_error(y, predictions[order[:size]].mean(axis=0))
        for size in range(1, MEMBERS + 1)
    ]
    started = greedy.climb(additions, ALL, max_size=MEMBERS, n_init="auto").history[0]
    assert started == pytest.approx(-min(errors), rel=1e-9)


def test_only_members_that_are_allowed_are_chosen():
    y, predictions = noisy_regressors(2)
    predictions[0] = y
    allowed = np.array([False, True, False, True])
    weights = greedy.climb(mean_squared(y, predictions), allowed, max_size=7).weights
    assert weights[~allowed].tolist() == [0, 0]
    assert weights.sum() == pytest.approx(1)


def test_bags_are_drawn_from_those_allowed():
    allowed = np.array([True, False, True, True, True, False])
    bags = greedy.bags(allowed, 50, 0.5, np.random.RandomState(0))
    assert {int(bag.sum()) for bag in bags} == {2}
    assert not any((bag & ~allowed).any() for bag in bags)
    assert np.any(bags, axis=0).tolist() == allowed.tolist()
    assert greedy.bags(allowed, 1, 0.5, np.random.RandomState(0))[0] is allowed


def test_a_member_without_a_finite_score_is_refused():
    y, predictions = noisy_regressors(0)
    predictions[1, 3] = np.nan
    with pytest.raises(ValueError, match="no finite score"):
        greedy.climb(mean_squared(y, predictions), ALL, max_size=3)
