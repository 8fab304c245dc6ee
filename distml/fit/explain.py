"""Which columns a model goes by, and how: what `evaluation.json` says of its features.

Both are measured on a sample of one test set, since the model may have learnt its training rows by
heart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from distml.fit.dependence import DEPENDENCE_ROWS, partial_dependence
from distml.fit.evaluation import Question
from distml.fit.importance import effort, permutation_importance
from distml.fit.recipe import Recipe

__all__ = ["explain"]

_MOST_DEPENDENCES = 6


def explain(
    question: Question, recipe: Recipe, rows: pa.Table, y: np.ndarray, *, set_name: str
) -> dict[str, Any]:
    """Measure the importance of all columns and the dependence on the most important.

    Args:
        question: What is predicted; importance goes by its first scorer that applies.
        recipe: Fitted.
        rows: The rows of a test set.
        y: Array of shape (n_rows,).
        set_name: What the set is called.

    Returns:
        `importance` (`None` if the model cannot be scored so) and `dependence`.
    """
    columns = _columns_read(recipe, rows.column_names)
    planned = effort(rows.num_rows, len(columns))
    sample = _sample(rows.num_rows, planned.num_rows, question.seed)
    importance = _importance(question, recipe, rows.take(pa.array(sample)), y[sample], columns)
    first = [feature["feature"] for feature in importance["features"]] if importance else columns
    averaged = rows.take(pa.array(_sample(rows.num_rows, DEPENDENCE_ROWS, question.seed)))
    return {
        "importance": importance and {"set": set_name, **importance},
        "dependence": [
            entry
            for name in first[:_MOST_DEPENDENCES]
            for entry in partial_dependence(recipe, averaged, name, question.classes)
        ],
    }


def _importance(
    question: Question, recipe: Recipe, rows: pa.Table, y: np.ndarray, columns: Sequence[str]
) -> dict[str, Any] | None:
    """Importance by the first scorer that the model can be scored by."""
    repeats = effort(rows.num_rows, len(columns)).repeats
    for metric in question.metrics:
        features = permutation_importance(
            recipe, rows, y, columns, metric=metric, repeats=repeats, seed=question.seed % 2**32
        )
        if features:
            return {"metric": metric, "repeats": repeats, "features": features}
    return None


def _columns_read(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Columns that reach the estimator: an encoder may drop some."""
    read = set(getattr(recipe.encoder, "feature_names_in_", names))
    return [name for name in names if name in read]


def _sample(num_rows: int, most: int, seed: int) -> np.ndarray:
    if num_rows <= most:
        return np.arange(num_rows)
    return np.sort(np.random.default_rng([seed, 3]).choice(num_rows, most, replace=False))
