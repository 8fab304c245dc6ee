"""Golden rows: a few rows with what the model said of them, to be said again wherever it is loaded.

The one decision: hashes show that the files are the same, golden rows that the *behaviour* is:
library versions, the processor and our own code included. Labels have to be equal; floating-point
numbers only close, since sums may run in another order on another machine.
"""

import numpy as np
import pyarrow as pa

from distml.errors import DataError
from distml.runs.model import Model, table_from

__all__ = ["dump_golden", "read_golden", "what_differs"]

_MOST_ROWS = 20
_RELATIVE, _ABSOLUTE = 1e-5, 1e-8
"""As `numpy.allclose`: single precision, in which XGBoost and our encoder work, has 7 digits."""


def dump_golden(model: Model, rows: pa.Table) -> bytes:
    """Predict the first rows of a table and keep both.

    Args:
        model: the model.
        rows: table with at least the columns the model reads.

    Returns:
        Arrow IPC file with the struct columns `inputs` and `outputs`.

    Raises:
        DataError: the table is not one the model can predict from.
    """
    inputs = table_from(rows.slice(0, _MOST_ROWS), model.schema)
    table = pa.table({"inputs": _folded(inputs), "outputs": _folded(model.outputs(inputs))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return bytes(sink.getvalue())


def read_golden(content: bytes) -> tuple[pa.Table, pa.Table]:
    """Read what `dump_golden` wrote.

    Args:
        content: the bytes.

    Returns:
        Inputs and outputs, a row for a row.

    Raises:
        DataError: it is not such a file.
    """
    try:
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        return _unfolded(table["inputs"]), _unfolded(table["outputs"])
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError("it holds no golden rows; restore it from a copy") from error


def what_differs(model: Model, content: bytes) -> str | None:
    """Predict the golden rows again.

    Args:
        model: the model as loaded.
        content: what `dump_golden` wrote.

    Returns:
        The first difference, in words; `None` if every prediction is reproduced.

    Raises:
        DataError: the content holds no golden rows.
    """
    inputs, expected = read_golden(content)
    try:
        outputs = model.outputs(inputs)
    except Exception as error:
        said = " ".join(str(error).split())
        return f"predicting them raises {type(error).__name__}: {said}"
    if outputs.schema != expected.schema:
        return f"their columns are {outputs.column_names}, not {expected.column_names}"
    for name in expected.column_names:
        rows = np.flatnonzero(~_same(outputs[name], expected[name]))
        if len(rows):
            row = int(rows[0])
            now, then = outputs[name][row].as_py(), expected[name][row].as_py()
            return f"{name} of row {row} is {now!r}, it was {then!r}"
    return None


def _same(now: pa.ChunkedArray, then: pa.ChunkedArray) -> np.ndarray:
    """Where two columns agree: bool array of shape (n_rows,)."""
    if pa.types.is_floating(then.type):
        return np.isclose(
            now.to_numpy(), then.to_numpy(), rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True
        )
    return np.array([a == b for a, b in zip(now.to_pylist(), then.to_pylist(), strict=True)], bool)


def _folded(table: pa.Table) -> pa.StructArray:
    """A table as one column, so that no input can share its name with an output."""
    whole = [column.combine_chunks() for column in table.columns]
    return pa.StructArray.from_arrays(whole, fields=list(table.schema))


def _unfolded(column: pa.ChunkedArray) -> pa.Table:
    return pa.Table.from_batches(
        [pa.RecordBatch.from_struct_array(chunk) for chunk in column.chunks],
        schema=pa.schema(list(column.type)),
    )
