"""Encoder: a table of mixed columns as one float32 matrix, as a scikit-learn transformer.

One decision: everything it learns is a sum or a count that merges exactly (see `statistics`), so
fitting shards in parallel gives the very encoder that one pass over the whole table gives. That is
why missing numbers are filled by the mean and not by the median. Refused: nested and binary
columns, infinite numbers at fit, and at prediction columns that are missing or have changed what
they are.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import BaseEstimator, TransformerMixin, check_is_fitted

from distml.data.choice import COUNTED, check_options, choose_kind, make_feature
from distml.data.dataset import ShardedDataset
from distml.data.features import Feature, Text
from distml.data.statistics import MOST_VALUES, Summary
from distml.data.tables import as_table, unknown_column
from distml.data.text import document_frequencies, inverse_frequencies
from distml.data.values import family_of
from distml.errors import DataError, UserError

__all__ = ["Encoder"]

_ROWS_AT_ONCE = 1 << 15
_SAME = {"boolean": "number"}

Map = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]


class Encoder(TransformerMixin, BaseEstimator):
    """Turn a table into a float32 matrix of shape (n_rows, n_features), C-contiguous.

    A column is encoded by its type:

    - numbers, times of day and durations (in seconds): filled, then scaled; - booleans: 0 and 1,
    filled, not scaled; - dates and timestamps: year, month, day, weekday and hour, filled, then
    scaled; - strings of at least 4 words on average, at least half of them different: text, as
    hashed TF-IDF; - other strings: categories. Up to `max_onehot` values one-hot (unseen and
    missing: all zero), up to `max_ordinal` their number in sorted order (unseen: -1; missing: -1,
    or NaN with `missing="keep"`; then scaled), above that hashed (unseen: hashed too; missing: all
    zero); - columns without any value at fit: a constant.

    Args:
        kinds: column → `number`, `date`, `category`, `onehot`, `ordinal`, `hashed`, `text` or
            `drop`, where it is not to be as above.
        missing: what stands for missing numbers and dates: `"mean"`, `"keep"` (NaN stays NaN), or a
            number (dates then take the mean).
        indicator: add a column `<name>_missing` for numbers that were missing somewhere at fit.
        scale: bring numbers, plain dates and ordinals to mean 0 and standard deviation 1.
        dates: `"plain"` numbers, or `"cyclic"` sines and cosines.
        max_onehot: the most values of a one-hot category.
        max_ordinal: the most values of an ordinal category.
        hash_features: buckets of a hashed category.
        text_features: buckets of a text.

    Attributes:
        feature_names_in_: names of the columns it reads, array of str.
        n_features_in_: how many they are.
        features_: what becomes of each, in order.
        families_: column → `number`, `boolean`, `date`, `string` or `null`.
    """

    def __init__(
        self,
        *,
        kinds: Mapping[str, str] | None = None,
        missing: str | float = "mean",
        indicator: bool = False,
        scale: bool = True,
        dates: str = "plain",
        max_onehot: int = 32,
        max_ordinal: int = 256,
        hash_features: int = 32,
        text_features: int = 512,
    ) -> None:
        self.kinds = kinds
        self.missing = missing
        self.indicator = indicator
        self.scale = scale
        self.dates = dates
        self.max_onehot = max_onehot
        self.max_ordinal = max_ordinal
        self.hash_features = hash_features
        self.text_features = text_features

    def fit(self, X: Any, y: Any = None) -> "Encoder":
        """Learn from a whole table.

        Args:
            X: what `as_table` takes.
            y: not used.

        Raises:
            DataError: no rows, or a column that cannot be encoded.
            UserError: a parameter makes no sense.
        """
        return self.fit_shards([as_table(X)])

    def fit_shards(self, tables: ShardedDataset | Iterable[Any], map: Map = map) -> "Encoder":  # noqa: A002
        """Learn from the shards of a table; the result is the same as that of `fit` on the whole.

        Args:
            tables: a `ShardedDataset`, or tables, or functions without arguments that give them.
                Functions are called where `map` runs them, and once more if there is text.
            map: applies a picklable function to each item of a list, in parallel if it likes, and
                gives the results in order.

        Raises:
            DataError: no rows, shards that differ in their columns, or a column that cannot be
                encoded.
            UserError: a parameter makes no sense.
        """
        check_options(self)
        items = _items(tables)
        summary = self._summarise(items, map)
        columns = summary.columns
        kinds = {name: choose_kind(name, column, self) for name, column in columns.items()}
        idf = self._inverse_frequencies(items, kinds, summary.num_rows, map)
        self.families_ = {name: column.family for name, column in columns.items()}
        self.features_: list[Feature] = [
            Text(name, idf[name]) if name in idf else make_feature(name, kind, columns[name], self)
            for name, kind in kinds.items()
        ]
        self.feature_names_in_ = np.array(list(kinds), dtype=object)
        self.n_features_in_ = len(kinds)
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Encode a table.

        Args:
            X: what `as_table` takes; columns not seen at fit are ignored.

        Returns:
            Array of shape (n_rows, n_features), float32, C-contiguous.

        Raises:
            DataError: a column is missing, or is not what it was at fit; the message names it.
        """
        check_is_fitted(self, "features_")
        table = as_table(X)
        columns = [self._column(table, feature.source) for feature in self.features_]
        ends = np.cumsum([0, *(len(feature.names()) for feature in self.features_)])
        out = np.zeros((table.num_rows, ends[-1]), dtype=np.float32)
        # Block by block, so that the rows being written stay in the cache from column to column.
        for start in range(0, table.num_rows, _ROWS_AT_ONCE):
            block = out[start : start + _ROWS_AT_ONCE]
            for i, feature in enumerate(self.features_):
                part = columns[i].slice(start, len(block))
                feature.fill(part, block[:, ends[i] : ends[i + 1]])
        return out

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names of the matrix's columns.

        Args:
            input_features: not used; the names come from the table.

        Returns:
            Array of shape (n_features,) of str.
        """
        check_is_fitted(self, "features_")
        names = [name for feature in self.features_ for name in feature.names()]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def _summarise(self, items: list[Any], map: Map) -> Summary:  # noqa: A002
        kinds = dict(self.kinds or {})
        work = partial(
            _summary_of_shard,
            count=tuple(name for name, kind in kinds.items() if kind in COUNTED),
            skip=tuple(name for name, kind in kinds.items() if kind == "drop"),
            limit=max(MOST_VALUES, self.max_onehot, self.max_ordinal),
        )
        summary = reduce(Summary.merge, map(work, items))
        if not summary.num_rows or not summary.columns:
            raise DataError(
                "Encoder: there are no rows or no columns to learn from; check the data"
            )
        for name, kind in kinds.items():
            if name not in summary.columns and kind != "drop":
                raise UserError(unknown_column(name, summary.columns, where="Encoder: kinds"))
        return summary

    def _inverse_frequencies(
        self,
        items: list[Any],
        kinds: Mapping[str, str],
        num_rows: int,
        map: Map,  # noqa: A002
    ) -> dict[str, npt.NDArray[np.float64]]:
        """The idf of the columns that are text, by a second pass over these columns only."""
        names = [name for name, kind in kinds.items() if kind == "text"]
        if not names:
            return {}
        work = partial(_frequencies_of_shard, names=names, buckets=self.text_features)
        total = reduce(np.add, map(work, items))
        return {name: inverse_frequencies(total[i], num_rows) for i, name in enumerate(names)}

    def _column(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        """A column to encode, checked to be what it was at fit."""
        if name not in table.column_names:
            raise DataError(unknown_column(name, table.column_names, where="Encoder"))
        column, fitted = table[name], self.families_[name]
        family = family_of(name, column.type)
        if "null" in (family, fitted):
            return pa.chunked_array([pa.nulls(len(column))])
        if _SAME.get(family, family) != _SAME.get(fitted, fitted):
            raise DataError(
                f"Encoder: column {name!r} was a {fitted} at fit and is a {family} "
                f"({column.type}) now; convert it back"
            )
        return column


def _items(tables: ShardedDataset | Iterable[Any]) -> list[Any]:
    if isinstance(tables, ShardedDataset):
        return [partial(tables.read_shard, index) for index in range(len(tables.shards))]
    items = list(tables)
    if not items:
        raise DataError("Encoder: there is no shard to learn from; check the data")
    return items


def _table_of(item: Any) -> pa.Table:
    return as_table(item() if callable(item) else item)


def _summary_of_shard(item: Any, **options: Any) -> Summary:
    return Summary.of(_table_of(item), **options)


def _frequencies_of_shard(item: Any, names: list[str], buckets: int) -> npt.NDArray[np.int64]:
    """Document frequencies, shape (len(names), buckets)."""
    table = _table_of(item)
    return np.stack([document_frequencies(table[name], buckets) for name in names])
