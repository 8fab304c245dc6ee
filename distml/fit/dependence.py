"""How predictions change with one column: partial dependence on raw columns.

For each value of a grid all rows are given that value, and their predictions averaged (Friedman
2001; `sklearn.inspection.partial_dependence` with `method="brute"`, whose grid of numbers this is).
What is averaged is the probability of a class, or the share of rows that are said to be of it where
the model gives no probabilities.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from scipy.stats.mstats import mquantiles

from distml.fit.predictions import Predictions, blocks
from distml.fit.recipe import Recipe
from distml.fit.tables import is_nested, plain_values

__all__ = ["DEPENDENCE_ROWS", "has_grid", "partial_dependence"]

DEPENDENCE_ROWS = 300
"""Rows that are averaged over, if there are more."""

_GRID = 20
_MOST_VALUES = 12
_MOST_CLASSES = 10
_PERCENTILES = (0.05, 0.95)


def partial_dependence(
    recipe: Recipe, rows: pa.Table, name: str, classes: Sequence[Any] | None
) -> list[dict[str, Any]]:
    """The mean prediction along a grid of one column.

    Args:
        recipe: Fitted.
        rows: What is averaged over.
        name: The column.
        classes: Names of the classes; `None` for a regression.

    Returns:
        `feature`, `kind`, `grid`, `average` and `class`: one for a regression and for two classes
        (of the second), one for each of at most 10 classes. Nothing if the column has no value.
    """
    grid, kind = _grid(rows[name])
    if not len(grid):
        return []
    position = rows.schema.get_field_index(name)
    copies = [rows.set_column(position, name, pa.repeat(value, rows.num_rows)) for value in grid]
    predicted = recipe.predict(pa.concat_tables(copies))
    averages = np.array(
        [
            _response(predicted.take(block), classes).mean(axis=0)
            for block in blocks(len(copies) * rows.num_rows, rows.num_rows)
        ]
    )
    known = {"feature": name, "kind": kind, "grid": plain_values(grid).to_pylist()}
    if classes is None:
        return [{**known, "average": averages[:, 0].tolist(), "class": None}]
    shown = [1] if len(classes) == 2 else range(min(len(classes), _MOST_CLASSES))
    return [{**known, "average": averages[:, c].tolist(), "class": classes[c]} for c in shown]


def has_grid(column: pa.ChunkedArray) -> bool:
    """Whether predictions can be drawn along a column: not along lists, nor text."""
    if is_nested(column.type):
        return False
    if not (pt.is_string(column.type) or pt.is_large_string(column.type)):
        return True
    known = column.drop_null()
    # Of text, as of names, most rows have one of their own.
    return len(known.unique()) <= max(_MOST_VALUES, len(known) // 2)


def _response(predicted: Predictions, classes: Sequence[Any] | None) -> np.ndarray:
    """What is averaged: array of shape (n_rows, n_classes), or (n_rows, 1) for a regression."""
    if classes is None:
        return predicted.labels[:, None]
    if predicted.probabilities is not None:
        return predicted.probabilities
    return predicted.labels[:, None] == np.arange(len(classes))


def _grid(column: pa.ChunkedArray) -> tuple[pa.Array, str]:
    """Values to try, and whether they are numbers that can be drawn along an axis."""
    column = column.drop_null()
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.combine_chunks()
    if pt.is_integer(column.type) or pt.is_floating(column.type):
        return _numbers(values), "number"
    if pt.is_primitive(column.type) and not pt.is_boolean(column.type):
        ordered = values.unique().sort()
        at = np.linspace(0, len(ordered) - 1, min(_MOST_VALUES, len(ordered))).round()
        return ordered.take(pa.array(at.astype(np.int64))), "category"
    counts = values.value_counts()
    order = pc.sort_indices(counts.field("counts"), sort_keys=[("", "descending")])
    return counts.field("values").take(order[:_MOST_VALUES]).sort(), "category"


def _numbers(values: pa.Array) -> pa.Array:
    """All values if they are few, else equal steps between the 5th and the 95th percentile."""
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    unique = np.unique(numbers[np.isfinite(numbers)])
    if len(unique) < _GRID:
        return pa.array(unique)
    low, high = mquantiles(numbers[np.isfinite(numbers)], prob=_PERCENTILES)
    return pa.array(np.linspace(low, high, _GRID) if low < high else unique[[0, -1]])
