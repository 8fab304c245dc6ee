"""From a sharded dataset to what an estimator learns from: rows, features, labels, splits.

One decision: rows are a table, or, where they do not fit into memory, a selection that is read a
block at a time; only labels are held whole then, and columns that a rule or a slice asks for.
Everything that can be wrong with the data is found here, before anything is fitted, and said with
the column and the value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distml.data import Selection, ShardedDataset, Split, sides_of
from distml.errors import DataError, UserError

__all__ = [
    "Labels",
    "Parts",
    "Table",
    "column_names",
    "draw_rows",
    "is_nested",
    "plain_values",
    "read_labels",
    "split_table",
]

Table: TypeAlias = pa.Table | Selection
"""Rows in memory, or rows that are read when they are needed; both give slices and rows by number.
"""

_SOME_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """The label of every row, as numbers."""

    y: np.ndarray
    """Array of shape (num_rows,): float64 for a regression, positions in `classes` otherwise."""
    classes: np.ndarray | None
    """Array of shape (num_classes,), sorted; `None` for a regression."""

    @property
    def num_classes(self) -> int | None:
        """How many classes there are; `None` for a regression."""
        return None if self.classes is None else len(self.classes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """A table divided into `train` and test sets."""

    table: Table
    labels: Labels
    rows: Mapping[str, np.ndarray]
    """`train` and the names of test sets → integer array of rows."""

    @property
    def tests(self) -> list[str]:
        """Names of the test sets."""
        return [name for name in self.rows if name != "train"]

    @property
    def are_streamed(self) -> bool:
        """Whether the rows are not in memory."""
        return isinstance(self.table, Selection)

    def features(self, name: str, columns: Sequence[str]) -> Table:
        """The features of one part, not read yet if the rows are streamed."""
        rows = self.table.select(list(columns))
        if isinstance(rows, Selection):
            return rows.pick(self.rows[name])
        return rows.take(pa.array(self.rows[name]))

    def whole(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of one part, in memory."""
        rows = self.features(name, columns)
        return rows.to_table() if isinstance(rows, Selection) else rows

    def some(self, name: str, columns: Sequence[str]) -> pa.Table:
        """The features of one part; of rows that are streamed a few, evenly from all of them."""
        rows = self.features(name, columns)
        return rows.thinned(_SOME_ROWS) if isinstance(rows, Selection) else rows

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows of all parts: one table, or those of each shard in turn."""
        if isinstance(self.table, Selection):
            yield from self.table.iter_tables(columns)
        else:
            yield self.table.select(list(columns))

    def y(self, name: str) -> np.ndarray:
        """The labels of one part: array of shape (num_rows_of_part,)."""
        return self.labels.y[self.rows[name]]


def draw_rows(table: Table, num_rows: int | None, seed: int) -> Table:
    """Keep `num_rows` rows drawn at random, in their order; all if it is `None`.

    Raises:
        UserError: there are not that many.
    """
    if num_rows is None or num_rows == table.num_rows:
        return table
    if num_rows > table.num_rows:
        raise UserError(f"rows={num_rows}: the data has {table.num_rows}; give at most that")
    drawn = np.random.default_rng(seed).choice(table.num_rows, num_rows, replace=False)
    drawn.sort()
    return table.pick(drawn) if isinstance(table, Selection) else table.take(pa.array(drawn))


def read_labels(column: pa.ChunkedArray, name: str, *, classification: bool) -> Labels:
    """Turn the label's column into numbers.

    Raises:
        DataError: nulls, a single value, or text where a number is predicted.
    """
    if column.null_count:
        rows = f"{column.null_count} of {len(column)} rows"
        raise DataError(f"label {name!r} is null in {rows}; fill or leave out those rows")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if classification:
        classes, codes = np.unique(column.to_numpy(), return_inverse=True)
        labels = Labels(y=codes.astype(np.int64), classes=classes)
        num_values = len(classes)
    else:
        labels = Labels(y=_numbers(column, name), classes=None)
        num_values = len(pc.unique(column))
    if num_values < 2:
        only = f"only the value {column[0].as_py()!r}" if len(column) else "no value"
        raise DataError(f"label {name!r} has {only}; there is nothing to learn")
    return labels


def _numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    try:
        values = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        message = f"label {name!r} is {column.type}; a regression needs numbers"
        raise DataError(f"{message} (or give a classifier)") from error
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(f"label {name!r} is not finite in {count} rows; leave those rows out")
    return values


def split_table(table: Table, labels: Labels, split: Split, folds: int | None) -> Parts:
    """Divide rows into `train` and test sets.

    Args:
        table: All rows.
        labels: Their labels.
        split: The rules.
        folds: Folds of the estimator's cross-validation, if it has one.

    Raises:
        DataError: a part is empty, or a class has fewer training rows than there are folds.
    """
    parts = Parts(table=table, labels=labels, rows=_rows_of(table, split))
    for name, rows in parts.rows.items():
        if not len(rows):
            raise DataError(
                f"split: {name!r} has none of the {table.num_rows} rows; change its rule"
            )
    _check_classes(labels, parts.y("train"), folds)
    return parts


def _rows_of(table: Table, split: Split) -> Mapping[str, np.ndarray]:
    if not isinstance(table, Selection):
        return split.rows(table)
    sides = np.concatenate([np.empty(0, np.int8), *sides_of(table, split)])
    return {name: np.flatnonzero(sides == i) for i, name in enumerate(split.names)}


def _check_classes(labels: Labels, train: np.ndarray, folds: int | None) -> None:
    if labels.classes is None:
        return
    counts = np.bincount(train, minlength=len(labels.classes))
    rarest = int(counts.argmin())
    least = max(folds or 1, 1)
    if counts[rarest] < least:
        what = f"class {_plain(labels.classes[rarest])!r} has {counts[rarest]} training rows"
        wish = f"fewer than the {folds} folds; lower cv or" if least > 1 else "none;"
        raise DataError(f"{what}, {wish} leave that class out")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def column_names(dataset: ShardedDataset, label: str, features: Sequence[str] | None) -> list[str]:
    """The feature columns: those asked for, or all but the label.

    Raises:
        DataError: a column that does not exist.
        UserError: the label is asked for as a feature.
    """
    if features is not None and label in features:
        raise UserError(f"features: {label!r} is the label; leave it out")
    names = [name for name in dataset.schema.names if name != label]
    return names if features is None else dataset.select(list(features)).schema.names


def is_nested(kind: pa.DataType) -> bool:
    """Whether a column of this type has lists, tensors or structs instead of single values."""
    return pa.types.is_nested(getattr(kind, "storage_type", kind))


def plain_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without encoding, of types that can be ordered and that JSON has or can spell.

    Decimals are float64, durations count in their own unit, and NaN is null.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    if pa.types.is_duration(column.type):
        return column.cast(pa.int64())
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column
