"""What the data of a run looks like: each column in a few numbers, and the label in each part.

One decision: a column is summed up piece by piece, so that rows that are streamed are read once for
all columns. Values are counted while they are few; of more it is not said how many differ.
"""

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
_MOST_VALUES = 100_000
"""Values of a column that are counted over several shards."""


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
        "columns": _columns(parts, columns),
        "label": {name: _label(parts, name) for name in parts.rows},
    }


def _columns(parts: Parts, columns: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str, _Column] = {}
    for table in parts.tables(columns):
        for name in columns:
            found.setdefault(name, _Column(table.schema.field(name))).add(table[name])
    return [found[name].described() for name in columns]


class _Column:
    """Sums and counts of one column, piece by piece."""

    def __init__(self, field: pa.Field) -> None:
        self._field = field
        self._nulls = self._num_values = 0
        self._mean: float | None = None
        self._bounds: list[Any] = []
        self._counts: pa.Table | None = None
        self._are_many = False

    def add(self, piece: pa.ChunkedArray) -> None:
        """Count one piece in."""
        column = plain_values(piece)
        self._nulls += column.null_count
        kind, number = column.type, len(column) - column.null_count
        if is_nested(kind) or not number:
            return
        self._num_values += number
        self._count(column.drop_null().value_counts())
        if pt.is_primitive(kind) and not pt.is_boolean(kind):
            ends = pc.min_max(column).as_py()
            each = [*self._bounds, ends["min"], ends["max"]]
            self._bounds = [min(each), max(each)]
        if pt.is_integer(kind) or pt.is_floating(kind):
            before, mean = self._mean or 0.0, pc.mean(column).as_py()
            self._mean = before + (mean - before) * number / self._num_values

    def described(self) -> dict[str, Any]:
        """What is said of it."""
        known: dict[str, Any] = {
            "name": self._field.name,
            "type": str(self._field.type),
            "nulls": self._nulls,
        }
        empty: dict[str, Any] = {"distinct": None, "min": None, "max": None, "mean": None}
        if is_nested(self._field.type):
            return {**known, **empty, "top": []}
        if self._bounds:
            empty |= {"min": self._bounds[0], "max": self._bounds[1]}
        if not self._are_many:
            empty["distinct"] = 0 if self._counts is None else self._counts.num_rows
        return {**known, **empty, "mean": self._mean, "top": self._most_frequent()}

    def _count(self, found: pa.StructArray) -> None:
        if self._are_many:
            return
        counts = pa.table({"value": found.field("values"), "count": found.field("counts")})
        if self._counts is not None:
            both = pa.concat_tables([self._counts, counts]).group_by("value", use_threads=False)
            counts = both.aggregate([("count", "sum")]).rename_columns(["value", "count"])
            self._are_many = counts.num_rows > _MOST_VALUES
        self._counts = None if self._are_many else counts

    def _most_frequent(self) -> list[list[Any]]:
        """The values that stand in most rows, and in how many."""
        if self._counts is None:
            return []
        counts = self._counts["count"].to_numpy()
        first = np.argsort(-counts, kind="stable")[:_TOP]
        values = self._counts["value"].take(pa.array(first)).to_pylist()
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
