"""How the columns of one role become one field, once it is known how.

Each class is a fitted, plain value with three things: its `field`, the `scale` to standardise by
(none for what is counted), and `read`, which takes the field's columns out of a table. Nothing is
decided here; see `learning`. They have no slots, since skops saves what has a `__dict__`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.data.statistics import countable
from distml.errors import DataError
from distml.train.matrix import Floats, as_matrix, fill_matrix
from distml.train.nested import array_of, ragged_of
from distml.train.roles import Column, checked
from distml.train.rows import Ragged
from distml.train.shape import Field, Kind, Scale
from distml.train.tokenizer import UNKNOWN, joined, tokenize, vocabulary_of

__all__ = ["Arrays", "Categories", "Numbers", "PlainArray", "Reader", "Sequences", "Text", "Tokens"]


class Reader(Protocol):
    """From columns to a field."""

    @property
    def field(self) -> Field:
        """The field."""

    @property
    def scale(self) -> Scale | None:
        """What it is standardised by."""

    def read(self, table: pa.Table) -> npt.NDArray[Any] | Ragged:
        """The field of each row.

        Raises:
            DataError: a column is missing, has become something else, or cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class PlainArray:
    """An array instead of a table."""

    kind: Kind
    """`numbers` or `array`."""
    size: tuple[int, ...]
    """Of a row."""
    origin: Floats
    """By what columns are moved before they become float32."""
    scale: Scale | None
    """See `Reader`."""

    @property
    def field(self) -> Field:
        """See `Reader`."""
        return Field(kind=self.kind, size=self.size)

    def read(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The rows, checked; float32 and bytes are not copied.

        Raises:
            DataError: they have another size, or a number is infinite.
        """
        if array.shape[1:] != self.size:
            raise DataError(
                f"X has rows of size {array.shape[1:]}, and the network was fitted on {self.size}"
            )
        if self.kind == "array" and array.dtype == np.uint8:
            return array
        width = math.prod(self.size)
        matrix = as_matrix(array.reshape(len(array), width), self.origin)
        return matrix.reshape(array.shape)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Numbers, booleans and dates as one matrix."""

    columns: tuple[Column, ...]
    """In the order of the matrix."""
    origin: Floats
    """By what they are moved before they become float32."""
    scale: Scale
    """See `Reader`."""

    @property
    def field(self) -> Field:
        """See `Reader`."""
        return Field(kind="numbers", size=(len(self.columns),), columns=_names(self.columns))

    def read(self, table: pa.Table) -> npt.NDArray[np.float32]:
        """See `Reader`."""
        for column in self.columns:
            checked(table, column)
        return fill_matrix(table, _names(self.columns), self.origin)


@dataclass(frozen=True, kw_only=True)
class Categories:
    """Categories as numbers from 1, the most frequent first; 0 for missing and unseen values."""

    columns: tuple[Column, ...]
    """In the order of the field."""
    values: tuple[list[Any], ...]
    """Known values of each, strings or floats."""
    scale = None

    @property
    def field(self) -> Field:
        """See `Reader`."""
        return Field(
            kind="categories",
            size=(len(self.columns),),
            num_values=tuple(len(values) + 1 for values in self.values),
            columns=_names(self.columns),
        )

    def read(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """See `Reader`."""
        out = np.empty((table.num_rows, len(self.columns)), dtype=np.int64)
        for i, (column, values) in enumerate(zip(self.columns, self.values, strict=True)):
            out[:, i] = _codes(checked(table, column), values)
        return out


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """One column of arrays of one size."""

    column: Column
    """The column."""
    scale: Scale | None
    """See `Reader`; none for bytes."""

    @property
    def field(self) -> Field:
        """See `Reader`."""
        return Field(kind="array", size=self.column.size, columns=(self.column.name,))

    def read(self, table: pa.Table) -> npt.NDArray[Any]:
        """See `Reader`."""
        array = array_of(self.column.name, checked(table, self.column), self.column.size)
        _check_finite(self.column.name, array)
        return array


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Columns of sequences that are equally long in each row, as channels of one."""

    columns: tuple[Column, ...]
    """In the order of the channels."""
    scale: Scale
    """See `Reader`."""

    @property
    def field(self) -> Field:
        """See `Reader`."""
        channels = sum(column.size[0] for column in self.columns)
        return Field(kind="sequence", size=(channels,), columns=_names(self.columns))

    def read(self, table: pa.Table) -> Ragged:
        """See `Reader`."""
        parts = [ragged_of(c.name, checked(table, c), c.size[0]) for c in self.columns]
        for column, part in zip(self.columns, parts, strict=True):
            _check_finite(column.name, part.values)
            if not np.array_equal(part.offsets, parts[0].offsets):
                row = int((part.lengths != parts[0].lengths).argmax())
                raise DataError(
                    f"columns {self.columns[0].name!r} and {column.name!r} are sequences of other "
                    f"lengths (the first in row {row}); drop one"
                )
        if len(parts) == 1:
            return parts[0]
        return Ragged(np.concatenate([part.values for part in parts], axis=1), parts[0].offsets)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Lists of whole numbers that number something; 0 is padding and 1 what was not seen."""

    column: Column
    """The column."""
    largest: int
    """The largest number at fit."""
    scale = None

    @property
    def field(self) -> Field:
        """See `Reader`."""
        size = self.largest + UNKNOWN + 2
        return Field(kind="tokens", num_values=(size,), columns=(self.column.name,))

    def read(self, table: pa.Table) -> Ragged:
        """See `Reader`."""
        rows = ragged_of(self.column.name, checked(table, self.column))
        known = (rows.values >= 0) & (rows.values <= self.largest)
        return Ragged(np.where(known, rows.values + UNKNOWN + 1, UNKNOWN), rows.offsets)


@dataclass(frozen=True, kw_only=True)
class Text:
    """Columns of text, joined and cut into pieces of words."""

    columns: tuple[Column, ...]
    """In the order in which they are joined."""
    model: bytes
    """The tokenizer."""
    scale = None

    @property
    def field(self) -> Field:
        """See `Reader`."""
        size = vocabulary_of(self.model, name=self.columns[0].name)
        return Field(kind="tokens", num_values=(size,), columns=_names(self.columns))

    def read(self, table: pa.Table) -> Ragged:
        """See `Reader`."""
        text = joined([checked(table, column) for column in self.columns])
        return tokenize(self.model, text, name=self.columns[0].name)


def _codes(column: pa.ChunkedArray, values: list[Any]) -> npt.NDArray[np.int64]:
    """The place of each row's value in `values` from 1; 0 if it is missing or not there."""
    kind = pa.large_string() if not values or isinstance(values[0], str) else pa.float64()
    known = pa.array(values, type=kind)
    if pt.is_dictionary(column.type):
        # Strings are looked up once, not in each row.
        pieces = [_codes_of_dictionary(chunk, known) for chunk in column.chunks]
        return np.concatenate([*pieces, np.empty(0, np.int64)])
    return _places(countable(column).cast(kind), known)


def _codes_of_dictionary(chunk: pa.DictionaryArray, known: pa.Array) -> npt.NDArray[np.int64]:
    entries = countable(pa.chunked_array([chunk.dictionary])).cast(known.type)
    places = np.append(_places(entries, known), 0)
    indices = pc.fill_null(chunk.indices.cast(pa.int64()), len(places) - 1)
    return places[indices.to_numpy()]


def _places(column: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    found = pc.fill_null(pc.index_in(column, value_set=known, skip_nulls=True), -1)
    return found.to_numpy().astype(np.int64) + 1


def _check_finite(name: str, values: npt.NDArray[Any]) -> None:
    if values.dtype != np.uint8 and np.isinf(values).any():
        raise DataError(f"column {name!r} has infinite numbers; replace them")


def _names(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)
