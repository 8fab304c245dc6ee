import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.errors import DataError
from distml.train.nested import array_of, ragged_of

F32 = pa.float32()


def chunked(rows, kind, pieces=1):
    cuts = np.linspace(0, len(rows), pieces + 1).astype(int)
    return pa.chunked_array(
        [pa.array(rows[a:b], type=kind) for a, b in itertools.pairwise(cuts)],
        type=kind,
    )


IMAGES = [[[float(i), 1.0, 2.0], [3.0, 4.0, 5.0]] for i in range(5)]


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        pytest.param(pa.list_(pa.list_(F32, 3), 2), IMAGES, id="fixed"),
        pytest.param(pa.list_(pa.list_(pa.float64())), IMAGES, id="varying"),
        pytest.param(pa.large_list(pa.int16()), [np.ravel(i).tolist() for i in IMAGES], id="flat"),
    ],
)
def test_lists_of_one_size_become_an_array(kind, rows, pieces):
    array = array_of("image", chunked(rows, kind, pieces), (2, 3))
    assert array.dtype == np.float32
    assert np.array_equal(array, np.array(IMAGES, dtype=np.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_array_of_one_piece_is_a_view(kind):
    values = np.arange(12, dtype=kind)
    column = pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(values), 3)])
    array = array_of("image", column, (3,))
    assert array.dtype == kind
    assert np.shares_memory(array, values)
    assert np.shares_memory(array_of("image", column.slice(1, 2), (3,)), values[3:9])


def test_missing_number_in_an_array_is_nan():
    array = array_of("image", chunked([[1.0, None]], pa.list_(F32, 2)), (2,))
    assert np.array_equal(array, [[1.0, np.nan]], equal_nan=True)


def test_tensors_of_fixed_shape_are_arrays():
    storage = pa.array([[1.0, 2.0, 3.0, 4.0]], pa.list_(F32, 4))
    column = pa.chunked_array(
        [pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(F32, (2, 2)), storage)]
    )
    assert array_of("image", column, (2, 2)).tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ([[1.0], [1.0, 2.0]], pa.list_(F32), r"lists of 1 to 2 entries, .* arrays of \(2,\)"),
        ([[1.0], [2.0]], pa.list_(F32), r"1 numbers in a row, .* arrays of \(2,\), which is 2"),
        ([[1.0, 2.0], None], pa.list_(F32), r"1 rows have no array \(the first is row 1\)"),
        ([[[1.0, 2.0], None]], pa.list_(pa.list_(F32)), "missing lists"),
    ],
    ids=["varying", "size", "missing row", "missing list"],
)
def test_array_that_is_not_of_its_size_is_refused(rows, kind, message):
    with pytest.raises(DataError, match=f"column 'image'.*{message}"):
        array_of("image", chunked(rows, kind), (2,))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=8),
    st.sampled_from([pa.list_, pa.large_list, pa.list_view]),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_lists_of_any_length_become_steps(rows, kind, pieces, skip):
    column = chunked(rows, kind(pa.int32()), pieces).slice(skip)
    ragged = ragged_of("heart", column, 1)
    assert ragged.values.dtype == np.float32
    found = [ragged.slice(i, i + 1).values[:, 0].tolist() for i in range(len(ragged))]
    assert found == rows[skip:]
    whole = ragged_of("heart", column)
    assert whole.values.dtype == np.int64
    assert whole.offsets.tolist() == ragged.offsets.tolist()


def test_steps_of_several_channels():
    rows = [[[1, 2], [3, 4]], [[5, 6]]]
    ragged = ragged_of("heart", chunked(rows, pa.list_(pa.list_(pa.float64(), 2)), 2), 2)
    assert ragged.values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert ragged.lengths.tolist() == [2, 1]


def test_steps_of_one_piece_are_a_view():
    values = np.arange(5, dtype=np.float32)
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 5], pa.int32()), pa.array(values))
    assert np.shares_memory(ragged_of("heart", pa.chunked_array([lists]), 1).values, values)


@pytest.mark.parametrize(
    ("rows", "channels", "message"),
    [
        ([[1], [], None], 1, r"2 rows have no steps \(the first is row 1\)"),
        ([[1, None]], None, "missing steps"),
    ],
    ids=["empty", "missing step"],
)
def test_rows_without_steps_are_refused(rows, channels, message):
    with pytest.raises(DataError, match=f"column 'heart'.*{message}"):
        ragged_of("heart", chunked(rows, pa.list_(pa.int32())), channels)
