"""What a model's score owes to each column: permutation importance of raw columns.

Columns are permuted as they came, before the encoder, so that a category counts once however many
columns of the matrix it fills (Breiman 2001; `sklearn.inspection.permutation_importance`, whose
permutations these are). One decision: the number of predicted rows is bounded, whatever the number
of columns; of many columns each is permuted on fewer rows and less often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from distml.fit.evaluate import decisive_methods, score
from distml.fit.predictions import BLOCK_ROWS, blocks
from distml.fit.recipe import Recipe

__all__ = ["Effort", "effort", "permutation_importance"]

_MOST_PREDICTED = 120_000
_MOST_ROWS = 5_000
_LEAST_ROWS = 200
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly to permute."""

    num_rows: int
    """Rows to permute."""
    repeats: int
    """How often each column is permuted."""


def effort(num_rows: int, num_columns: int) -> Effort:
    """What is affordable for a set of `num_rows` rows and so many columns."""
    affordable = _MOST_PREDICTED // max(num_columns, 1)
    repeats = int(np.clip(affordable // _LEAST_ROWS, 1, _REPEATS))
    rows = int(np.clip(affordable // repeats, _LEAST_ROWS, _MOST_ROWS))
    return Effort(min(rows, num_rows), repeats)


def permutation_importance(
    recipe: Recipe,
    rows: pa.Table,
    y: np.ndarray,
    columns: Sequence[str],
    *,
    metric: str,
    repeats: int,
    seed: int,
) -> list[dict[str, Any]]:
    """By how much a score falls when a column is shuffled.

    Args:
        recipe: Fitted.
        rows: Rows it was not fitted on.
        y: Array of shape (n_rows,).
        columns: Those to permute.
        metric: scikit-learn's scorer name.
        repeats: How often each column is permuted.
        seed: What permutations come from; the same for each column, as in scikit-learn.

    Returns:
        `feature`, `mean` and `std` of each column, the most important first; nothing if the model
        cannot be scored so.
    """
    said = recipe.predict(rows)
    reference = score(metric, said, y)
    if reference is None:
        return []
    methods = decisive_methods(metric, said, y)
    orders = _permutations(len(y), repeats, seed)
    at_once = max(1, BLOCK_ROWS // (len(y) * repeats))
    found = []
    for start in range(0, len(columns), at_once):
        names = columns[start : start + at_once]
        copies = [_permuted(rows, name, order) for name in names for order in orders]
        predicted = recipe.predict(pa.concat_tables(copies), methods)
        scores = [
            score(metric, predicted.take(part), y) for part in blocks(len(copies) * len(y), len(y))
        ]
        fallen = reference - np.array(scores, dtype=np.float64).reshape(len(names), repeats)
        found += [
            {"feature": name, "mean": float(each.mean()), "std": float(each.std())}
            for name, each in zip(names, fallen, strict=True)
        ]
    return sorted(found, key=lambda entry: -float(np.nan_to_num(entry["mean"])))


def _permutations(num_rows: int, repeats: int, seed: int) -> list[np.ndarray]:
    """Row orders, arrays of shape (num_rows,)."""
    state = np.random.RandomState(seed)
    state = np.random.RandomState(state.randint(np.iinfo(np.int32).max + 1))
    shuffled, order, orders = np.arange(num_rows), np.arange(num_rows), []
    for _ in range(repeats):
        # scikit-learn shuffles its row numbers on, and by them a column that is shuffled already.
        state.shuffle(shuffled)
        order = order[shuffled]
        orders.append(order)
    return orders


def _permuted(rows: pa.Table, name: str, order: np.ndarray) -> pa.Table:
    position = rows.schema.get_field_index(name)
    return rows.set_column(position, rows.schema.field(position), rows[name].take(pa.array(order)))
