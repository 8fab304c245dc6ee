"""Which columns a model goes by, and how: what `evaluation.json` says of its features.

Both are measured on a sample of one test set, since the model may have learnt its training rows by
heart. A single column is not ranked, and there is no curve along images, sequences or text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from distml.fit.dependence import DEPENDENCE_ROWS, has_grid, partial_dependence
from distml.fit.evaluation import Question
from distml.fit.importance import effort, permutation_importance
from distml.fit.recipe import Recipe
from distml.fit.tables import Table

__all__ = ["explain"]

_MOST_DEPENDENCES = 6


def explain(
    question: Question, recipe: Recipe, rows: Table, y: np.ndarray, *, set_name: str
) -> dict[str, Any]:
    """Measure the importance of all columns and the dependence on the most important.

    Args:
        question: What is predicted; importance goes by its first scorer that applies.
        recipe: Fitted.
        rows: The rows of a test set.
        y: Array of shape (n_rows,).
        set_name: What the set is called.

    Returns:
        `importance` (`None` if the model cannot be scored so, or has one column) and `dependence`.
    """
    columns = recipe.columns_read(rows.column_names)
    planned = effort(rows.num_rows, len(columns))
    sample = _sample(rows.num_rows, planned.num_rows, question.seed)
    importance = _importance(question, recipe, rows.take(pa.array(sample)), y[sample], columns)
    first = [feature["feature"] for feature in importance["features"]] if importance else columns
    averaged = rows.take(pa.array(_sample(rows.num_rows, DEPENDENCE_ROWS, question.seed)))
    drawn = [name for name in first if has_grid(averaged[name])][:_MOST_DEPENDENCES]
    return {
        "importance": importance and {"set": set_name, **importance},
        "dependence": [
            entry
            for name in drawn
            for entry in partial_dependence(recipe, averaged, name, question.classes)
        ],
    }


def _importance(
    question: Question, recipe: Recipe, rows: pa.Table, y: np.ndarray, columns: Sequence[str]
) -> dict[str, Any] | None:
    """Importance by the first scorer that the model can be scored by."""
    if len(columns) < 2:
        return None
    repeats = effort(rows.num_rows, len(columns)).repeats
    for metric in question.metrics:
        features = permutation_importance(
            recipe, rows, y, columns, metric=metric, repeats=repeats, seed=question.seed % 2**32
        )
        if features:
            return {"metric": metric, "repeats": repeats, "features": features}
    return None


def _sample(num_rows: int, most: int, seed: int) -> np.ndarray:
    if num_rows <= most:
        return np.arange(num_rows)
    return np.sort(np.random.default_rng([seed, 3]).choice(num_rows, most, replace=False))
