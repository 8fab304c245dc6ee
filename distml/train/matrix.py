"""The float32 matrix of numbers: from columns of a table, or from an array without copying it.

One decision: a column whose values lie far from zero and close together (times in seconds, years)
is moved by its mean before it becomes float32, which would round it to nothing much: float32 tells
times of today apart by two minutes. Refused: infinite numbers, and numbers beyond float32.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from distml.data.matrix import as_matrix as numbers_of
from distml.data.tables import first_line
from distml.data.values import local_times, to_float64
from distml.errors import DataError
from distml.train.shape import Scale

__all__ = [
    "Floats",
    "as_array",
    "as_matrix",
    "column_numbers",
    "fill_matrix",
    "measure",
    "origin_of",
]

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

_ROWS_AT_ONCE = 1 << 13
_WIDE = 1024
"""Numbers of a row over which a loop of NumPy is worth its call."""
_FAR = 1000.0
_EXACT = (np.float32, np.float16, np.uint8)


def column_numbers(column: pa.ChunkedArray) -> Floats:
    """Numbers, booleans, and dates in seconds since 1970, as float64, shape (n,); null is NaN."""
    plain = column.type.value_type if pt.is_dictionary(column.type) else column.type
    if not (pt.is_date(plain) or pt.is_timestamp(plain)):
        return to_float64(column)
    times = local_times(column)
    if not pt.is_timestamp(times.type):
        times = times.cast(pa.timestamp("s"))
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[times.type.unit]
    return to_float64(times.cast(pa.int64())) / per_second


def origin_of(mean: Floats, std: Floats) -> Floats:
    """By what columns are moved, shape (d,): 0 for all that do not lie far from zero."""
    return np.where(np.abs(mean) > _FAR * std, mean, 0.0)


def fill_matrix(table: pa.Table, names: Sequence[str], origin: Floats) -> Matrix:
    """The columns of a table as a matrix.

    Args:
        table: with columns of numbers, booleans or dates.
        names: of the columns.
        origin: by what each is moved, shape (d,).

    Returns:
        Array of shape (n, d), C-contiguous; NaN where a value is missing.

    Raises:
        DataError: a number is infinite, or beyond float32.
    """
    if not origin.any() and all(_is_plain(table.schema.field(name).type) for name in names):
        matrix = numbers_of(table.select(list(names)))
        for start in range(0, len(matrix), _ROWS_AT_ONCE):
            _check_finite(matrix[start : start + _ROWS_AT_ONCE], names)
        return matrix
    out = np.empty((table.num_rows, len(names)), dtype=np.float32)
    # Block by block, so that the rows being written stay in the cache from column to column.
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        block = out[start : start + _ROWS_AT_ONCE]
        for j, name in enumerate(names):
            with np.errstate(over="ignore"):
                block[:, j] = column_numbers(table[name].slice(start, len(block))) - origin[j]
        _check_finite(block, names)
    return out


def _is_plain(kind: pa.DataType) -> bool:
    """Whether Arrow itself makes float32 of a type, which takes half as long."""
    return bool(pt.is_floating(kind) or pt.is_integer(kind))


def as_array(X: Any) -> npt.NDArray[Any]:
    """What is no table, as an array of numbers of at least two dimensions.

    Raises:
        DataError: it is none, or has no rows.
    """
    if hasattr(X, "toarray"):
        raise DataError("X is a sparse matrix; make it dense: X.toarray()")
    try:
        array = np.asarray(X)
        array = array.astype(np.float64) if array.dtype.kind in "OUS" else array
    except (TypeError, ValueError) as error:
        raise DataError(
            f"X cannot become an array of numbers ({first_line(error)}); give columns of other "
            "types as a DataFrame or an Arrow table"
        ) from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"X has type {array.dtype}; give numbers")
    if array.ndim < 2:
        raise DataError(f"X has shape {array.shape}; reshape it to (rows, columns)")
    return array


def as_matrix(array: npt.NDArray[Any], origin: Floats) -> Matrix:
    """An array of shape (n, d) as float32: itself if it is that, and its rows lie in one piece.

    Raises:
        DataError: a number is infinite, or beyond float32.
    """
    if origin.any():
        array = array - origin
    with np.errstate(over="ignore"):
        matrix = np.asarray(array, dtype=np.float32)
    if matrix.strides[1] != matrix.itemsize:
        # Gathering rows whose numbers lie apart would cost more in each epoch than a copy once.
        matrix = np.ascontiguousarray(matrix)
    for block in _blocks(matrix):
        _check_finite(block)
    return matrix


def measure(array: npt.NDArray[Any]) -> tuple[Scale, Floats]:
    """Mean and deviation of each column, and by what it is moved, in one pass without a copy.

    Args:
        array: shape (n, d), of any type of numbers; NaN is left out.

    Returns:
        The scale of what `as_matrix` gives with the origin, and that origin, shape (d,).

    Raises:
        DataError: a number is infinite.
    """
    width = array.shape[1]
    count, mean, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    for there, part, spread in _in_threads(_measure_block, _blocks(array)):
        total = np.maximum(count + there, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            away = part - mean
            squares += spread + away * away * (count * there / total)
            mean += away * (there / total)
        count += there
    if not np.isfinite(mean).all():
        raise DataError(_infinite(int(np.argmin(np.isfinite(mean)))))
    std = np.sqrt(squares / np.maximum(count, 1.0))
    origin = np.zeros(width) if array.dtype.type in _EXACT else origin_of(mean, std)
    return Scale(mean=mean - origin, std=np.where(std > 0, std, 1.0)), origin


def _blocks(array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [array[i : i + _ROWS_AT_ONCE] for i in range(0, len(array), _ROWS_AT_ONCE)]


def _in_threads(work: Callable[[Any], Any], blocks: Sequence[Any]) -> Iterator[Any]:
    """What becomes of each block, in order; NumPy lets other threads work meanwhile."""
    if len(blocks) < 2:
        yield from map(work, blocks)
        return
    # Arrow's number of CPUs is that of `OMP_NUM_THREADS`, which Ray sets for a unit.
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        yield from pool.map(work, blocks)


def _measure_block(part: npt.NDArray[Any]) -> tuple[Any, Floats, Floats]:
    """Count, mean and sum of squared deviations of each column, without NaN."""
    block = part.astype(np.float64)
    rows = _rows_in_one(block)
    wide = block.reshape(len(block) // rows, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = wide.sum(axis=0).reshape(rows, -1).sum(axis=0) / len(block)
        if not np.isnan(mean).any():
            wide -= np.tile(mean, rows)
            squares = np.einsum("ij,ij->j", wide, wide)
            return float(len(block)), mean, squares.reshape(rows, -1).sum(axis=0)
        missing = np.isnan(block)
        there = len(block) - missing.sum(axis=0).astype(np.float64)
        mean = np.where(missing, 0.0, block).sum(axis=0) / np.maximum(there, 1.0)
        block = np.where(missing, 0.0, block - mean)
    return there, mean, np.einsum("ij,ij->j", block, block)


def _rows_in_one(block: Floats) -> int:
    """How many rows to take as one long one, over which NumPy is several times as fast."""
    rows = 1
    while 2 * rows * block.shape[1] <= _WIDE and len(block) % (2 * rows) == 0:
        rows *= 2
    return rows


def _check_finite(block: Matrix, names: Sequence[str] | None = None) -> None:
    infinite = np.isinf(block)
    if infinite.any():
        j = int(infinite.any(axis=0).argmax())
        raise DataError(_infinite(j if names is None else names[j]))


def _infinite(column: int | str) -> str:
    return (
        f"column {column!r} has numbers that are infinite or too large for float32; replace them, "
        "or leave them missing"
    )
