"""The rows of a user's loop: named parts, whose columns are fields and whose label is `y`.

The one decision: what is learnt from data (categories, vocabularies, scales, classes) is learnt
from the rows of `train`, and every part is read by it. The rows of one dataset are in memory once,
however many parts they are divided into. Refused, naming column and part: a label that is missing,
or of a class that `train` lacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt
from sklearn.base import clone

from distml.data import ShardedDataset, Split
from distml.errors import DataError, UserError
from distml.train.batch import MemoryPart, Part
from distml.train.inputs import Inputs
from distml.train.shape import Kind, Scale, Shape

__all__ = ["LoopData", "LoopTask", "Source", "read_loop_data"]

Array = npt.NDArray[Any]
LoopTask = Literal["classification", "regression"]
Source = ShardedDataset | str | Path
"""A dataset, or what `ShardedDataset.open` takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopData:
    """Rows by part, and what a network has to know of them."""

    parts: Mapping[str, Part]
    """`train`, and whatever else there is."""
    shape: Shape
    scales: Mapping[Kind, Scale]
    classes: Array | None
    """Array of shape (num_classes,), sorted; `None` if the label is a number or there is none."""
    task: LoopTask | None
    """`None` if there is no label."""
    columns: tuple[str, ...]
    """What the fields are read from."""
    source: Mapping[str, Any]
    """Where the rows come from: `uri` and `fingerprint`, of each part if they differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What is to be said of a row."""

    label: str | None
    task: LoopTask | None
    classes: Array | None = None
    columns: tuple[str, ...] = ()

    def targets(self, table: pa.Table, part: str) -> dict[str, Array]:
        """`y`: int64 codes of shape (n,), or float32 numbers of shape (n, 1).

        Raises:
            DataError: the label is missing in rows, or of a class that `train` lacks.
        """
        if self.label is None:
            return {}
        values = _values(table, self.label, part, self.task)
        if self.classes is None:
            return {"y": values.astype(np.float32)[:, None]}
        codes = np.searchsorted(self.classes, values).clip(0, len(self.classes) - 1)
        wrong = self.classes[codes] != values
        if wrong.any():
            value = values[wrong][:1].tolist()[0]
            raise DataError(
                f"label {self.label!r} is {value!r} in {int(wrong.sum())} rows of {part!r}, and in "
                "no row of 'train'; leave those rows out"
            )
        return {"y": codes.astype(np.int64)}


def read_loop_data(
    data: Source | Mapping[str, Source],
    *,
    label: str | None,
    task: LoopTask | None,
    features: Sequence[str] | None,
    split: Split | None,
    inputs: Inputs,
) -> LoopData:
    """Read all rows into memory.

    Args:
        data: one dataset, or one for each part.
        label: column to predict, if there is one.
        task: whether its values are classes or numbers; `None`: told by its type.
        features: columns of the fields; `None`: all but the label.
        split: divides one dataset into parts; `None`: all of it is `train`.
        inputs: how columns become fields; not yet fitted, and left so.

    Raises:
        DataError: a column is not there or cannot be read, or a part has no rows.
        UserError: it is not said whether whole numbers are classes.
    """
    inputs = clone(inputs)
    if isinstance(data, Mapping):
        return _of_several(data, label, task, features, inputs)
    return _of_one(_opened(data), label, task, features, split, inputs)


def _of_one(
    dataset: ShardedDataset,
    label: str | None,
    task: LoopTask | None,
    features: Sequence[str] | None,
    split: Split | None,
    inputs: Inputs,
) -> LoopData:
    columns = _columns(dataset, label, features)
    read = {*columns, *(() if label is None else (label,))}
    if split is not None:
        read |= set(dataset.schema.names if split.columns is None else split.columns)
    known = [name for name in dataset.schema.names if name in read]
    table = dataset.to_table([*known, *sorted(read.difference(known))])
    rows = {"train": np.arange(table.num_rows)} if split is None else split.rows(table)
    _check_sizes({name: len(chosen) for name, chosen in rows.items()})
    train = table if split is None else table.take(pa.array(rows["train"]))
    question = _question(train, label, task, columns)
    inputs.fit(train.select(columns))
    targets = question.targets(table, "train" if split is None else "the dataset")
    fields = inputs.rows(table.select(columns)).having(**targets)
    parts = {name: MemoryPart(fields, chosen) for name, chosen in rows.items()}
    return _made(parts, question, inputs, _named(dataset))


def _of_several(
    data: Mapping[str, Source],
    label: str | None,
    task: LoopTask | None,
    features: Sequence[str] | None,
    inputs: Inputs,
) -> LoopData:
    datasets = {name: _opened(source) for name, source in data.items()}
    _check_sizes({name: dataset.num_rows for name, dataset in datasets.items()})
    columns = _columns(datasets["train"], label, features)
    read = [*columns, *(() if label is None else (label,))]
    train = datasets["train"].to_table(read)
    question = _question(train, label, task, columns)
    inputs.fit(train.select(columns))
    parts = {}
    for name, dataset in datasets.items():
        table = train if name == "train" else dataset.to_table(read)
        fields = inputs.rows(table.select(columns))
        parts[name] = MemoryPart(fields.having(**question.targets(table, name)))
    source = {name: _named(dataset) for name, dataset in datasets.items()}
    return _made(parts, question, inputs, source)


def _made(
    parts: Mapping[str, Part], question: _Question, inputs: Inputs, source: Mapping[str, Any]
) -> LoopData:
    num_outputs = 0 if question.label is None else 1
    if question.classes is not None:
        num_outputs = len(question.classes)
    return LoopData(
        parts=parts,
        shape=inputs.shape(num_outputs),
        scales=inputs.scales_,
        classes=question.classes,
        task=question.task,
        columns=question.columns,
        source=source,
    )


def _opened(source: Source) -> ShardedDataset:
    return source if isinstance(source, ShardedDataset) else ShardedDataset.open(source)


def _named(dataset: ShardedDataset) -> dict[str, str]:
    return {"uri": dataset.uri, "fingerprint": dataset.fingerprint}


def _columns(
    dataset: ShardedDataset, label: str | None, features: Sequence[str] | None
) -> tuple[str, ...]:
    names = [name for name in dataset.schema.names if name != label]
    return tuple(names if features is None else dataset.select(list(features)).schema.names)


def _check_sizes(num_rows: Mapping[str, int]) -> None:
    for name, size in num_rows.items():
        if not size:
            raise DataError(
                f"part {name!r} has none of the {sum(num_rows.values())} rows; change the split or "
                "its data"
            )


def _question(
    train: pa.Table, label: str | None, task: LoopTask | None, columns: tuple[str, ...]
) -> _Question:
    """What the label is, told by the rows of `train`."""
    if label is None:
        return _Question(label=None, task=None, columns=columns)
    task = task or _task_of(train.schema.field(label))
    classes = None
    if task == "classification":
        classes = np.unique(_values(train, label, "train", task))
        if len(classes) < 2:
            raise DataError(
                f"label {label!r} has only the value {classes.tolist()[0]!r} in 'train'; there is "
                "nothing to learn"
            )
    return _Question(label=label, task=task, classes=classes, columns=columns)


def _task_of(column: pa.Field) -> LoopTask:
    """What a type tells. Whole numbers may be either, and a guess by their values might change."""
    if pt.is_integer(column.type):
        raise UserError(
            f"label {column.name!r} is {column.type}, which may be classes or numbers: give "
            'task="classification" or task="regression"'
        )
    is_number = pt.is_floating(column.type) or pt.is_decimal(column.type)
    return "regression" if is_number else "classification"


def _values(table: pa.Table, label: str, part: str, task: LoopTask | None) -> Array:
    """The label of each row, as it is stored or, in a regression, as float64."""
    column = table[label]
    if column.null_count:
        raise DataError(
            f"label {label!r} is null in {column.null_count} of the {len(column)} rows of "
            f"{part!r}; fill or leave out those rows"
        )
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pt.is_nested(column.type):
        raise DataError(f"label {label!r} is {column.type}; give a column of plain values")
    if task == "regression":
        column = _numbers(column, label)
    values: Array = column.to_numpy()
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(f"label {label!r} is not finite in {count} rows; leave those rows out")
    return values


def _numbers(column: pa.ChunkedArray, label: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"label {label!r} is {column.type}; a regression needs numbers, so give "
            'task="classification"'
        ) from error
