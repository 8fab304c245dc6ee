"""List columns of Arrow as NumPy arrays, without a Python step for each row.

Two forms: lists of one size become an array of shape (rows, *size), lists that differ in length
become `Ragged`. A column in one piece that holds float32 or bytes stays a view of Arrow's memory.
Refused, naming the column: missing values where a row must be whole, and lists that do not have the
size they are read as.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.errors import DataError
from distml.train.rows import Ragged

__all__ = ["array_of", "is_list", "plain_storage", "ragged_of", "steps_of", "type_of_item"]

_LISTS: tuple[Callable[[pa.DataType], bool], ...] = (
    pt.is_list,
    pt.is_large_list,
    pt.is_fixed_size_list,
    pt.is_list_view,
    pt.is_large_list_view,
)


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's types of lists."""
    return any(test(kind) for test in _LISTS)


def type_of_item(kind: pa.DataType) -> pa.DataType:
    """What the innermost lists hold."""
    return type_of_item(kind.value_type) if is_list(kind) else kind


def plain_storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without an extension type, such as that of fixed-shape tensors."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    pieces = [chunk.storage for chunk in column.chunks]
    return pa.chunked_array(pieces, type=column.type.storage_type)


def array_of(name: str, column: pa.ChunkedArray, size: Sequence[int]) -> npt.NDArray[np.generic]:
    """Lists of one size as an array.

    Args:
        name: of the column, for messages.
        column: lists, nested or not, with as many numbers in each row.
        size: dimensions of a row.

    Returns:
        Array of shape (rows, *size): uint8 of bytes, float32 of other numbers; NaN where a number
        is missing.

    Raises:
        DataError: a row is missing, or has another number of numbers.
    """
    column = plain_storage(column)
    _no_missing(name, column)
    kind = np.uint8 if pt.is_uint8(type_of_item(column.type)) else np.float32
    if column.num_chunks == 1:
        return _numbers(_innermost(name, column.chunk(0), size), kind).reshape(-1, *size)
    out = np.empty((len(column), *size), dtype=kind)
    start = 0
    for chunk in column.chunks:
        values = _numbers(_innermost(name, chunk, size), kind)
        out[start : start + len(chunk)] = values.reshape(-1, *size)
        start += len(chunk)
    return out


def ragged_of(name: str, column: pa.ChunkedArray, channels: int | None = None) -> Ragged:
    """Lists of any length as their steps and where each row begins.

    Args:
        name: of the column, for messages.
        column: lists of numbers, or of lists of `channels` numbers.
        channels: numbers in a step; `None` for whole numbers that count something.

    Returns:
        float32 steps of shape (steps, channels), or int64 of shape (steps,).

    Raises:
        DataError: a row is missing or has no steps, or a step is missing or of another size.
    """
    lengths = pc.list_value_length(column)
    empty = pc.fill_null(pc.equal(lengths, 0), True).to_numpy()
    if empty.any():
        raise DataError(
            f"column {name!r}: {int(empty.sum())} rows have no steps (the first is row "
            f"{int(empty.argmax())}); drop these rows"
        )
    offsets = np.zeros(len(column) + 1, dtype=np.int64)
    np.cumsum(lengths.to_numpy(), out=offsets[1:])
    values = steps_of(name, column, channels)
    if len(values) != offsets[-1]:
        raise DataError(f"column {name!r} has missing steps; fill them in")
    return Ragged(values, offsets)


def steps_of(
    name: str, column: pa.ChunkedArray, channels: int | None = None
) -> npt.NDArray[np.generic]:
    """The steps of all rows behind each other; see `ragged_of`."""
    pieces = [chunk.flatten() for chunk in column.chunks]
    if channels is None:
        return np.concatenate([*(_whole(name, piece) for piece in pieces), _NO_WHOLE])
    if pieces and is_list(pieces[0].type):
        pieces = [_innermost(name, piece, (channels,)) for piece in pieces]
    numbers = [_numbers(piece, np.float32).reshape(-1, channels) for piece in pieces]
    if len(numbers) == 1:
        return numbers[0]
    return np.concatenate([*numbers, np.empty((0, channels), np.float32)])


_NO_WHOLE = np.empty(0, np.int64)


def _innermost(name: str, array: pa.Array, size: Sequence[int]) -> pa.Array:
    """All numbers of lists, checked to be as many in each as `size` says."""
    rows, wanted = len(array), math.prod(size)
    while is_list(array.type):
        if array.null_count:
            raise DataError(f"column {name!r} has missing lists; fill them in or drop the rows")
        found = pc.min_max(pc.list_value_length(array)).as_py()
        if found["min"] != found["max"]:
            raise DataError(
                f"column {name!r} has lists of {found['min']} to {found['max']} entries, but is "
                f"read as arrays of {tuple(size)}; bring them to one length"
            )
        array = array.flatten()
    if len(array) != rows * wanted:
        each = len(array) // max(rows, 1)
        raise DataError(
            f"column {name!r} has {each} numbers in a row, but is read as arrays of "
            f"{tuple(size)}, which is {wanted}; change the size"
        )
    return array


def _numbers(array: pa.Array, kind: type[np.generic]) -> npt.NDArray[np.generic]:
    if kind is np.uint8 and not array.null_count:
        return np.asarray(array.to_numpy(zero_copy_only=False))
    plain = array if pt.is_float32(array.type) else array.cast(pa.float32(), safe=False)
    return np.asarray(plain.to_numpy(zero_copy_only=False), dtype=kind)


def _whole(name: str, array: pa.Array) -> npt.NDArray[np.int64]:
    if array.null_count:
        raise DataError(f"column {name!r} has missing steps; fill them in")
    return np.asarray(array.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _no_missing(name: str, column: pa.ChunkedArray) -> None:
    if column.null_count:
        first = int(column.is_null().to_numpy().argmax())
        raise DataError(
            f"column {name!r}: {column.null_count} rows have no array (the first is row {first}); "
            "drop these rows"
        )
