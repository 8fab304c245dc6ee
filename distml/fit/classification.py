"""How a classifier errs on one set: confusion, curves, calibration, thresholds.

Numbers are scikit-learn's wherever it has a function; a curve is thinned to points of its own, and
nothing is interpolated. A threshold says "yes" from its value upwards. The best one is the cheapest
on this very set, so its cost is what a choice with hindsight would have paid, not a promise.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics

from distml.fit.predictions import Predictions

__all__ = ["calibration", "describe_classes", "thresholds"]

_MOST_POINTS = 200
_MOST_CURVES = 20
_MOST_CONFUSED = 60
_BINS = 10
_STEPS = np.round(np.arange(0.05, 0.96, 0.05), 2)

Rows = list[dict[str, Any]]


def describe_classes(
    predicted: Predictions, y: np.ndarray, classes: Sequence[Any], cost: tuple[float, float]
) -> dict[str, Any]:
    """All that is said of a classifier's predictions beside its scores.

    Args:
        predicted: Predictions of n_rows rows.
        y: Array of shape (n_rows,), positions in `classes`.
        classes: Their names, in the order of the columns of probabilities.
        cost: Of a false positive and of a false negative.

    Returns:
        `confusion` (`None` beyond 60 classes), `per_class`, `averages`, `roc`, `pr`, `calibration`
        (curves of the 20 most frequent classes; of two, of the second), `brier`, `thresholds`.
    """
    shown = _shown(y, classes)
    ranked = [] if predicted.ranking is None else shown
    return {
        "confusion": _confusion(predicted.labels, y, classes),
        **_per_class(predicted.labels, y, classes),
        "roc": [_roc(y == c, _column(predicted, c), classes[c]) for c in ranked],
        "pr": [_precision_recall(y == c, _column(predicted, c), classes[c]) for c in ranked],
        **_of_probabilities(predicted.probabilities, y, classes, shown, cost),
    }


def _of_probabilities(
    said: np.ndarray | None,
    y: np.ndarray,
    classes: Sequence[Any],
    shown: Sequence[int],
    cost: tuple[float, float],
) -> dict[str, Any]:
    if said is None:
        return {"calibration": [], "brier": None, "thresholds": None}
    return {
        "calibration": [{"class": classes[c], **calibration(y == c, said[:, c])} for c in shown],
        "brier": _brier(said, y),
        "thresholds": thresholds(y == 1, said[:, 1], cost) if len(classes) == 2 else None,
    }


def calibration(positive: np.ndarray, said: np.ndarray) -> dict[str, list[float]]:
    """Predicted and observed shares in ten equal bins of probability, empty ones left out.

    As `sklearn.calibration.calibration_curve`, whose module would load the whole of SVMs.

    Args:
        positive: Bool array of shape (n_rows,).
        said: Array of shape (n_rows,), probabilities.
    """
    edges = np.linspace(0, 1, _BINS + 1)
    bins = np.searchsorted(edges[1:-1], said)
    count = np.bincount(bins, minlength=_BINS)
    there = count > 0
    means = [np.bincount(bins, values, _BINS)[there] / count[there] for values in (said, positive)]
    return {
        "predicted": means[0].tolist(),
        "observed": means[1].tolist(),
        "count": count[there].tolist(),
    }


def thresholds(positive: np.ndarray, said: np.ndarray, cost: tuple[float, float]) -> dict[str, Any]:
    """What each threshold on the probability would do, and the cheapest of all.

    Args:
        positive: Bool array of shape (n_rows,).
        said: Array of shape (n_rows,), probabilities.
        cost: Of a false positive and of a false negative.
    """
    order = np.argsort(-said, kind="stable")
    said, hits = said[order].astype(np.float64), np.append(0, np.cumsum(positive[order]))
    # Beside the round steps every predicted probability is tried, and to flag nothing at all.
    last = np.flatnonzero(np.append(np.diff(said) != 0, True)) + 1
    costs = cost[0] * (last - hits[last]) + cost[1] * (hits[-1] - hits[last])
    cheapest = int(np.argmin(costs))
    nothing = cost[1] * hits[-1] <= costs[cheapest]
    best = float(np.nextafter(said[0], 2)) if nothing else float(said[last[cheapest] - 1])
    rows = [
        _threshold(float(at), int(np.searchsorted(-said, -at, side="right")), hits, cost)
        for at in sorted({*_STEPS, best})
    ]
    return {
        "cost": {"false_positive": cost[0], "false_negative": cost[1]},
        "best": best,
        "rows": rows,
    }


def _threshold(
    at: float, flagged: int, hits: np.ndarray, cost: tuple[float, float]
) -> dict[str, Any]:
    true, positives = int(hits[flagged]), int(hits[-1])
    return {
        "threshold": at,
        # Of nothing flagged, no share is right or wrong; 0 would draw a fall that is none.
        "precision": true / flagged if flagged else None,
        "recall": true / positives if positives else 0.0,
        "f1": 2 * true / (flagged + positives) if flagged + positives else 0.0,
        "flagged": flagged,
        "cost": cost[0] * (flagged - true) + cost[1] * (positives - true),
    }


def _shown(y: np.ndarray, classes: Sequence[Any]) -> list[int]:
    """The classes that get a curve: of two the second, of many the most frequent."""
    if len(classes) == 2:
        return [1]
    counts = np.bincount(y, minlength=len(classes))
    return sorted(np.argsort(-counts, kind="stable")[:_MOST_CURVES].tolist())


def _column(predicted: Predictions, number: int) -> np.ndarray:
    ranking = predicted.ranking
    assert ranking is not None
    return ranking if ranking.ndim == 1 else ranking[:, number]


def _confusion(said: np.ndarray, y: np.ndarray, classes: Sequence[Any]) -> dict[str, Any] | None:
    size = len(classes)
    if size > _MOST_CONFUSED:
        return None
    cells = np.bincount(y * size + said.astype(np.int64), minlength=size**2)
    return {"labels": list(classes), "counts": cells.reshape(size, size).tolist()}


def _per_class(said: np.ndarray, y: np.ndarray, classes: Sequence[Any]) -> dict[str, Any]:
    """Precision, recall and F1 of each class, and of all; 0 where nothing could be right."""
    right, flagged, true = (
        np.bincount(rows.astype(np.int64), minlength=len(classes))
        for rows in (y[y == said], said, y)
    )
    precision, recall, f1 = _rates(right, flagged, true)
    rows = [
        {"class": name, "precision": p, "recall": r, "f1": f, "support": support}
        for name, p, r, f, support in zip(
            classes, precision.tolist(), recall.tolist(), f1.tolist(), true.tolist(), strict=True
        )
    ]
    # As in scikit-learn, a class counts if it is given a name, whether it occurs or not.
    macro = [float(rates.mean()) for rates in (precision, recall, f1)]
    micro = [float(rate) for rate in _rates(right.sum(), flagged.sum(), true.sum())]
    averages = {
        kind: dict(zip(("precision", "recall", "f1"), rates, strict=True))
        for kind, rates in (("micro", micro), ("macro", macro))
    }
    return {"per_class": rows, "averages": averages}


def _rates(right: Any, flagged: Any, true: Any) -> tuple[Any, Any, Any]:
    """Precision, recall and their harmonic mean."""
    return (
        right / np.maximum(flagged, 1),
        right / np.maximum(true, 1),
        2 * right / np.maximum(flagged + true, 1),
    )


def _roc(positive: np.ndarray, ranking: np.ndarray, name: Any) -> dict[str, Any]:
    if positive.all() or not positive.any():
        return {"class": name, "fpr": [], "tpr": [], "auc": None}
    fpr, tpr, _ = metrics.roc_curve(positive, ranking)
    kept = _thinned(fpr, tpr)
    area = float(metrics.auc(fpr, tpr))
    return {"class": name, "fpr": fpr[kept].tolist(), "tpr": tpr[kept].tolist(), "auc": area}


def _precision_recall(positive: np.ndarray, ranking: np.ndarray, name: Any) -> dict[str, Any]:
    if not positive.any():
        return {"class": name, "recall": [], "precision": [], "average_precision": None}
    precision, recall, _ = metrics.precision_recall_curve(positive, ranking)
    kept = _thinned(recall, precision)
    return {
        "class": name,
        "recall": recall[kept].tolist(),
        "precision": precision[kept].tolist(),
        "average_precision": float(metrics.average_precision_score(positive, ranking)),
    }


def _thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points of a curve, about equally far from each other along it, with its first and last."""
    if len(x) <= _MOST_POINTS:
        return np.arange(len(x))
    way = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    wanted = np.linspace(0, way[-1], _MOST_POINTS)
    kept = np.minimum(np.searchsorted(way, wanted), len(x) - 1)
    return np.unique(np.append(kept[:-1], len(x) - 1))


def _brier(said: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error of the probabilities; of two classes, of the second's (Brier 1950)."""
    if said.shape[1] == 2:
        return float(np.mean((said[:, 1] - y) ** 2))
    return float(np.mean(np.sum((said - (y[:, None] == np.arange(said.shape[1]))) ** 2, axis=1)))
