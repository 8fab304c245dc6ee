"""Numeric columns of a table as one float32 matrix, without what an `Encoder` learns.

One decision: the matrix is filled piece by piece, all columns of some rows, so that the rows that
are written stay in the cache. Refused: columns that are neither numbers nor booleans.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from distml.data.values import family_of, to_float64
from distml.errors import DataError

__all__ = ["as_matrix"]

_VALUES_AT_ONCE = 1 << 20


def as_matrix(table: pa.Table) -> npt.NDArray[np.float32]:
    """Convert a table of numbers to a matrix; nulls become NaN.

    Returns:
        Array of shape (n_rows, n_columns), float32, its rows contiguous.

    Raises:
        DataError: a column is neither a number nor a boolean; the message names it.
    """
    for field in table.schema:
        if family_of(field.name, field.type) not in ("number", "boolean", "null"):
            raise DataError(
                f"column {field.name!r} has type {field.type} and is no number; encode it, or "
                "leave it out"
            )
    pieces = table.to_batches(max_chunksize=max(1024, _VALUES_AT_ONCE // max(1, table.num_columns)))
    if len(pieces) == 1 and table.num_columns:  # without copying it once more
        return _matrix(pieces[0])
    matrix = np.empty((table.num_rows, table.num_columns), dtype=np.float32)
    start = 0
    for piece in pieces if table.num_columns else ():
        matrix[start : start + piece.num_rows] = _matrix(piece)
        start += piece.num_rows
    return matrix


def _matrix(piece: pa.RecordBatch) -> npt.NDArray[np.float32]:
    columns = [_float32(column) for column in piece.columns]
    numbers = pa.record_batch(columns, names=[str(j) for j in range(len(columns))])
    return np.asarray(numbers.to_tensor(null_to_nan=True, row_major=True).to_numpy())


def _float32(column: pa.Array) -> pa.Array:
    if pt.is_float32(column.type):
        return column
    if pt.is_time(column.type) or pt.is_duration(column.type):
        column = pa.array(to_float64(pa.chunked_array([column])))
    return column.cast(pa.float32(), safe=False)
