"""What a dataset holds, as far as a first job needs to know: what to drop, and how to split.

One decision: every column gets one role and, where the role is not plain, the reason in words. The
label is read whole, since classes are counted exactly; the columns are judged by a sample of rows
from all over the data, so a finding says what was seen, not what is certain.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distml.data.dataset import ShardedDataset
from distml.data.inspect_columns import Column, judge
from distml.data.inspect_label import Label, Task, read_label, usable
from distml.data.inspect_leaks import Target, best_rule
from distml.data.inspect_split import SplitPlan, plan_split
from distml.data.tables import unknown_column
from distml.data.values import decoded
from distml.errors import DataError

__all__ = ["Inspection", "check_label", "inspect", "sample"]

_MOST_ROWS = 100_000
_MOST_SHARDS = 16
_LEAST_TIMES = 20
_MOST_NULLS = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What there is to know before the first job."""

    uri: str
    """The data."""
    num_rows: int
    """Rows in all."""
    num_sampled: int
    """Rows that the columns were judged by."""
    label: Label
    """The label."""
    columns: tuple[Column, ...]
    """All but the label, in their order."""
    split: SplitPlan
    """How to choose the test rows."""
    rule: str | None
    """The best single threshold, to be beaten."""

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns to learn from."""
        return tuple(column for column in self.columns if column.role == "feature")

    @property
    def dropped(self) -> tuple[Column, ...]:
        """The columns that are left out."""
        return tuple(column for column in self.columns if column.role != "feature")


def inspect(dataset: ShardedDataset, label: str, task: Task | None = None) -> Inspection:
    """Look at a dataset with one of its columns as the label.

    Args:
        dataset: The data.
        label: The column to predict.
        task: What to make of it; told by its values by default.

    Raises:
        DataError: no such column, nothing to learn from it, or no column to learn from.
    """
    check_label(dataset, label)
    read = read_label(dataset.to_table([label])[label], label, task)
    table = _usable_rows(sample(dataset), read)
    target = Target.of(table[label], read.task)
    columns = tuple(_judged(table, target, label))
    found = Inspection(
        uri=dataset.uri,
        num_rows=dataset.num_rows,
        num_sampled=table.num_rows,
        label=read,
        columns=columns,
        split=plan_split(dataset, read, _times(table, columns), _groups(columns)),
        rule=None,
    )
    if not found.features:
        raise DataError(
            f"{dataset.uri}: no column is left to learn from: "
            + "; ".join(f"{column.name!r} is {column.note}" for column in found.dropped[:5])
        )
    return replace(found, rule=_rule(table, found, target))


def check_label(dataset: ShardedDataset, label: str) -> None:
    """Check that a label is one of the columns; nothing is read for it.

    Args:
        dataset: The data.
        label: The column to predict.

    Raises:
        DataError: it is not.
    """
    if label in dataset.schema.names:
        return
    message = unknown_column(label, dataset.schema.names, where=dataset.uri)
    if dataset.format == "csv" and any(map(_is_number, dataset.schema.names)):
        message += "; its first line seems to hold values: put a line of names above it"
    raise DataError(message)


def sample(dataset: ShardedDataset, most_rows: int = _MOST_ROWS) -> pa.Table:
    """All rows if they are few, else rows at even distances from shards at even distances.

    Args:
        dataset: The data.
        most_rows: About how many rows to take.

    Raises:
        DataError: a shard cannot be read.
    """
    if dataset.num_rows <= most_rows:
        return dataset.to_table()
    count = min(len(dataset.shards), _MOST_SHARDS)
    shards = np.unique(np.linspace(0, len(dataset.shards) - 1, count).astype(int))
    wanted = -(-most_rows // len(shards))
    return pa.concat_tables(_thinned(dataset.read_shard(int(i)), wanted) for i in shards)


def _thinned(table: pa.Table, wanted: int) -> pa.Table:
    rows = np.linspace(0, max(table.num_rows - 1, 0), min(wanted, table.num_rows)).astype(np.int64)
    return table.take(pa.array(rows))


def _is_number(name: str) -> bool:
    return re.fullmatch(r"\s*[-+]?\d+(\.\d+)?\s*", name) is not None


def _usable_rows(table: pa.Table, label: Label) -> pa.Table:
    column = decoded(table[label.name])
    keep = usable(column)
    if label.rare:
        rare = pa.array(list(label.rare), column.type)
        keep = pc.and_(keep, pc.invert(pc.is_in(column, value_set=rare)))
    return table.filter(keep)


def _judged(table: pa.Table, target: Target, label: str) -> Iterator[Column]:
    for name in table.column_names:
        if name != label:
            yield judge(name, table[name], target)


def _times(table: pa.Table, columns: tuple[Column, ...]) -> list[str]:
    """Columns that a time split could go by, the finest first: dates in nearly all rows."""
    dates = [
        column
        for column in columns
        if _tells_time(column)
        and column.distinct >= _LEAST_TIMES
        and column.nulls <= _MOST_NULLS * table.num_rows
    ]
    return [column.name for column in sorted(dates, key=lambda found: -found.distinct)]


def _tells_time(column: Column) -> bool:
    return "dates as text" in column.note or (column.family == "date" and column.role == "feature")


def _groups(columns: tuple[Column, ...]) -> list[str]:
    """Columns that name groups, the coarsest first: it keeps most together."""
    groups = [column for column in columns if column.role == "group"]
    return [column.name for column in sorted(groups, key=lambda found: found.distinct)]


def _rule(table: pa.Table, found: Inspection, target: Target) -> str | None:
    if len(found.label.classes) > 2:
        return None
    named: Mapping[str, pa.ChunkedArray] = {
        column.name: table[column.name] for column in found.features if column.family == "number"
    }
    return best_rule(named, target)
