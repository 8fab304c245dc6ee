"""Tests of the form in which arrays are shared."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from distml.ensemble.matrices import for_trees, is_for_tree, is_large
from distml.ensemble.members import Unit, View

X = np.random.default_rng(0).standard_normal((2500, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


class DecisionTreeRegressor:
    """Of the user, and not scikit-learn's."""


def unit(estimator, matrix, **fields):
    return Unit(member="m", part="all rows", estimator=estimator, view=View(matrix, Y), **fields)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1023, 2), (1024, 5), (2500, 3)], ids=str)
def test_trees_are_given_the_same_numbers_in_single_precision_by_columns(shape, order):
    matrix = np.asarray(np.random.default_rng(1).standard_normal(shape), order=order)
    shared = for_trees(matrix)
    np.testing.assert_array_equal(shared, matrix.astype(np.float32))
    assert shared.dtype == np.float32
    assert shared.flags.f_contiguous


@pytest.mark.parametrize(
    "tree",
    [
        DecisionTreeClassifier(random_state=0),
        ExtraTreeClassifier(random_state=0),
        ExtraTreesRegressor(5, random_state=0),
    ],
    ids=lambda tree: type(tree).__name__,
)
def test_the_tree_is_the_one_of_the_matrix_itself(tree):
    weight = np.random.default_rng(2).integers(0, 3, len(X)).astype(float)
    theirs = tree.fit(X, Y, sample_weight=weight).predict(X)
    mine = tree.fit(for_trees(X), Y, sample_weight=weight).predict(for_trees(X))
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("estimator", "matrix", "fields", "expected"),
    [
        (DecisionTreeClassifier(), X, {}, True),
        (DecisionTreeClassifier(), X.astype(np.float32), {}, False),
        (DecisionTreeClassifier(), X.tolist(), {}, False),
        (DecisionTreeClassifier(), X, {"fitted": True}, False),
        (HistGradientBoostingClassifier(), X, {}, False),
        (DecisionTreeRegressor(), X, {}, False),
    ],
    ids=["tree", "single precision", "no array", "fitted", "no copying tree", "of the user"],
)
def test_only_what_a_tree_would_copy_is_shared_as_its_copy(estimator, matrix, fields, expected):
    assert is_for_tree(unit(estimator, matrix, **fields), matrix) is expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [(None, False), (1.0, False), (np.zeros(8192), False), (np.zeros(8193), True), ([1], True)],
    ids=["nothing", "number", "64 KiB", "more", "of unknown size"],
)
def test_large_arrays_get_a_place_of_their_own(array, expected):
    assert is_large(array) is expected
