"""Which rows train and which test: several named test sets, decided by rules.

One decision: a rule looks at what a row is, never at where it stands, so neither shards, chunks,
workers nor the order of rows move a row to another side, and rows that are equal (in the rule's
columns) are never on both. `ByHash`, `ByGroup` and `ByTime(start=...)` look at each row alone: more
shards move no row. `Stratified` and `ByTime(fraction=...)` look at all rows to hit their fraction.
The sets are ordered: a rule takes from the rows that the rules before it left, and the rest is
`train`.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.data.rowhash import Hashes, hash_column, hash_rows, uniform
from distml.data.tables import as_table, first_line, unknown_column
from distml.errors import DataError, UserError

__all__ = ["ByGroup", "ByHash", "ByTime", "Split", "SplitRule", "Stratified"]

Mask = npt.NDArray[np.bool_]
Columns = str | Sequence[str] | None

TRAIN = "train"


class SplitRule(Protocol):
    """A pure rule that takes rows for a test set."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns it looks at; None for all."""

    def take(self, table: pa.Table, left: Mask, seed: str) -> Mask:
        """Which of the rows that are `left` it takes; shapes (n_rows,), bool."""

    def describe(self) -> dict[str, Any]:
        """The rule as JSON."""


@dataclass(frozen=True, kw_only=True)
class _Described:
    @property
    def rowwise(self) -> bool:
        """Whether it looks at each row alone, so that it may be given some rows at a time."""
        return True

    def describe(self) -> dict[str, Any]:
        """The rule as JSON: its name and its arguments."""
        arguments = {name: _jsonable(value) for name, value in asdict(self).items()}
        return {"rule": type(self).__name__, **arguments}


@dataclass(frozen=True)
class ByHash(_Described):
    """Take about `fraction` of the rows, chosen by a hash of their identity.

    Raises:
        UserError: the fraction is not between 0 and 1.
    """

    fraction: float
    """Share of the rows that are left."""
    key: Columns = None
    """The column or columns that make a row's identity; all by default."""

    def __post_init__(self) -> None:
        _check_fraction(self, self.fraction)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The key."""
        return _names(self.key)

    def take(self, table: pa.Table, left: Mask, seed: str) -> Mask:
        """Rows whose hash is in the first `fraction` of all hashes."""
        return left & (uniform(hash_rows(table, self.columns, seed=seed)) < self.fraction)


@dataclass(frozen=True)
class ByGroup(_Described):
    """Take about `fraction` of the groups, each with all of its rows. Null is a group.

    Raises:
        UserError: the fraction is not between 0 and 1.
    """

    column: str
    """The column that names the group, such as a patient or a shop."""
    fraction: float
    """Share of the groups."""

    def __post_init__(self) -> None:
        _check_fraction(self, self.fraction)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The group's column."""
        return (self.column,)

    def take(self, table: pa.Table, left: Mask, seed: str) -> Mask:
        """Rows whose group's hash is in the first `fraction` of all hashes."""
        return ByHash(self.fraction, self.column).take(table, left, seed)


@dataclass(frozen=True)
class ByTime(_Described):
    """Take the latest rows: from `start` on, or about the last `fraction`.

    Rows without a time are not taken.

    Raises:
        UserError: not exactly one of `start` and `fraction` is given, or the fraction is not
            between 0 and 1.
    """

    column: str
    """A date, timestamp, or anything else that is ordered."""
    start: datetime.date | datetime.datetime | str | float | None = None
    """The first time taken; text in ISO form for dates, and in UTC for timestamps with a zone."""
    fraction: float | None = None
    """Share of the rows that are left; equal times stay together."""

    def __post_init__(self) -> None:
        if (self.start is None) == (self.fraction is None):
            raise UserError(
                f"ByTime({self.column!r}): give start or fraction, and only one of them"
            )
        if self.fraction is not None:
            _check_fraction(self, self.fraction)

    @property
    def rowwise(self) -> bool:
        """With a start; the last fraction depends on all times."""
        return self.fraction is None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The time's column."""
        return (self.column,)

    def take(self, table: pa.Table, left: Mask, seed: str) -> Mask:
        """Rows whose time is not before the start."""
        times = _plain_times(table[self.column])
        start = self._start(times, left)
        if start is None:
            return np.zeros_like(left)
        return left & pc.fill_null(pc.greater_equal(times, start), False).to_numpy()

    def _start(self, times: pa.ChunkedArray, left: Mask) -> pa.Scalar | None:
        if self.fraction is None:
            return self._cast_start(times.type)
        known = pc.drop_null(times.filter(pa.array(left)))
        if not len(known):
            return None
        first = min(len(known) - 1, round(len(known) * (1 - self.fraction)))
        return known.take(pc.sort_indices(known).slice(first, 1))[0]

    def _cast_start(self, kind: pa.DataType) -> pa.Scalar:
        start = self.start
        if isinstance(start, datetime.datetime) and start.tzinfo is not None:
            start = start.astimezone(datetime.UTC).replace(tzinfo=None)
        try:
            return pa.scalar(start).cast(kind)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise UserError(
                f"ByTime({self.column!r}): start={self.start!r} is no {kind} "
                f"({first_line(error)}); give one"
            ) from error


@dataclass(frozen=True)
class Stratified(_Described):
    """Take `fraction` of the rows of each class, exact to the nearest row.

    Rows of a class with equal keys stay together; only if there are such rows can the number differ
    from the exact one.

    Raises:
        UserError: the fraction is not between 0 and 1.
    """

    column: str
    """The class, usually the label. Null is a class."""
    fraction: float
    """Share of the rows of each class that are left."""
    key: Columns = None
    """The column or columns that make a row's identity; all by default."""

    def __post_init__(self) -> None:
        _check_fraction(self, self.fraction)

    @property
    def rowwise(self) -> bool:
        """How many rows are taken depends on how many there are."""
        return False

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The class and the key."""
        keys = _names(self.key)
        return None if keys is None else tuple(dict.fromkeys((self.column, *keys)))

    def take(self, table: pa.Table, left: Mask, seed: str) -> Mask:
        """In each class, the rows with the smallest hashes."""
        return self.choose(self.reduce(table, seed), left)

    def reduce(self, table: pa.Table, seed: str) -> Hashes:
        """What it needs to know of each row: its class and its key as hashes, shape (n_rows, 2)."""
        keys = hash_rows(table, _names(self.key), seed=seed)
        return np.stack([hash_column(table[self.column]), keys], axis=1)

    def choose(self, reduced: Hashes, left: Mask) -> Mask:
        """`take`, knowing of each row what `reduce` gives."""
        rows = np.flatnonzero(left)
        hashes = reduced[rows, 1]
        classes = np.unique(reduced[rows, 0], return_inverse=True)[1]
        order = np.lexsort((hashes, classes))
        taken = np.zeros_like(left)
        for members in np.split(order, np.cumsum(np.bincount(classes))[:-1]):
            count = _nearest_cut(hashes[members], self.fraction * len(members))
            taken[rows[members[:count]]] = True
        return taken


@dataclass(frozen=True)
class Split:
    """Named test sets, in order: the first rule that takes a row wins, the rest is `train`.

    Raises:
        UserError: no set, a set named `train`, or more than 127 sets.
    """

    sets: Mapping[str, SplitRule]
    """Name → rule, in the order in which the rules choose."""
    seed: int = 0
    """Another seed, other rows. Each set's rule hashes with a seed of its own."""
    names: tuple[str, ...] = field(init=False)
    """`train` and the sets' names, in order."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.sets) <= 127:
            raise UserError(f"Split: {len(self.sets)} test sets; give between 1 and 127")
        for name in self.sets:
            if name == TRAIN or not name:
                raise UserError(f"Split: a test set cannot be named {name!r}; choose another name")
        object.__setattr__(self, "sets", dict(self.sets))
        object.__setattr__(self, "names", (TRAIN, *self.sets))

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that the rules look at; None if one looks at all."""
        needed = [rule.columns for rule in self.sets.values()]
        if any(names is None for names in needed):
            return None
        return tuple(dict.fromkeys(name for names in needed for name in names or ()))

    def assign(self, table: Any) -> npt.NDArray[np.int8]:
        """Assign each row to a set.

        Args:
            table: what `as_table` takes, with at least the rules' columns.

        Returns:
            Array of shape (n_rows,), int8: 0 for `train`, i for the i-th of `names`.

        Raises:
            DataError: a rule's column does not exist.
        """
        table = as_table(table)
        for name in self.columns or ():
            if name not in table.column_names:
                raise DataError(unknown_column(name, table.column_names, where="Split"))
        sides = np.zeros(table.num_rows, dtype=np.int8)
        for number, (name, rule) in enumerate(self.sets.items(), start=1):
            sides[rule.take(table, sides == 0, f"{self.seed}/{name}")] = number
        return sides

    def rows(self, table: Any) -> dict[str, npt.NDArray[np.int64]]:
        """The sorted row numbers of each set, int64, by name; see `assign`."""
        sides = self.assign(table)
        return {name: np.flatnonzero(sides == i) for i, name in enumerate(self.names)}

    def describe(self) -> dict[str, Any]:
        """The split as JSON."""
        sets = [{"name": name, **rule.describe()} for name, rule in self.sets.items()]
        return {"seed": self.seed, "sets": sets}


def _check_fraction(rule: object, fraction: float) -> None:
    if not 0 < fraction < 1:
        raise UserError(f"{type(rule).__name__}: fraction={fraction} must be between 0 and 1")


def _names(key: Columns) -> tuple[str, ...] | None:
    return (key,) if isinstance(key, str) else None if key is None else tuple(key)


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime.date):
        return value.isoformat()
    return list(value) if isinstance(value, tuple | list) else value


def _plain_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times without dictionary or zone (in UTC), NaN as null, so that they can be compared."""
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pt.is_timestamp(column.type) and column.type.tz is not None:
        return column.cast(pa.timestamp(column.type.unit))
    if pt.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), None, column)
    return column


def _nearest_cut(hashes: npt.NDArray[np.uint64], wanted: float) -> int:
    """How many of the sorted hashes to take: nearest to `wanted`, without parting equal ones."""
    count = int(wanted + 0.5)
    if count in (0, len(hashes)) or hashes[count - 1] != hashes[count]:
        return count
    low = int(np.searchsorted(hashes, hashes[count], side="left"))
    high = int(np.searchsorted(hashes, hashes[count], side="right"))
    return low if wanted - low <= high - wanted else high
