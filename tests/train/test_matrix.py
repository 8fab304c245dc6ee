import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from distml.errors import DataError
from distml.train.matrix import as_array, as_matrix, column_numbers, fill_matrix, measure


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([dt.datetime(2024, 1, 1), None], id="timestamps"),
        pytest.param([dt.date(2024, 1, 1), None], id="dates"),
        pytest.param(
            pa.array([dt.datetime(2024, 1, 1), None], pa.timestamp("ns", "UTC")), id="zone"
        ),
        pytest.param(pa.array([dt.date(2024, 1, 1), None]).dictionary_encode(), id="dictionary"),
    ],
)
def test_dates_are_seconds(values):
    numbers = column_numbers(
        pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values)])
    )
    assert numbers[0] == 1_704_067_200
    assert np.isnan(numbers[1])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6) | st.just(np.nan)] * 2), min_size=1, max_size=30),
    st.floats(-1e9, 1e9),
)
def test_one_pass_measures_what_numpy_does(rows, far):
    X = np.array(rows) + far
    scale, origin = measure(X)
    for j in range(2):
        there = X[~np.isnan(X[:, j]), j]
        mean, std = (there.mean(), there.std()) if len(there) else (0.0, 0.0)
        assert scale.mean[j] + origin[j] == pytest.approx(mean, rel=1e-9, abs=1e-6)
        if std > 1e-3:
            assert scale.std[j] == pytest.approx(std, rel=1e-6)


def test_blocks_are_measured_as_one_array():
    X = np.random.default_rng(0).normal(5, 3, (30_000, 3))
    X[::7, 1] = np.nan
    scale, origin = measure(X)
    assert scale.mean == pytest.approx(np.nanmean(X, axis=0), rel=1e-12)
    assert scale.std == pytest.approx(np.nanstd(X, axis=0), rel=1e-12)
    assert not origin.any()


@pytest.mark.parametrize("num_rows", [1, 7, 64, 8192, 8193, 12_345])
@pytest.mark.parametrize("width", [1, 3, 100, 2000])
def test_any_number_of_rows_and_columns_is_measured(num_rows, width):
    X = np.random.default_rng(0).normal(50, 3, (num_rows, width)).astype(np.float32)
    scale, _ = measure(X)
    exact = X.astype(np.float64)
    assert scale.mean == pytest.approx(exact.mean(axis=0), rel=1e-12)
    if num_rows > 1:
        assert scale.std == pytest.approx(exact.std(axis=0), rel=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.int64, bool], ids=lambda kind: kind.__name__)
def test_all_kinds_of_numbers_are_measured(kind):
    scale, _ = measure(np.array([[0, 1], [1, 1], [1, 1]], dtype=kind))
    assert scale.std[1] == 1.0
    assert scale.std[0] == pytest.approx(np.std([0, 1, 1]))


def test_numbers_far_from_zero_keep_their_differences():
    seconds = 1_704_067_200.0 + np.arange(5)
    _, origin = measure(seconds[:, None])
    assert np.diff(as_matrix(seconds[:, None], origin)[:, 0]).tolist() == [1, 1, 1, 1]
    table = pa.table({"at": seconds})
    assert np.diff(fill_matrix(table, ["at"], origin)[:, 0]).tolist() == [1, 1, 1, 1]


def test_float32_rows_are_not_copied():
    X = np.ones((6, 4), np.float32)
    X.flags.writeable = False
    assert as_matrix(X, np.zeros(4)) is X
    assert np.shares_memory(as_matrix(X[::2, :3], np.zeros(3)), X)
    columns_first = as_matrix(np.asfortranarray(X), np.zeros(4))
    assert columns_first.flags.c_contiguous


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("other", [0.0, np.nan])
def test_infinite_and_huge_numbers_are_refused(value, other):
    X = np.array([[0.0, other], [1.0, value]])
    with pytest.raises(DataError, match="column 1 has numbers that are infinite"):
        as_matrix(X, np.zeros(2))
    with pytest.raises(DataError, match="column 'b' has numbers that are infinite"):
        fill_matrix(pa.table({"a": X[:, 0], "b": X[:, 1]}), ["a", "b"], np.zeros(2))
    if np.isinf(value):
        with pytest.raises(DataError, match="column 1 has numbers that are infinite"):
            measure(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.arange(3), r"shape \(3,\); reshape"),
        (sparse.eye(3), "sparse matrix; make it dense"),
        (np.array([["a", "b"]], dtype=object), "give columns of other types as a DataFrame"),
        (np.array([[1j]]), "type complex128"),
    ],
    ids=["1-d", "sparse", "strings", "complex"],
)
def test_what_is_no_matrix_is_refused(X, message):
    with pytest.raises(DataError, match=message):
        as_array(X)


def test_lists_and_objects_of_numbers_become_an_array():
    assert as_array([[1, 2], [3, 4]]).shape == (2, 2)
    assert as_array(np.array([[1, "2.5"]], dtype=object)).tolist() == [[1.0, 2.5]]
