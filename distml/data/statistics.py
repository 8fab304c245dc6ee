"""What the encoder needs to know of a table, as values that merge exactly.

A `Summary` of a table equals the merged summaries of its parts, however it is cut and in whatever
order they are merged: sums are exact (see `moments`), everything else is counts. Values of a column
are counted up to a limit; beyond it is only known that there are more, which again does not depend
on the order. Refused: merging tables with different columns.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.data.moments import Moments
from distml.data.tables import as_table
from distml.data.values import PARTS, calendar_part, decoded, family_of, local_times, to_float64
from distml.errors import DataError

__all__ = ["ColumnSummary", "Summary"]

Value = str | float
Counts = Mapping[Value, int]

MOST_VALUES = 10_000


@dataclass(frozen=True, kw_only=True)
class ColumnSummary:
    """One column. What does not apply to its family is empty, and empty is neutral when merged."""

    family: str
    """`number`, `boolean`, `date`, `string`, or `null` if there is no value at all."""
    missing: int = 0
    """Nulls and NaN."""
    infinite: int = 0
    """Infinite numbers; they are in no sum."""
    moments: Moments = field(default_factory=Moments)
    """Of numbers and booleans."""
    parts: Mapping[str, Moments] = field(default_factory=dict)
    """Of the calendar parts of dates."""
    counts: Counts | None = field(default_factory=dict)
    """Value → rows, of strings and of columns asked for; None beyond the limit."""
    words: int = 0
    """Words of all strings."""
    present: int = 0
    """Rows that have a value."""

    def merge(self, other: "ColumnSummary", *, name: str, limit: int) -> "ColumnSummary":
        """The summary of both parts of the column.

        Raises:
            DataError: the parts are of different families.
        """
        families = {self.family, other.family} - {"null"}
        if len(families) > 1:
            raise DataError(
                f"column {name!r} is {self.family} in one shard and {other.family} in another; "
                "write it with one type"
            )
        return ColumnSummary(
            family=families.pop() if families else "null",
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            moments=self.moments.merge(other.moments),
            parts={
                part: self.parts.get(part, Moments()).merge(other.parts.get(part, Moments()))
                for part in PARTS
                if part in self.parts or part in other.parts
            },
            counts=_add_counts(self.counts, other.counts, limit),
            words=self.words + other.words,
            present=self.present + other.present,
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All columns of a table, or of a part of one."""

    num_rows: int
    """Rows summed up."""
    columns: Mapping[str, ColumnSummary]
    """Name → summary."""
    limit: int = MOST_VALUES
    """The most values counted in a column."""

    @classmethod
    def of(
        cls,
        table: Any,
        *,
        count: Collection[str] = (),
        skip: Collection[str] = (),
        limit: int = MOST_VALUES,
    ) -> "Summary":
        """Sum up a table in one pass.

        Args:
            table: what `as_table` takes.
            count: columns whose values are counted although they are not strings.
            skip: columns to leave out.
            limit: the most values counted in a column.

        Raises:
            DataError: a column of a nested or binary type.
        """
        table = as_table(table)
        names = [name for name in table.column_names if name not in skip]
        columns = {name: _summarise(name, table[name], name in count, limit) for name in names}
        return cls(num_rows=table.num_rows, columns=columns, limit=limit)

    def merge(self, other: "Summary") -> "Summary":
        """The summary of both parts of the table.

        Raises:
            DataError: the parts have different columns, or columns of different families.
        """
        odd = sorted(set(self.columns) ^ set(other.columns))
        if odd:
            raise DataError(f"column {odd[0]!r} is not in all shards; write it to all, or to none")
        limit = min(self.limit, other.limit)
        columns = {
            name: column.merge(other.columns[name], name=name, limit=limit)
            for name, column in self.columns.items()
        }
        return Summary(num_rows=self.num_rows + other.num_rows, columns=columns, limit=limit)


def _summarise(name: str, column: pa.ChunkedArray, count: bool, limit: int) -> ColumnSummary:
    family = family_of(name, column.type)
    known: dict[str, Any] = {}
    if family in ("number", "boolean"):
        known = _of_numbers(column)
    elif family == "date":
        known = {"missing": column.null_count, "parts": _of_parts(column)}
    elif family == "string":
        known = _of_strings(column, limit)
    else:
        known = {"missing": len(column)}
    if count and family != "string":
        known["counts"] = _count(countable(column), limit)[0]
    known["present"] = len(column) - known["missing"]
    return ColumnSummary(family=family if known["present"] else "null", **known)


def countable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as strings or, if it holds numbers, as float64: comparable across types."""
    column = decoded(column)
    if pt.is_date(column.type) or pt.is_timestamp(column.type):
        return column.cast(pa.string())
    if pt.is_string(column.type) or pt.is_null(column.type):
        return column
    if pt.is_large_string(column.type) or pt.is_string_view(column.type):
        return column.cast(pa.large_string())
    # Adding zero makes -0.0 the same value as 0.0.
    return pa.chunked_array([pa.array(to_float64(column) + 0.0, from_pandas=True)])


def _of_numbers(column: pa.ChunkedArray) -> dict[str, Any]:
    values = to_float64(column)
    finite = np.isfinite(values)
    if finite.all():
        return {"missing": 0, "moments": Moments.of(values)}
    missing = int(np.count_nonzero(np.isnan(values)))
    rest = values[finite]
    return {
        "missing": missing,
        "infinite": len(values) - len(rest) - missing,
        "moments": Moments.of(rest),
    }


def _of_parts(column: pa.ChunkedArray) -> dict[str, Moments]:
    times = local_times(column.drop_null())
    parts = [part for part in PARTS if part != "hour" or pt.is_timestamp(times.type)]
    return {part: Moments.of(calendar_part(times, part)) for part in parts}


def _of_strings(column: pa.ChunkedArray, limit: int) -> dict[str, Any]:
    counts, words = _count(countable(column), limit)
    return {"missing": column.null_count, "counts": counts, "words": words}


def _count(column: pa.ChunkedArray, limit: int) -> tuple[Counts | None, int]:
    """How often each value occurs (None if there are too many), and the words in all rows."""
    found = column.drop_null().value_counts()
    values, counts = found.field("values"), found.field("counts")
    words = 0
    if pt.is_string(values.type) or pt.is_large_string(values.type):
        each = pc.add(pc.count_substring(values, " "), 1)
        words = pc.sum(pc.multiply(pc.cast(each, pa.int64()), counts)).as_py() or 0
    if len(values) > limit:
        return None, words
    return dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)), words


def _add_counts(left: Counts | None, right: Counts | None, limit: int) -> Counts | None:
    if left is None or right is None:
        return None
    both = dict(left)
    for value, count in right.items():
        both[value] = both.get(value, 0) + count
    return both if len(both) <= limit else None
