"""A label looked at before anything is learnt: which task it sets, and which rows can teach it.

One decision: what the fit would refuse is refused or left out here, by the same limits for
everybody: rows without a label and classes of fewer than `LEAST_ROWS` rows are left out. Refused:
labels that are constant, of a type that nothing can predict, text where a number is wanted, and
classifications of more than `MOST_CLASSES` classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.data.values import decoded, family_of
from distml.errors import DataError

__all__ = ["LEAST_ROWS", "MOST_CLASSES", "Label", "Task", "read_label", "usable"]

Task = Literal["classification", "regression"]

MOST_CLASSES = 256
"""More values than this are no classes."""

LEAST_ROWS = 10
"""A class needs so many rows to be in the test set and in every fold of the rest."""

_MOST_CLASSES_OF_NUMBERS = 20
_ROWS_PER_NUMBER = 10
_PREDICTABLE = ("number", "boolean", "string")


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What a column is as a label."""

    name: str
    """The column."""
    task: Task
    """Classes or numbers."""
    num_rows: int
    """Rows in all."""
    num_values: int
    """Different values, those that are left out included."""
    num_unusable: int
    """Rows without a value, or with an infinite one."""
    classes: Mapping[Any, int]
    """Class → rows, the most frequent first, without the rare ones; empty for a regression."""
    rare: Mapping[Any, int]
    """Class → rows, of those with fewer than `LEAST_ROWS`."""
    is_floating: bool = False
    """Whether its values are floats, so that some may be NaN or infinite."""

    @property
    def least_share(self) -> float:
        """Share of the rarest class among the rows that are kept; 1.0 for a regression."""
        kept = sum(self.classes.values())
        return min(self.classes.values()) / kept if kept else 1.0

    @property
    def is_imbalanced(self) -> bool:
        """Whether the rarest class has less than a fifth of its even share."""
        return bool(self.classes) and self.least_share < 0.2 / len(self.classes)

    @property
    def needs_cleaning(self) -> bool:
        """Whether there are rows to leave out before a fit."""
        return self.num_unusable > 0 or bool(self.rare)


def usable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which rows have a label: neither null nor, of floats, NaN or infinite.

    Args:
        column: The label of each row.

    Returns:
        Booleans, one a row.
    """
    valid = pc.is_valid(column)
    if not pt.is_floating(column.type):
        return valid
    return pc.and_(valid, pc.fill_null(pc.is_finite(column), False))


def read_label(column: pa.ChunkedArray, name: str, task: Task | None = None) -> Label:
    """Look at the label of every row.

    Args:
        column: The labels.
        name: Its name, for messages.
        task: What is wanted; `None` to tell by the values: text, booleans and a few whole numbers
            are classes.

    Raises:
        DataError: there is nothing to learn, or not so.
    """
    column = decoded(column)
    family = _family(name, column.type)
    known = column.filter(usable(column))
    counts = {pair["values"].as_py(): pair["counts"].as_py() for pair in pc.value_counts(known)}
    if len(counts) < 2:
        only = f"only the value {next(iter(counts))!r}" if counts else "no value"
        raise DataError(f"label {name!r} has {only}; there is nothing to learn, choose another")
    task = task or _told_by(family, counts)
    if task == "regression" and family == "string":
        raise DataError(
            f"label {name!r} is text; a regression needs numbers: make it a classification"
        )
    classes, rare = _classes(name, family, counts) if task == "classification" else ({}, {})
    return Label(
        name=name,
        task=task,
        num_rows=len(column),
        num_values=len(counts),
        num_unusable=len(column) - len(known),
        classes=classes,
        rare=rare,
        is_floating=pt.is_floating(column.type),
    )


def _family(name: str, kind: pa.DataType) -> str:
    try:
        family = family_of(name, kind)
    except DataError:
        family = "nested"
    if family == "null":
        raise DataError(f"label {name!r} has no value; there is nothing to learn, choose another")
    if family not in _PREDICTABLE or pt.is_time(kind) or pt.is_duration(kind):
        raise DataError(f"label {name!r} is {kind}; choose a column of numbers, text or booleans")
    return family


def _told_by(family: str, counts: Mapping[Any, int]) -> Task:
    """Numbers are classes if they are whole, few, and each comes often enough."""
    if family != "number":
        return "classification"
    few = len(counts) <= _MOST_CLASSES_OF_NUMBERS
    often = sum(counts.values()) >= _ROWS_PER_NUMBER * len(counts)
    return "classification" if few and often and _are_whole(counts) else "regression"


def _are_whole(counts: Mapping[Any, int]) -> bool:
    return all(value == int(value) for value in counts)


def _classes(
    name: str, family: str, counts: Mapping[Any, int]
) -> tuple[dict[Any, int], dict[Any, int]]:
    """The classes that can be learnt, and those with too few rows."""
    if len(counts) > MOST_CLASSES:
        instead = "make it a regression, or choose" if family == "number" else "choose"
        raise DataError(
            f"label {name!r} has {len(counts):,} values in {sum(counts.values()):,} rows, and a "
            f"classification is written for at most {MOST_CLASSES}; {instead} another label"
        )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    classes = {value: count for value, count in ordered if count >= LEAST_ROWS}
    if len(classes) < 2:
        raise DataError(
            f"label {name!r} has fewer than 2 classes of {LEAST_ROWS} rows or more; "
            "give more rows, or choose another label"
        )
    return classes, {value: count for value, count in ordered if count < LEAST_ROWS}
