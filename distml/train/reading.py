"""Whatever a network is given as X and y, as rows of fields and an array of targets.

The one decision: arrays go through scikit-learn's own validation, so its conventions hold; tables
are read column by column as their types say. A target may be named instead of given.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.utils.validation import (
    _check_feature_names,
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from distml.data import Selection, ShardedDataset, as_table
from distml.errors import DataError, UserError
from distml.train.rows import Rows

__all__ = ["Given", "read_given", "read_rows"]

Array = npt.NDArray[Any]


_STORED = (Selection, ShardedDataset)
_NAMED = (pa.Table, pa.RecordBatch, *_STORED)
"""Tables that scikit-learn does not know: their columns go by their names, in any order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Rows and targets, as they were given."""

    rows: Rows | None
    """The fields; `None` where they are read while training."""
    target: Array | None
    """Array of shape (num_rows,) or (num_rows, num_targets)."""
    stream: Selection | None = None
    """What they are read from then, with the columns of the fields."""

    @property
    def num_rows(self) -> int:
        """How many rows."""
        found = self.stream if self.rows is None else self.rows
        return 0 if found is None else found.num_rows

    def targets(self, estimator: Any) -> Array:
        """The targets, where an estimator cannot do without.

        Raises:
            ValueError: there are none.
        """
        if self.target is None:
            name = type(estimator).__name__
            raise ValueError(
                f"This {name} estimator requires y to be passed, but the target y is None."
            )
        return self.target


def read_given(estimator: Any, X: Any, y: Any, *, reset: bool, numeric: bool = False) -> Given:
    """Rows to train on; what the estimator's inputs learn of them is kept as `inputs_`.

    Args:
        estimator: the network.
        X: array, DataFrame, Arrow table, dataset.
        y: targets, the name of a column of X, or `None` if there are none.
        reset: learn what the inputs are; else they have to be as before.
        numeric: targets are numbers.

    Raises:
        ValueError: as scikit-learn's validation.
        DataError: a column cannot be read.
        UserError: y names no column.
    """
    if isinstance(X, _STORED):
        stored = _selected(X)
        if stored.is_larger_than(estimator.memory_bytes):
            return _to_stream(estimator, stored, y, reset=reset, numeric=numeric)
    table = _table_of(X)
    if isinstance(y, str):
        table, y = _without(table, y)
        X = table
    if table is None:
        return _read_array(estimator, X, y, reset=reset, numeric=numeric)
    if reset:
        estimator.inputs_ = estimator._new_inputs().fit(table)
        _set_names(estimator, table.column_names)
    if not isinstance(X, _NAMED):
        _check_feature_names(estimator, X, reset=reset)
    target = None if y is None else _target(y, numeric)
    rows = estimator.inputs_.rows(table)
    if target is not None:
        check_consistent_length(target, np.empty(rows.num_rows))
    return Given(rows=rows, target=target)


def read_rows(estimator: Any, X: Any) -> Iterator[Rows]:
    """Rows to predict; those of a dataset shard by shard.

    Raises:
        ValueError: as scikit-learn's validation.
        DataError: a column is missing, or of another kind.
    """
    if isinstance(X, _STORED):
        names = [str(name) for name in estimator.inputs_.feature_names_in_]
        yield from map(estimator.inputs_.rows, X.iter_tables(names))
        return
    table = _table_of(X)
    if table is None:
        yield estimator.inputs_.rows(_array(estimator, X, reset=False))
        return
    if not isinstance(X, _NAMED):
        _check_feature_names(estimator, X, reset=False)
    yield estimator.inputs_.rows(table)


def _to_stream(estimator: Any, rows: Selection, y: Any, *, reset: bool, numeric: bool) -> Given:
    features, target = rows, None
    if isinstance(y, str):
        features = rows.select([name for name in rows.column_names if name != y])
        _, y = _without(rows.to_table([y]), y)
    if y is not None:
        target = _target(y, numeric)
        check_consistent_length(target, np.empty(rows.num_rows))
    if reset:
        estimator.inputs_ = estimator._new_inputs().fit(features)
        _set_names(estimator, features.column_names)
    return Given(rows=None, target=target, stream=features)


def _selected(X: Selection | ShardedDataset) -> Selection:
    return X if isinstance(X, Selection) else Selection(X)


def _set_names(estimator: Any, names: list[str]) -> None:
    """As scikit-learn does for DataFrames, the only tables it knows."""
    estimator.feature_names_in_ = np.array(names, dtype=object)
    estimator.n_features_in_ = len(names)


def _read_array(estimator: Any, X: Any, y: Any, *, reset: bool, numeric: bool) -> Given:
    if _is_deep(X):
        X = _array(estimator, X, reset=reset)
        target = None if y is None else _target(y, numeric)
        if target is not None:
            check_consistent_length(X, target)
    elif y is None:
        X, target = _array(estimator, X, reset=reset), None
    else:
        X, target = validate_data(
            estimator,
            X,
            y,
            reset=reset,
            dtype=np.float32,
            ensure_all_finite=_finite(estimator),
            multi_output=numeric,
            y_numeric=numeric,
        )
        if not numeric:
            target = column_or_1d(target, warn=True)
    if reset:
        estimator.inputs_ = estimator._new_inputs().fit(X)
    return Given(rows=estimator.inputs_.rows(X), target=target)


def _array(estimator: Any, X: Any, *, reset: bool) -> Array:
    if _is_deep(X):
        found = check_array(X, allow_nd=True, dtype=None)
        if reset:
            estimator.n_features_in_ = found.shape[1]
        return np.asarray(found)
    finite = _finite(estimator)
    return np.asarray(
        validate_data(estimator, X, reset=reset, dtype=np.float32, ensure_all_finite=finite)
    )


def _finite(estimator: Any) -> Any:
    return "allow-nan" if estimator.standardize else True


def _is_deep(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.ndim > 2


def _table_of(X: Any) -> pa.Table | None:
    """Tables as Arrow; `None` for what scikit-learn calls an array."""
    if isinstance(X, _STORED):
        return X.to_table()
    if isinstance(X, pa.Table | pa.RecordBatch) or hasattr(X, "iloc"):
        return as_table(X)
    return None


def _without(table: pa.Table | None, name: str) -> tuple[pa.Table, Array]:
    if table is None:
        raise UserError(f"y={name!r}: X is an array and has no columns; give the targets")
    if name not in table.column_names:
        raise UserError(f"y={name!r} is no column; there is {', '.join(table.column_names[:5])}")
    column = table[name]
    if column.null_count:
        raise DataError(f"label {name!r} is null in {column.null_count} rows; leave those rows out")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return table.drop_columns([name]), column.to_numpy()


def _target(y: Any, numeric: bool) -> Array:
    if not numeric:
        return column_or_1d(np.asarray(y), warn=True)
    return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
