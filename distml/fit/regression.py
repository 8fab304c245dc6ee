"""How a regression errs on one set: its residuals, and its error from low to high predictions."""

from typing import Any

import numpy as np

from distml.fit.predictions import Predictions

__all__ = ["describe_errors"]

_MOST_POINTS = 2_000
_BINS = 40
_DECILES = 10


def describe_errors(predicted: Predictions, y: np.ndarray, seed: int) -> dict[str, Any]:
    """All that is said of a regression's predictions beside its scores.

    Args:
        predicted: Predictions of n_rows rows.
        y: Array of shape (n_rows,).
        seed: Draws the points of the scatter plot.

    Returns:
        `residuals` (label less prediction: a histogram of all, and at most 2,000 points) and
        `deciles` by predicted value.
    """
    said = predicted.labels.astype(np.float64)
    return {"residuals": _residuals(said, y, seed), "deciles": _deciles(said, y)}


def _residuals(said: np.ndarray, y: np.ndarray, seed: int) -> dict[str, list[float]]:
    rows = np.arange(len(y))
    if len(y) > _MOST_POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(len(y), _MOST_POINTS, replace=False))
    counts, edges = np.histogram(y - said, bins=_BINS)
    return {
        "predicted": said[rows].tolist(),
        "residual": (y - said)[rows].tolist(),
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def _deciles(said: np.ndarray, y: np.ndarray) -> list[dict[str, float]]:
    parts = np.array_split(np.argsort(said, kind="stable"), min(_DECILES, len(y)))
    return [_decile(number, said[rows], y[rows]) for number, rows in enumerate(parts, start=1)]


def _decile(number: int, said: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return {
        "decile": number,
        "from": float(said[0]),
        "to": float(said[-1]),
        "rows": len(y),
        "label_mean": float(y.mean()),
        "prediction_mean": float(said.mean()),
        "mae": float(np.abs(y - said).mean()),
        "rmse": float(np.sqrt(np.mean((y - said) ** 2))),
    }
