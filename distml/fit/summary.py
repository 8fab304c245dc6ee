"""What the data of a run looks like: each column in a few numbers, and the label in each part."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.fit.tables import Parts, is_nested, plain_values

__all__ = ["describe_data"]

_TOP = 5
_BINS = 30


def describe_data(parts: Parts, columns: Sequence[str]) -> dict[str, Any]:
    """Describe the data that a model was fitted and tested on.

    Args:
        parts: The rows, divided.
        columns: The columns to describe, in this order.

    Returns:
        `rows` by part, `columns`, and `label` by part: counts of classes, or moments and a
        histogram.
    """
    return {
        "rows": {name: len(rows) for name, rows in parts.rows.items()},
        "columns": [_column(name, parts.table[name]) for name in columns],
        "label": {name: _label(parts, name) for name in parts.rows},
    }


def _column(name: str, column: pa.ChunkedArray) -> dict[str, Any]:
    kind, column = str(column.type), plain_values(column)
    known: dict[str, Any] = {"name": name, "type": kind, "nulls": column.null_count}
    empty: dict[str, Any] = {"distinct": None, "min": None, "max": None, "mean": None, "top": []}
    if is_nested(column.type):
        return {**known, **empty}
    found = column.drop_null().value_counts()
    known |= {**empty, "distinct": len(found), "top": _most_frequent(found)}
    if pt.is_primitive(column.type) and not pt.is_boolean(column.type):
        known |= pc.min_max(column).as_py()
    if pt.is_integer(column.type) or pt.is_floating(column.type):
        known["mean"] = pc.mean(column).as_py()
    return known


def _most_frequent(found: pa.StructArray) -> list[list[Any]]:
    """The values that stand in most rows, and in how many."""
    counts = np.asarray(found.field("counts"))
    first = np.argsort(-counts, kind="stable")[:_TOP]
    values = found.field("values").take(pa.array(first)).to_pylist()
    return [[value, int(count)] for value, count in zip(values, counts[first], strict=True)]


def _label(parts: Parts, name: str) -> dict[str, Any]:
    y, classes = parts.y(name), parts.labels.classes
    if classes is not None:
        counts = np.bincount(y, minlength=len(classes))
        return {"counts": dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True))}
    counts, edges = np.histogram(y, bins=_BINS)
    return {
        "mean": float(y.mean()),
        "std": float(y.std()),
        "min": float(y.min()),
        "max": float(y.max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
