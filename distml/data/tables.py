"""Whatever a user calls a table, as one `pyarrow.Table`.

Everything in `distml.data` works on Arrow; the other forms (pandas, NumPy, dict of columns, list of
dicts, anything that speaks the Arrow C stream protocol) are converted here and nowhere else. NaN in
NumPy and pandas input becomes null, so that a row is the same row whichever form it came in.
Refused: ragged columns, columns of mixed types, arrays of more than two dimensions.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from distml.errors import DataError

__all__ = ["as_table", "first_line", "unknown_column"]


def as_table(data: Any, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Convert `data` to an Arrow table.

    Args:
        data: a `pyarrow.Table` or `RecordBatch`, a pandas DataFrame (its index is dropped), a dict
            of columns, a list of dicts (one per row; keys that a row lacks are null), an array of
            shape (n_rows, n_columns), or any object with `__arrow_c_stream__`.
        columns: names for the columns of an array; `x0`, `x1`, ... by default.

    Returns:
        A table without schema metadata.

    Raises:
        DataError: `data` is none of these, or a column cannot be converted; the message names the
            column.
    """
    table = _converted(data, columns).replace_schema_metadata(None)
    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"table: column {twice!r} appears twice; rename or drop one of them")
    return table


def unknown_column(name: str, known: Iterable[str], *, where: str) -> str:
    """The message for a column that is not there, with the nearest one that is.

    Args:
        name: what was asked for.
        known: the columns there are.
        where: what was searched, for the beginning of the line.
    """
    names = list(known)
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if near:
        return f"{where}: no column {name!r}; did you mean {folded[near[0]]!r}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"{where}: no column {name!r}; there are: {shown or 'none'}"


def first_line(error: BaseException) -> str:
    """The first line of an error of another library, to be quoted inside one of ours."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(". ")


def _converted(data: Any, columns: Sequence[str] | None) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, np.ndarray):
        return _from_array(data, columns)
    if isinstance(data, Mapping):
        return _from_columns(data)
    if isinstance(data, Sequence) and all(isinstance(row, Mapping) for row in data):
        # pyarrow's own from_pylist takes the columns of the first row only.
        names = dict.fromkeys(name for row in data for name in row)
        return _from_columns({name: [row.get(name) for row in data] for name in names})
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        return _from_pandas(data)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise DataError(
        f"table: cannot read a {type(data).__name__}; give a pandas DataFrame, an Arrow table, "
        "a dict of columns, a list of dicts or a 2-d array"
    )


def _from_array(array: np.ndarray, columns: Sequence[str] | None) -> pa.Table:
    if array.ndim != 2:
        raise DataError(
            f"table: the array has shape {array.shape}; reshape it to (n_rows, n_columns)"
        )
    names = [f"x{i}" for i in range(array.shape[1])] if columns is None else list(columns)
    if len(names) != array.shape[1]:
        raise DataError(
            f"table: {len(names)} column names for an array of shape {array.shape}; "
            f"give {array.shape[1]}"
        )
    # A list, not a dict: a name given twice must reach the check.
    return pa.Table.from_arrays(
        [_column(name, array[:, i]) for i, name in enumerate(names)], names=names
    )


def _from_columns(data: Mapping[Any, Any]) -> pa.Table:
    arrays = {str(name): _column(str(name), values) for name, values in data.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        (short, rows), (long, more) = (
            pick(lengths.items(), key=lambda item: item[1]) for pick in (min, max)
        )
        raise DataError(
            f"table: column {short!r} has {rows} rows but {long!r} has {more}; make them equal"
        )
    return pa.table(arrays)


def _column(name: str, values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise DataError(
            f"table: column {name!r} is one {type(values).__name__}; "
            "give a list with a value per row"
        )
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"table: column {name!r} cannot become one Arrow type ({first_line(error)}); "
            "give it one type"
        ) from error


def _from_pandas(frame: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        detail = "; ".join(str(part) for part in error.args)
        raise DataError(
            f"table: the DataFrame cannot become an Arrow table ({detail}); "
            "give each column one type"
        ) from error
