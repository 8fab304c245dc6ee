"""Inputs: how a table or an array becomes the fields that a network reads.

One decision: what is learnt are sums and counts that merge exactly (see `facts`), so a dataset that
streams by gives the very inputs of a table in memory. Nothing is scaled here: numbers keep their
values, and the network standardises its batches by `scales_`. Refused, naming the column: types
that no network takes, and at prediction what is missing or has become something else.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from distml.data.dataset import ShardedDataset
from distml.data.selection import Selection
from distml.data.tables import as_table
from distml.errors import DataError, UserError
from distml.train.facts import Facts, facts_of
from distml.train.learning import readers_of
from distml.train.matrix import as_array, fill_matrix, measure
from distml.train.readers import PlainArray
from distml.train.roles import roles_of
from distml.train.rows import Rows
from distml.train.shape import Field, Kind, Scale, Shape

__all__ = ["Inputs", "is_table"]

_OF_COLUMNS = ("text", "tokens", "categories", "arrays", "drop")

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Inputs(BaseEstimator):
    """Learns how columns become fields, and turns rows into them.

    An array of shape (n, d) is `numbers`, one of more dimensions an `array`. A column of a table is
    read by its type:

    - numbers, booleans, and dates (as times): `numbers`;
    - strings and dictionaries: `categories`, numbered by how often they occur; missing and unseen
      ones are 0;
    - strings of at least 4 words on average, at least half of them different: text, as `tokens`
      that are pieces of words; several columns are joined;
    - lists of a fixed size, nested or not: `array`;
    - lists of any length, of numbers or of lists of c numbers: `sequence`; several columns of the
      same lengths are channels of one.

    Args:
        text: columns of strings that are text; `None`: told by their words; `()`: none.
        tokens: columns of lists of whole numbers that number something, from 0.
        categories: columns of numbers (or of strings that look like text) that are categories.
        arrays: column of lists → the size they are read as, such as `(28, 28)`.
        drop: columns to leave out.
        max_values: the most values of a category; rarer ones count as unseen.
        vocabulary: the most tokens of text.

    Attributes:
        readers_: what reads each field.
        fields_: the fields, as in a `Shape`.
        scales_: kind → what the network standardises by.
        feature_names_in_: names of the columns, array of str; for tables only.
        n_features_in_: how many columns.
    """

    def __init__(
        self,
        *,
        text: Sequence[str] | None = None,
        tokens: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        arrays: Mapping[str, Sequence[int]] | None = None,
        drop: Sequence[str] | None = None,
        max_values: int = 10_000,
        vocabulary: int = 8_000,
    ) -> None:
        self.text = text
        self.tokens = tokens
        self.categories = categories
        self.arrays = arrays
        self.drop = drop
        self.max_values = max_values
        self.vocabulary = vocabulary

    def fit(self, X: Any, y: Any = None) -> "Inputs":
        """Learn from an array, a whole table, or rows of a `ShardedDataset`.

        Args:
            X: array of numbers of shape (n, d) or (n, ...), or what `as_table` takes.
            y: not used.

        Raises:
            DataError: there are no rows, or a column cannot be learnt from.
            UserError: a parameter names a column that is not there or asks for what cannot be.
        """
        if isinstance(X, ShardedDataset):
            X = Selection(X)
        if isinstance(X, Selection):
            # The first rows decide what is text, so a shard without any does not count.
            filled = (i for i, count in enumerate(X.counts) if count)
            return self.fit_shards(partial(X.read_shard, i) for i in filled)
        return self.fit_shards([X]) if is_table(X) else self._fit_array(as_array(X))

    def fit_shards(self, tables: Iterable[Any], map: Map = map) -> "Inputs":  # noqa: A002
        """Learn from the shards of a table in one pass; the result is that of `fit` on the whole.

        Args:
            tables: tables, or functions without arguments that give them, which are called where
                `map` runs them.
            map: applies a picklable function to each item, in parallel if it likes.

        Raises:
            DataError: see `fit`; also if shards differ in their columns.
            UserError: see `fit`.
        """
        items = iter(tables)
        first = next(items, None)
        if first is None:
            raise DataError("Inputs: there is no shard to learn from; check the data")
        head = as_table(first() if callable(first) else first)
        columns = roles_of(head, self)
        work = partial(facts_of, columns=columns)
        facts = reduce(Facts.merge, map(work, itertools.chain([head], items)))
        if not columns or not facts.num_rows:
            raise DataError("Inputs: there are no rows or no columns to learn from; check the data")
        self.readers_ = readers_of(columns, facts, self)
        self.feature_names_in_ = np.array([column.name for column in columns], dtype=object)
        self.n_features_in_ = len(columns)
        return self

    @property
    def fields_(self) -> tuple[Field, ...]:
        """The fields of a row."""
        check_is_fitted(self, "readers_")
        return tuple(reader.field for reader in self.readers_)

    @property
    def scales_(self) -> dict[Kind, Scale]:
        """Kind → what the network standardises by."""
        check_is_fitted(self, "readers_")
        scales = {reader.field.kind: reader.scale for reader in self.readers_}
        return {kind: scale for kind, scale in scales.items() if scale is not None}

    def shape(self, num_outputs: int) -> Shape:
        """What a module is sized from.

        Args:
            num_outputs: classes or targets; 0 if there is no label.

        Raises:
            NotFittedError: nothing is learnt yet.
            UserError: there are two fields of which a network reads one.
        """
        return Shape(fields=self.fields_, num_outputs=num_outputs)

    def rows(self, X: Any) -> Rows:
        """The fields of rows. An array of float32 whose rows lie in one piece is not copied.

        Args:
            X: of the form seen at fit; further columns of a table are ignored.

        Raises:
            DataError: a column is missing or has become something else, or holds what cannot be
                read; the message names it.
            NotFittedError: nothing is learnt yet.
        """
        check_is_fitted(self, "readers_")
        source = self._table(X) if hasattr(self, "feature_names_in_") else _array(X)
        return Rows({reader.field.kind: reader.read(source) for reader in self.readers_})

    def _fit_array(self, array: npt.NDArray[Any]) -> "Inputs":
        named = [name for name in _OF_COLUMNS if getattr(self, name)]
        if named:
            raise UserError(f"Inputs: {named[0]} names columns, but X is an array; give a table")
        if not array.size:
            raise DataError(f"X has shape {array.shape}: there is nothing to learn from")
        kind: Kind = "numbers" if array.ndim == 2 else "array"
        scale, origin = None, np.zeros(1)
        if kind == "numbers":
            scale, origin = measure(array)
        elif array.dtype != np.uint8:
            scale, _ = measure(array.reshape(-1, 1))
        self.readers_ = [PlainArray(kind=kind, size=array.shape[1:], origin=origin, scale=scale)]
        self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = array.shape[1]
        return self

    def _table(self, X: Any) -> pa.Table:
        """A table with the names that were learnt; an array has its columns in their order."""
        names = list(self.feature_names_in_)
        if is_table(X):
            return as_table(X)
        array = _array(X)
        if array.shape[1:] != (len(names),):
            raise DataError(
                f"X has rows of size {array.shape[1:]}, and the network was fitted on a table of "
                f"{len(names)} columns"
            )
        return as_table(array, columns=names)


def is_table(X: Any) -> bool:
    """Whether `X` is read by columns with names, and not as an array of numbers."""
    if isinstance(X, pa.Table | pa.RecordBatch | Mapping) or hasattr(X, "columns"):
        return True
    rows = isinstance(X, Sequence) and len(X) > 0 and isinstance(X[0], Mapping)
    return rows or hasattr(X, "__arrow_c_stream__")


def _array(X: Any) -> npt.NDArray[Any]:
    """What is no table as an array; a table as the matrix of its columns."""
    if not is_table(X):
        return as_array(X)
    table = as_table(X)
    return fill_matrix(table, table.column_names, np.zeros(table.num_columns))
