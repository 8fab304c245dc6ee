"""What the data looks like to a module: how its layers are sized, known before any row is read.

One decision: a row has at most one field of each kind, whatever number of columns it came from, so
a module's `forward` names what it takes by kind. Refused: a sequence and tokens in one row, since
they would share their lengths. No slots here: skops saves what has a `__dict__`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from distml.errors import UserError

__all__ = ["KINDS", "Field", "Kind", "Scale", "Shape"]

Kind = Literal["numbers", "categories", "array", "sequence", "tokens"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds of fields, in the order in which modules take them."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """All columns of one kind, as a module gets them.

    - `numbers`: float32 (n, d); NaN where missing;
    - `categories`: int64 (n, k); 0 is unknown or missing;
    - `array`: float32 or uint8 (n, *dims), the same dims in all rows;
    - `sequence`: float32 (n, T, channels), rows padded with zeros to the longest of a batch;
    - `tokens`: int64 (n, T), rows padded with 0.
    """

    kind: Kind
    """Which of these."""
    size: tuple[int, ...] = ()
    """`(d,)`, `(k,)`, the dims, `(channels,)`, `()`."""
    num_values: tuple[int, ...] = ()
    """Values with the 0: of each column of categories, or `(vocabulary,)` of tokens."""
    columns: tuple[str, ...] = ()
    """The columns it is made of, for messages; empty if they have no names."""

    @property
    def width(self) -> int:
        """Numbers in a row, or in one step of it: what a first dense layer takes."""
        return math.prod(self.size)

    def __str__(self) -> str:
        named = f" ({', '.join(self.columns[:3])}{', ...' if self.columns[3:] else ''})"
        return self.kind + (named if self.columns else "")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where the numbers of a field lie and how far they spread, to be standardised by.

    Arrays of shape (d,) for `numbers`, (channels,) for a `sequence`, (1,) for an `array`.
    """

    mean: npt.NDArray[np.float64]
    """Means of what is there; 0 where nothing is."""
    std: npt.NDArray[np.float64]
    """Standard deviations, divided by n; 1 where all numbers are the same."""

    def pooled(self) -> "Scale":
        """One mean and deviation for all columns, as of columns with equally many numbers."""
        mean = self.mean.mean()
        square = (self.std**2 + (self.mean - mean) ** 2).mean()
        return Scale(
            mean=np.full_like(self.mean, mean), std=np.full_like(self.std, np.sqrt(square) or 1.0)
        )


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The fields of a row and how many numbers are to be said of it."""

    fields: tuple[Field, ...]
    """At most one of each kind, in the order of `KINDS`."""
    num_outputs: int
    """Columns of the module's output; 0 if it has to give back its input (no label)."""

    def __post_init__(self) -> None:
        kinds = [field.kind for field in self.fields]
        if {"sequence", "tokens"} <= set(kinds):
            series, tokens = self["sequence"], self["tokens"]
            raise UserError(
                f"the data has both a {series} and {tokens}; a network reads one of them: "
                "drop the columns of the other"
            )
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"a kind occurs twice: {kinds}")
        ordered = tuple(sorted(self.fields, key=lambda field: KINDS.index(field.kind)))
        object.__setattr__(self, "fields", ordered)

    def __getitem__(self, kind: Kind) -> Field:
        """The field of a kind.

        Raises:
            KeyError: there is none.
        """
        for field in self.fields:
            if field.kind == kind:
                return field
        raise KeyError(kind)

    def __contains__(self, kind: object) -> bool:
        return any(field.kind == kind for field in self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds there are."""
        return tuple(field.kind for field in self.fields)

    @property
    def is_ragged(self) -> bool:
        """Whether rows differ in length, so that a batch has `lengths`."""
        return "sequence" in self or "tokens" in self
