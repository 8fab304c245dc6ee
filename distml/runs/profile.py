"""The profile of a table: what its columns look like, small enough to keep with the model.

The one decision: numbers are kept as deciles with a sample, everything else as shares of values, so
that both measures of drift, the population stability index and Kolmogorov-Smirnov's distance, can
be taken later without the rows. What hardly ever repeats is kept as numbers about it: lists of
numbers (images, sequences) as their lengths and means, text as its length.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.runs.strict_json import to_json

__all__ = ["OTHER", "profile"]

OTHER = "(other)"
"""Stands for all values beyond the most frequent ones."""

_DECILES = np.linspace(0, 1, 11)
_SAMPLE = 1000
_MOST_VALUES = 50
_LEAST_LETTERS = 20
"""Of a text, on average; shorter strings are names."""


def profile(table: pa.Table) -> dict[str, Any]:
    """Describe every column of a table.

    Args:
        table: the rows.

    Returns:
        `{"rows": n, "columns": {name: column}}`. A column of numbers (dates and times count as
        such) is `{"kind": "number", "edges": [11 deciles], "shares": [10 shares of the rows that
        are not null], "nulls": share, "sample": [at most 1,000 sorted values]}`; equal deciles are
        merged, so there may be fewer. Any other is `{"kind": "category", "values": {value: share of
        the rows that are not null}, "nulls": share}`, the 50 most frequent, the rest as `OTHER`.
        Lists of numbers have the columns `NAME (length)`, where it varies, and `NAME (mean)`; text
        has `NAME (length)`.

    Raises:
        Nothing.
    """
    told = (pair for name in table.column_names for pair in _told_of(name, table[name]))
    columns = {name: _column(column) for name, column in told}
    return {"rows": table.num_rows, "columns": to_json(columns)}


def _told_of(name: str, column: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """What a column is described by: itself, or numbers about each of its values."""
    plain = _storage(column)
    if _has_numbers(plain.type):
        if not pt.is_fixed_size_list(plain.type):
            yield f"{name} (length)", pc.list_value_length(plain)
        yield f"{name} (mean)", _means(plain)
    elif _is_text(plain):
        yield f"{name} (length)", pc.utf8_length(plain)
    else:
        yield name, plain


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of tensors as lists; any other as it is."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    chunks = [chunk.storage for chunk in column.chunks]
    return pa.chunked_array(chunks, column.type.storage_type)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def _has_numbers(kind: pa.DataType) -> bool:
    """Whether it is a type of lists, nested or not, of numbers."""
    depth = 0
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth > 0 and (pt.is_integer(kind) or pt.is_floating(kind))


def _means(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The mean of each row's finite numbers, null if it has none."""
    return pa.chunked_array([_means_of(chunk) for chunk in column.chunks], pa.float64())


def _means_of(lists: pa.Array) -> pa.Array:
    values, rows = lists, np.arange(len(lists))
    while _is_list(values.type):
        rows = rows[np.asarray(pc.list_parent_indices(values))]
        values = pc.list_flatten(values)
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    known = np.isfinite(numbers)
    sums = np.bincount(rows[known], numbers[known], minlength=len(lists))
    counts = np.bincount(rows[known], minlength=len(lists))
    return pa.array(sums / np.maximum(counts, 1), mask=counts == 0)


def _is_text(column: pa.ChunkedArray) -> bool:
    """Whether strings are long and most of them stand in one row alone."""
    if not (pt.is_string(column.type) or pt.is_large_string(column.type)):
        return False
    known = column.drop_null()
    letters = pc.mean(pc.utf8_length(known)).as_py() or 0.0
    return letters >= _LEAST_LETTERS and 2 * len(known.unique()) > len(known)


def _column(column: pa.ChunkedArray) -> dict[str, Any]:
    known = column.drop_null()
    numbers = _numbers(known)
    described = _category(known) if numbers is None else _number(numbers)
    missing = len(column) - len(known if numbers is None else numbers)
    return {**described, "nulls": missing / len(column) if len(column) else 0.0}


def _numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """The finite values, sorted: float64 array of shape (n_known,); `None` for a category."""
    kind = column.type
    if pt.is_temporal(kind):
        # Through the integer of its own width: pyarrow casts no date to a float.
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    elif not (pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)):
        return None
    values = column.cast(pa.float64(), safe=False).to_numpy()
    return np.sort(values[np.isfinite(values)])


def _number(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"kind": "number", "edges": [], "shares": [], "sample": []}
    edges = np.unique(np.quantile(values, _DECILES))
    inside = np.searchsorted(edges[1:-1], values, side="left")
    counts = np.bincount(inside, minlength=max(1, len(edges) - 1))
    places = np.linspace(0, len(values) - 1, min(_SAMPLE, len(values))).round().astype(np.intp)
    return {
        "kind": "number",
        "edges": edges.tolist(),
        "shares": (counts / len(values)).tolist(),
        "sample": values[places].tolist(),
    }


def _category(column: pa.ChunkedArray) -> dict[str, Any]:
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pt.is_nested(column.type) or pt.is_binary(column.type):
        column = pa.chunked_array([pa.array([repr(value) for value in column.to_pylist()])])
    pairs = pc.value_counts(column.combine_chunks()).to_pylist()
    pairs.sort(key=lambda pair: (-pair["counts"], str(pair["values"])))
    shares = {str(pair["values"]): pair["counts"] / len(column) for pair in pairs[:_MOST_VALUES]}
    rest = sum(pair["counts"] for pair in pairs[_MOST_VALUES:])
    return {"kind": "category", "values": {**shares, OTHER: rest / len(column)} if rest else shares}
