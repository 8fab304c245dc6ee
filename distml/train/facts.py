"""What inputs learn from a table, as values that merge exactly.

Facts of a table equal the merged facts of its parts, however it is cut (see `moments` and
`TextSample`), so shards can be read one after another, or in parallel, and a network fitted on them
standardises as it would in one pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from distml.data.moments import Moments
from distml.data.statistics import Summary
from distml.data.tables import as_table
from distml.errors import DataError
from distml.train.matrix import column_numbers
from distml.train.nested import array_of, ragged_of
from distml.train.roles import Column, checked
from distml.train.tokenizer import TextSample, joined

__all__ = ["Facts", "facts_of"]

MOST_COUNTED = 1 << 20
"""The most values of a column that are counted."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Sums and counts of a table, or of a part of one."""

    num_rows: int
    """Rows read."""
    summary: Summary
    """Of numbers, dates (in seconds) and categories."""
    steps: Mapping[str, tuple[Moments, ...]] = field(default_factory=dict)
    """Column → moments of each channel of a sequence, or of all numbers of an array."""
    largest: Mapping[str, int] = field(default_factory=dict)
    """Column of tokens → the largest number."""
    texts: TextSample = field(default_factory=TextSample)
    """Of the columns of text."""

    def merge(self, other: "Facts") -> "Facts":
        """The facts of both parts together."""
        return Facts(
            num_rows=self.num_rows + other.num_rows,
            summary=self.summary.merge(other.summary),
            steps={
                name: tuple(
                    one.merge(two) for one, two in zip(moments, other.steps[name], strict=True)
                )
                for name, moments in self.steps.items()
            },
            largest={name: max(most, other.largest[name]) for name, most in self.largest.items()},
            texts=self.texts.merge(other.texts),
        )


def facts_of(item: Any, columns: Sequence[Column]) -> Facts:
    """The facts of one table.

    Args:
        item: what `as_table` takes, or a function without arguments that gives it.
        columns: how its columns are read.

    Raises:
        DataError: a column is missing, of another type, or holds what cannot be learnt from.
    """
    table = as_table(item() if callable(item) else item)
    found = {column.name: checked(table, column) for column in columns}
    texts = [found[column.name] for column in columns if column.role == "text"]
    return Facts(
        num_rows=table.num_rows,
        summary=_summary(found, columns),
        steps={
            column.name: _moments(column, found[column.name])
            for column in columns
            if column.role in ("array", "sequence")
        },
        largest={
            column.name: _largest(column.name, found[column.name])
            for column in columns
            if column.role == "tokens"
        },
        texts=TextSample.of(joined(texts)) if texts else TextSample(),
    )


def _summary(found: Mapping[str, pa.ChunkedArray], columns: Sequence[Column]) -> Summary:
    single = {
        column.name: (
            pa.array(column_numbers(found[column.name]), from_pandas=True)
            if column.role in ("number", "date")
            else found[column.name]
        )
        for column in columns
        if column.role in ("number", "date", "category")
    }
    counted = [column.name for column in columns if column.role == "category"]
    summary = Summary.of(pa.table(single), count=counted, limit=MOST_COUNTED)
    for name, column in summary.columns.items():
        if column.infinite:
            raise DataError(
                f"column {name!r} has {column.infinite} infinite numbers; replace them, or leave "
                "them missing"
            )
    return summary


def _moments(column: Column, values: pa.ChunkedArray) -> tuple[Moments, ...]:
    """Of an array all numbers together, of a sequence each channel; none of bytes."""
    if column.role == "array":
        numbers = array_of(column.name, values, column.size)
        if numbers.dtype == np.uint8:
            return ()
        numbers = numbers.reshape(-1, 1)
    else:
        numbers = ragged_of(column.name, values, column.size[0]).values
    return tuple(_of(column.name, numbers[:, i]) for i in range(numbers.shape[1]))


def _of(name: str, numbers: np.ndarray) -> Moments:
    numbers = numbers[~np.isnan(numbers)].astype(np.float64)
    if not np.isfinite(numbers).all():
        raise DataError(f"column {name!r} has infinite numbers; replace them")
    return Moments.of(numbers)


def _largest(name: str, values: pa.ChunkedArray) -> int:
    tokens = ragged_of(name, values).values
    if len(tokens) and int(tokens.min()) < 0:
        raise DataError(f"column {name!r} has tokens below 0; number them from 0")
    return int(tokens.max(initial=-1))
