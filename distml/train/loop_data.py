"""The rows of a user's loop: named parts, whose columns are fields and whose label is `y`.

The one decision: what is learnt from data (categories, vocabularies, scales, classes) is learnt
from the rows of `train`, and every part is read by it. The rows of one dataset are in memory once,
however many parts they are divided into, or, where they do not fit, only their labels are. Refused,
naming column and part: a label that is missing, or of a class that `train` lacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import clone

from distml.data import Selection, ShardedDataset, Split, divide, sides_of
from distml.errors import DataError
from distml.runs.storage import shown
from distml.train.batch import MemoryPart, Part
from distml.train.inputs import Inputs
from distml.train.loop_label import LoopTask, Question, question_of
from distml.train.shape import Kind, Scale, Shape
from distml.train.streaming import stream_part

__all__ = ["LoopData", "LoopTask", "Source", "read_loop_data"]

Array = npt.NDArray[Any]
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


def read_loop_data(
    data: Source | Mapping[str, Source],
    *,
    label: str | None,
    task: LoopTask | None,
    features: Sequence[str] | None,
    split: Split | None,
    inputs: Inputs,
    memory_bytes: int | None = None,
) -> LoopData:
    """Read all rows into memory, or make parts that are read while training.

    Args:
        data: one dataset, or one for each part.
        label: column to predict, if there is one.
        task: whether its values are classes or numbers; `None`: told by its type.
        features: columns of the fields; `None`: all but the label.
        split: divides one dataset into parts; `None`: all of it is `train`.
        inputs: how columns become fields; not yet fitted, and left so.
        memory_bytes: what rows may take; if they take more, they are streamed.

    Raises:
        DataError: a column is not there or cannot be read, or a part has no rows.
        UserError: it is not said whether whole numbers are classes.
    """
    inputs = clone(inputs)
    if memory_bytes is not None:
        found = _to_stream(data, label, task, features, split, inputs, memory_bytes)
        if found is not None:
            return found
    if isinstance(data, Mapping):
        return _of_several(data, label, task, features, inputs)
    return _of_one(_opened(data), label, task, features, split, inputs)


def _to_stream(
    data: Source | Mapping[str, Source],
    label: str | None,
    task: LoopTask | None,
    features: Sequence[str] | None,
    split: Split | None,
    inputs: Inputs,
    memory_bytes: int,
) -> LoopData | None:
    """Parts that are read while training; `None` if all rows fit into memory."""
    datasets = data if isinstance(data, Mapping) else {"train": data}
    opened = {name: _opened(source) for name, source in datasets.items()}
    columns = _columns(opened["train"], label, features)
    parts = {
        name: Selection(dataset.select(_to_read(dataset, columns, label, split)))
        for name, dataset in opened.items()
    }
    if sum(rows.row_bytes() * rows.num_rows for rows in parts.values()) <= memory_bytes:
        return None
    if split is not None:
        rows = parts["train"]
        each = divide(rows, sides_of(rows, split), len(split.names))
        parts = dict(zip(split.names, each, strict=True))
    _check_sizes({name: rows.num_rows for name, rows in parts.items()})
    question = question_of(_labels(parts["train"], label), label, task, columns)
    inputs.fit(parts["train"].select(columns))
    made = {
        name: stream_part(rows, inputs, question.targets(_labels(rows, label), name), memory_bytes)
        for name, rows in parts.items()
    }
    named = {name: _named(dataset) for name, dataset in opened.items()}
    return _made(made, question, inputs, named if isinstance(data, Mapping) else named["train"])


def _labels(rows: Selection, label: str | None) -> pa.Table:
    return rows[:0] if label is None else rows.to_table([label])


def _to_read(
    dataset: ShardedDataset, columns: Sequence[str], label: str | None, split: Split | None
) -> list[str]:
    """Columns of the fields, the label and the rules; those that are there in their order."""
    read = {*columns, *(() if label is None else (label,))}
    if split is not None:
        read |= set(dataset.schema.names if split.columns is None else split.columns)
    known = [name for name in dataset.schema.names if name in read]
    return [*known, *sorted(read.difference(known))]


def _of_one(
    dataset: ShardedDataset,
    label: str | None,
    task: LoopTask | None,
    features: Sequence[str] | None,
    split: Split | None,
    inputs: Inputs,
) -> LoopData:
    columns = _columns(dataset, label, features)
    table = dataset.to_table(_to_read(dataset, columns, label, split))
    rows = {"train": np.arange(table.num_rows)} if split is None else split.rows(table)
    _check_sizes({name: len(chosen) for name, chosen in rows.items()})
    train = table if split is None else table.take(pa.array(rows["train"]))
    question = question_of(train, label, task, columns)
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
    question = question_of(train, label, task, columns)
    inputs.fit(train.select(columns))
    parts = {}
    for name, dataset in datasets.items():
        table = train if name == "train" else dataset.to_table(read)
        fields = inputs.rows(table.select(columns))
        parts[name] = MemoryPart(fields.having(**question.targets(table, name)))
    source = {name: _named(dataset) for name, dataset in datasets.items()}
    return _made(parts, question, inputs, source)


def _made(
    parts: Mapping[str, Part], question: Question, inputs: Inputs, source: Mapping[str, Any]
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
    return {"uri": shown(dataset.uri), "fingerprint": dataset.fingerprint}


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
