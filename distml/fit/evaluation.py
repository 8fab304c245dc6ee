"""What `evaluation.json` says of each test set: scores with intervals, and how the model errs.

The first model is the one that was asked for; everything but scores is about it alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from distml.fit.bootstrap import LEVEL, Bootstrap
from distml.fit.classification import describe_classes
from distml.fit.predictions import Predictions
from distml.fit.regression import describe_errors
from distml.fit.slices import evaluate_slices

__all__ = ["FORMAT", "Question", "evaluate_set", "plain_scores"]

FORMAT = 1
"""Number of the file's format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is predicted, and how it is scored."""

    label: str
    """Name of the label."""
    classes: Sequence[Any] | None
    """Names of the classes in the order of their numbers; `None` for a regression."""
    metrics: Sequence[str]
    """scikit-learn's scorer names."""
    cost: tuple[float, float] = (1.0, 1.0)
    """Of a false positive and of a false negative."""
    units: str | None = None
    """Unit of the label."""
    seed: int = 0
    """What resamples are drawn from."""

    def head(self, model: str) -> dict[str, Any]:
        """The beginning of the file."""
        return {
            "format": FORMAT,
            "task": "regression" if self.classes is None else "classification",
            "label": self.label,
            "classes": None if self.classes is None else list(self.classes),
            "model": model,
            "level": LEVEL,
            "units": self.units,
        }


def evaluate_set(
    question: Question,
    predicted: Mapping[str, Predictions],
    y: np.ndarray,
    slices: Mapping[str, pa.ChunkedArray] | None = None,
) -> dict[str, Any]:
    """Evaluate all models on one set.

    Args:
        question: What is predicted.
        predicted: Model → its predictions of n_rows rows; the first is the final model.
        y: Array of shape (n_rows,): positions in the classes, or numbers.
        slices: Name → column of n_rows values to score slices by.

    Returns:
        The set's entry of `evaluation.json`.
    """
    bootstrap = Bootstrap(predicted, y, question.metrics, question.seed)
    first, *others = predicted
    entry: dict[str, Any] = {
        "rows": len(y),
        "scores": {
            model: {name: bootstrap.interval(model, name) for name in question.metrics}
            for model in predicted
        },
        "differences": {
            model: {name: bootstrap.difference(first, model, name) for name in question.metrics}
            for model in others
        },
        "draws": {name: bootstrap.draws(first, name) for name in question.metrics},
    }
    if question.classes is None:
        entry |= describe_errors(predicted[first], y, question.seed)
    else:
        entry |= describe_classes(predicted[first], y, question.classes, question.cost)
    sliced = evaluate_slices(question.metrics, predicted[first], y, slices or {}, question.seed)
    return {**entry, "slices": sliced}


def plain_scores(entry: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Model → scorer → score of a set's entry, without intervals."""
    return {
        model: {name: interval["value"] for name, interval in intervals.items()}
        for model, intervals in entry["scores"].items()
    }
