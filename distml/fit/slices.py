"""Scores on parts of a test set: the rows that have one value of a column.

A column with few values is taken by value, the most frequent first and the rest as "other"; numbers
and dates with many are cut into quarters with about equally many rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.fit.bootstrap import Bootstrap
from distml.fit.predictions import Predictions
from distml.fit.tables import plain_values

__all__ = ["evaluate_slices"]

_MOST_VALUES = 12
_RANGES = 4
_MOST_ROWS = 4_000
"""Of a slice: there are many of them."""


def evaluate_slices(
    metrics: Sequence[str],
    predicted: Predictions,
    y: np.ndarray,
    columns: Mapping[str, pa.ChunkedArray],
    seed: int,
) -> dict[str, list[dict[str, Any]]]:
    """Score a model on slices of a set.

    Args:
        metrics: scikit-learn's scorer names.
        predicted: The model's predictions of n_rows rows.
        y: Array of shape (n_rows,).
        columns: Name → column of n_rows values.
        seed: What resamples are drawn from.

    Returns:
        Column → `value`, `rows` and `scores` with intervals of each slice.
    """

    def scored(rows: np.ndarray) -> dict[str, Any]:
        said = {"": predicted.take(rows)}
        bootstrap = Bootstrap(said, y[rows], metrics, seed, most_rows=_MOST_ROWS)
        return {name: bootstrap.interval("", name) for name in metrics}

    return {
        name: [
            {"value": value, "rows": len(rows), "scores": scored(rows)}
            for value, rows in _slices(column)
        ]
        for name, column in columns.items()
    }


def _slices(column: pa.ChunkedArray) -> Iterator[tuple[Any, np.ndarray]]:
    """Values or ranges with their rows."""
    column = plain_values(column)
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    codes, values = np.asarray(encoded.indices), encoded.dictionary.to_pylist()
    if len(values) > _MOST_VALUES and pt.is_primitive(column.type):
        yield from _ranges(column)
        return
    order = np.argsort(-np.bincount(codes, minlength=len(values)), kind="stable")
    for number in order[:_MOST_VALUES]:
        yield values[number], np.flatnonzero(codes == number)
    rest = np.flatnonzero(np.isin(codes, order[_MOST_VALUES:]))
    if len(rest):
        yield "other", rest


def _ranges(column: pa.ChunkedArray) -> Iterator[tuple[Any, np.ndarray]]:
    """Quarters of a column that has an order, and its nulls; equal values stay together."""
    known = np.flatnonzero(np.asarray(pc.is_valid(column)))
    ranks = np.asarray(pc.rank(column.take(pa.array(known)), tiebreaker="min")) - 1
    quarters = ranks * _RANGES // max(len(known), 1)
    for quarter in np.unique(quarters):
        rows = known[quarters == quarter]
        bounds = pc.min_max(column.take(pa.array(rows))).as_py()
        yield f"{_short(bounds['min'])} to {_short(bounds['max'])}", rows
    missing = np.flatnonzero(np.asarray(pc.is_null(column)))
    if len(missing):
        yield None, missing


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
