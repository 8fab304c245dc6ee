import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import bootstrap_rows, fold_rows
from distml.errors import DataError, UserError

seeds = st.integers(0, 2**32)


def assert_partition(folds, n):
    assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(n))
    assert all(np.array_equal(fold, np.sort(fold)) and fold.dtype == np.int64 for fold in folds)


@settings(deadline=None)
@given(n=st.integers(2, 300), k=st.integers(2, 10), seed=seeds)
def test_folds_are_disjoint_complete_and_level(n, k, seed):
    k = min(k, n)
    folds = fold_rows(n, k, seed)
    assert_partition(folds, n)
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(counts=st.lists(st.integers(3, 40), min_size=1, max_size=6), seed=seeds)
def test_stratified_folds_are_level_in_each_class(counts, seed):
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = fold_rows(len(strata), 3, seed, strata=strata)
    assert_partition(folds, len(strata))
    for i in range(len(counts)):
        sizes = [np.count_nonzero(strata[fold] == i) for fold in folds]
        assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(groups=st.lists(st.sampled_from("abcdefgh"), min_size=10, max_size=80), seed=seeds)
def test_groups_share_a_fold(groups, seed):
    groups = np.array([*groups, "x", "y", "z"])
    folds = fold_rows(len(groups), 3, seed, groups=groups)
    assert_partition(folds, len(groups))
    assert all(len(fold) for fold in folds)
    for group in np.unique(groups):
        assert sum(group in groups[fold] for fold in folds) == 1


def test_folds_are_pinned_for_ever():
    assert [fold.tolist() for fold in fold_rows(9, 3, 1)] == PINNED_FOLDS
    assert bootstrap_rows(9, 1).tolist() == PINNED_BOOTSTRAP


PINNED_FOLDS = [[3, 6, 7], [0, 2, 4], [1, 5, 8]]
PINNED_BOOTSTRAP = [0, 0, 7, 3, 0, 0, 6, 6, 4]


def test_seeds_give_other_folds():
    assert not np.array_equal(fold_rows(100, 2, 0)[0], fold_rows(100, 2, 1)[0])


def test_bootstrap_draws_all_rows_alike():
    counts = np.bincount(bootstrap_rows(100, 3, num_rows=100_000), minlength=100)
    assert len(counts) == 100
    # Chi-squared with 99 degrees of freedom: above 170 by chance once in 10,000 seeds.
    assert ((counts - 1000) ** 2 / 1000).sum() < 170


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param({"n": 5, "k": 1}, UserError, "k=1", id="one fold"),
        pytest.param(
            {"n": 2, "k": 3}, DataError, "2 rows are fewer than 3 folds", id="too few rows"
        ),
        pytest.param(
            {"n": 4, "k": 2, "strata": list("aaab")},
            DataError,
            "a class has 1 rows",
            id="small class",
        ),
        pytest.param(
            {"n": 4, "k": 3, "groups": list("aabb")}, DataError, "2 groups", id="few groups"
        ),
        pytest.param(
            {"n": 2, "k": 2, "groups": [1, 2], "strata": [1, 2]}, UserError, "not both", id="both"
        ),
        pytest.param(
            {"n": 4, "k": 2, "strata": [1, 2]}, UserError, r"shape \(2,\)", id="wrong length"
        ),
        pytest.param({"n": 2, "k": 2, "strata": ["a", None]}, DataError, "nulls", id="nulls"),
    ],
)
def test_impossible_folds_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fold_rows(seed=0, **arguments)


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(UserError, match="from 0"):
        bootstrap_rows(0, 1)
