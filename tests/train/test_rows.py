import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.errors import DataError
from distml.train.rows import Ragged, Rows, as_tensor


def ragged(lengths, channels=None, seed=0):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    size = (offsets[-1],) if channels is None else (offsets[-1], channels)
    values = np.random.default_rng(seed).integers(1, 100, size)
    return Ragged(values if channels is None else values.astype(np.float32), offsets)


def naive(rows, indices):
    """The judge: row by row."""
    each = [rows.values[rows.offsets[i] : rows.offsets[i + 1]] for i in indices]
    longest = max(map(len, each), default=0)
    out = np.zeros((len(each), longest, *rows.values.shape[1:]), rows.values.dtype)
    for i, row in enumerate(each):
        out[i, : len(row)] = row
    return out, [len(row) for row in each]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.sampled_from([None, 1, 3]),
    st.data(),
)
def test_ragged_rows_are_gathered_as_one_by_one(lengths, channels, data):
    rows = ragged(lengths, channels)
    indices = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=10))
    padded, taken = rows.take(np.array(indices, dtype=np.int64))
    expected, expected_lengths = naive(rows, indices)
    assert np.array_equal(padded.numpy(), expected)
    assert taken.tolist() == expected_lengths


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_slice_of_ragged_rows_is_a_view_of_these_rows(lengths, start, stop):
    rows = ragged(lengths, 2)
    part = rows.slice(start, stop)
    indices = range(len(lengths))[start:stop]
    assert len(part) == len(indices)
    padded, _ = part.take(slice(None))
    assert np.array_equal(padded.numpy(), naive(rows, indices)[0])
    assert part.values.base is rows.values or not part.values.size


def test_batch_holds_each_array_and_the_lengths():
    rows = Rows({
        "numbers": np.arange(8, dtype=np.float32).reshape(4, 2),
        "tokens": ragged([2, 1, 3, 1]),
        "y": np.array([0, 1, 2, 3]),
    })  # fmt: skip
    batch = rows.take(np.array([3, 0]))
    assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == {
        "numbers": (2, 2),
        "tokens": (2, 2),
        "lengths": (2,),
        "y": (2,),
    }
    assert batch["numbers"].tolist() == [[6, 7], [0, 1]]
    assert batch["y"].tolist() == [3, 0]
    assert batch["lengths"].tolist() == [1, 2]


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.ones((3, 2), np.float32), id="float32"),
        pytest.param(read_only(np.ones((3, 2), np.float32)), id="read-only"),
        pytest.param(read_only(np.ones((6, 4)))[::2, :2], id="read-only with strides"),
        pytest.param(np.frombuffer(b"abcdef", np.uint8), id="bytes"),
        pytest.param(read_only(np.ones((0, 2))), id="empty"),
    ],
)
def test_tensor_shares_the_memory_of_the_array(array):
    tensor = as_tensor(array)
    assert tensor.data_ptr() == (array.ctypes.data if array.size else 0)
    assert np.array_equal(tensor.numpy(), array)
    rows = Rows({"numbers": array})
    assert rows.arrays["numbers"] is array
    assert rows.slice(0, 2).arrays["numbers"].base is not None


def test_memory_lives_as_long_as_the_tensor():
    tensor = as_tensor(read_only(np.full(100_000, 7.0)))
    np.zeros(100_000)
    assert bool((tensor == 7).all())


@pytest.mark.parametrize("indices", [slice(0, 2), np.array([0, 1])], ids=["slice", "indices"])
def test_batch_can_be_written_to_without_touching_the_rows(indices):
    rows = Rows({"numbers": read_only(np.ones((3, 2), np.float32)), "tokens": ragged([1, 1, 1])})
    before = rows.arrays["tokens"].values.copy()
    for tensor in rows.take(indices).values():
        tensor.zero_()
    assert rows.arrays["numbers"].all()
    assert np.array_equal(rows.arrays["tokens"].values, before)


def test_backward_and_foreign_arrays_are_copied():
    assert as_tensor(np.arange(3)[::-1]).tolist() == [2, 1, 0]
    assert as_tensor(np.arange(3).astype(">i4")).tolist() == [0, 1, 2]


def test_pickle_moves_the_arrays_out_of_band():
    rows = Rows({"numbers": np.ones((4, 2), np.float32), "tokens": ragged([2, 1, 3, 1])})
    buffers = []
    content = pickle.dumps(rows, protocol=5, buffer_callback=buffers.append)
    assert sum(len(buffer.raw()) for buffer in buffers) == rows.nbytes
    copy = pickle.loads(content, buffers=[bytes(buffer.raw()) for buffer in buffers])
    assert not copy.arrays["numbers"].flags.writeable
    one, other = (each.take(torch.tensor([2, 0])) for each in (rows, copy))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_rows_on_a_device_give_their_batches_there():
    rows = Rows({"numbers": np.ones((4, 2)), "tokens": ragged([2, 1, 3, 1])})
    batch = rows.to(torch.device("meta"))._tensors["numbers"]
    assert batch.device.type == "meta"
    one, other = (each.take(np.array([3, 0])) for each in (rows, rows.to(torch.device("cpu"))))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_rows_refuse_arrays_of_different_lengths_and_other_types():
    with pytest.raises(DataError, match="numbers has 3, y has 2"):
        Rows({"numbers": np.ones((3, 1)), "y": np.ones(2)})
    with pytest.raises(DataError, match="object"):
        Rows({"numbers": np.array([None, "a"])})
    rows = Rows({"numbers": np.ones((3, 1))})
    assert rows.having(y=np.zeros(3)).take(slice(1, 2)).keys() == {"numbers", "y"}
