"""The label of a user's loop: classes or numbers, told by the rows of `train`.

One decision: every part's label is read by what `train` has, so a class is the same number in all
of them. Refused, naming column and part: a label that is missing, or of a class that `train` lacks.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from distml.errors import DataError, UserError

__all__ = ["LoopTask", "Question", "question_of"]

Array = npt.NDArray[Any]
LoopTask = Literal["classification", "regression"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
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


def question_of(
    train: pa.Table, label: str | None, task: LoopTask | None, columns: tuple[str, ...]
) -> Question:
    """What the label is, told by the rows of `train`."""
    if label is None:
        return Question(label=None, task=None, columns=columns)
    task = task or _task_of(train.schema.field(label))
    classes = None
    if task == "classification":
        classes = np.unique(_values(train, label, "train", task))
        if len(classes) < 2:
            raise DataError(
                f"label {label!r} has only the value {classes.tolist()[0]!r} in 'train'; there is "
                "nothing to learn"
            )
    return Question(label=label, task=task, classes=classes, columns=columns)


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
