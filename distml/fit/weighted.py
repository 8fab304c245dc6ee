"""Scores of resampled rows, from how often each row was drawn, without sorting or scoring anew.

One decision: a score is taken apart once. Most are a function of sums over rows, and the sums of
all resamples are one product of matrices; those of a ranking need the rows in order, which does not
change when they are drawn more or less often. So a resample costs one pass over the rows. What
these formulas cannot express has none here, and is scored by scikit-learn itself (see `bootstrap`).
Each equals scikit-learn's score of the drawn rows, of which tests make sure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from distml.fit.predictions import Predictions

__all__ = ["Formula", "formula"]

_MOST_CLASSES = 20
"""Beyond it, sums for each class would be wider than the data."""


class Formula(Protocol):
    """A score as a function of how often each row counts."""

    def scores(self, counts: np.ndarray) -> np.ndarray:
        """Score each resample.

        Args:
            counts: Array of shape (n_resamples, n_rows): how often each row was drawn.

        Returns:
            Array of shape (n_resamples,), float64; NaN where the score is not defined.
        """


@dataclass(frozen=True, slots=True)
class _Sums:
    """A function of sums over rows."""

    terms: np.ndarray
    """Array of shape (n_rows, n_terms): what each row adds."""
    combine: Callable[..., np.ndarray]
    """Takes the mean of each term, arrays of shape (n_resamples,), and gives the scores."""

    def scores(self, counts: np.ndarray) -> np.ndarray:
        # Not `@`: for products as thin as these, BLAS spends its time on waking threads.
        sums = np.einsum("rn,nt->rt", counts, self.terms)
        means = sums / counts.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.combine(*means.T))


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A score of the order of rows: rows of equal rank are one step of the curve."""

    order: np.ndarray
    """Rows, the most probable first."""
    ends: np.ndarray | slice
    """Where in `order` each group of equal rank ends; all, if no two are equal."""
    positive: np.ndarray
    """Bool array of shape (n_rows,), in the order of `order`."""
    summed: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Takes drawn positives and drawn rows so far, arrays of shape (n_resamples, n_groups), and
    gives the scores."""

    def scores(self, counts: np.ndarray) -> np.ndarray:
        drawn = counts.take(self.order, axis=1)
        found = np.cumsum(drawn, axis=1)[:, self.ends]
        hits = np.cumsum(drawn * self.positive, axis=1)[:, self.ends]
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.summed(hits, found)


@dataclass(frozen=True, slots=True)
class _Mean:
    """The plain mean of several scores."""

    parts: tuple[Formula, ...]

    def scores(self, counts: np.ndarray) -> np.ndarray:
        return np.mean([part.scores(counts) for part in self.parts], axis=0)


def formula(name: str, predicted: Predictions, y: np.ndarray) -> Formula | None:
    """How to score resamples by one of scikit-learn's scorers.

    Args:
        name: The scorer.
        predicted: Predictions of n_rows rows.
        y: Array of shape (n_rows,).

    Returns:
        `None` if there is no formula for it, or the model cannot be scored so.
    """
    make = _FORMULAS.get(name)
    return None if make is None else make(predicted, y)


def _of_errors(
    per_row: Callable[[np.ndarray, np.ndarray], np.ndarray],
    combine: Callable[..., np.ndarray] = np.negative,
) -> Callable[[Predictions, np.ndarray], Formula]:
    """A score of what `per_row(y, predicted)` gives, array of shape (n_rows,)."""

    def make(predicted: Predictions, y: np.ndarray) -> Formula:
        return _Sums(per_row(y, predicted.labels)[:, None].astype(np.float64), combine)

    return make


def _r2(predicted: Predictions, y: np.ndarray) -> Formula:
    # Labels are taken from their mean: the formula subtracts squares, and loses digits far from 0.
    centred = y - y.mean()
    terms = np.column_stack([(y - predicted.labels) ** 2, centred**2, centred])
    return _Sums(
        terms.astype(np.float64), lambda error, square, mean: 1 - error / (square - mean**2)
    )


def _log_loss(predicted: Predictions, y: np.ndarray) -> Formula | None:
    said = predicted.probabilities
    if said is None:
        return None
    sure = np.clip(said[np.arange(len(y)), y], np.finfo(said.dtype).eps, None)
    sure = np.minimum(sure, 1 - np.finfo(said.dtype).eps).astype(np.float64)
    return _Sums(-np.log(sure)[:, None], np.negative)


def _brier(predicted: Predictions, y: np.ndarray) -> Formula | None:
    said = predicted.probabilities
    if said is None or said.shape[1] != 2:
        return None
    return _Sums(((said[:, 1] - y) ** 2)[:, None].astype(np.float64), np.negative)


def _ranked(
    summed: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[Predictions, np.ndarray], Formula | None]:
    def make(predicted: Predictions, y: np.ndarray) -> Formula | None:
        ranking = predicted.ranking
        if ranking is None or ranking.ndim != 1:
            return None
        return _in_order(ranking, y == 1, summed)

    return make


def _ranked_each(predicted: Predictions, y: np.ndarray) -> Formula | None:
    """Each class against the rest."""
    said = predicted.probabilities
    if said is None or not 2 < said.shape[1] <= _MOST_CLASSES:
        return None
    columns = range(said.shape[1])
    return _Mean(tuple(_in_order(said[:, c], y == c, _area_under_roc) for c in columns))


def _in_order(
    ranking: np.ndarray,
    positive: np.ndarray,
    summed: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Formula:
    order = np.argsort(-ranking, kind="stable")
    last = np.append(np.diff(ranking[order]) != 0, True)
    ends = slice(None) if last.all() else np.flatnonzero(last)
    return _Ranked(order, ends, positive[order], summed)


def _area_under_roc(hits: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Trapezoids under the ROC curve (Fawcett 2006), which give ties one half."""
    false = found - hits
    # Twice the mean height of a step is what it ends with and what it began with.
    heights = 2 * hits - np.diff(hits, axis=1, prepend=0)
    area = np.sum(np.diff(false, axis=1, prepend=0) * heights, axis=1) / 2
    return np.asarray(area / hits[:, -1] / false[:, -1])


def _average_precision(hits: np.ndarray, found: np.ndarray) -> np.ndarray:
    precision = hits / np.maximum(found, 1)
    return np.asarray(np.sum(np.diff(hits, axis=1, prepend=0) * precision, axis=1) / hits[:, -1])


def _of_classes(
    per_class: Callable[..., np.ndarray], average: str
) -> Callable[[Predictions, np.ndarray], Formula | None]:
    """A score of how many rows each class has, is predicted for, and is predicted for rightly.

    Args:
        per_class: Takes right, predicted and true shares and gives scores, all of shape
            (n_classes, n_resamples).
        average: `positive` for the second of two classes, `macro`, or `weighted` by true shares.
    """

    def make(predicted: Predictions, y: np.ndarray) -> Formula | None:
        num_classes = len(predicted.classes_)
        if num_classes > _MOST_CLASSES or (average == "positive" and num_classes != 2):
            return None
        is_true = y[:, None] == np.arange(num_classes)
        is_said = predicted.labels[:, None] == np.arange(num_classes)
        terms = np.hstack([is_true & is_said, is_said, is_true]).astype(np.float64)
        return _Sums(terms, lambda *means: _averaged(per_class(*_thirds(means)), means, average))

    return make


def _thirds(means: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.reshape(np.stack(means), (3, len(means) // 3, -1))


def _averaged(scores: np.ndarray, means: tuple[np.ndarray, ...], average: str) -> np.ndarray:
    _, said, true = _thirds(means)
    # Nothing right where nothing could be: scikit-learn's `zero_division` is 0 by default.
    scores = np.nan_to_num(scores, nan=0.0)
    if average == "positive":
        return np.asarray(scores[1])
    if average == "weighted":
        return np.asarray((scores * true).sum(axis=0))
    # A class that neither occurs nor is predicted is no class of the resample.
    there = (said + true > 0) if average == "macro" else (true > 0)
    return np.asarray((scores * there).sum(axis=0) / there.sum(axis=0))


def _f1(right: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
    return 2 * right / (said + true)


def _precision(right: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
    return right / said


def _recall(right: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
    return right / true


def _is_right(y: np.ndarray, said: np.ndarray) -> np.ndarray:
    return y == said


_FORMULAS: dict[str, Callable[[Predictions, np.ndarray], Formula | None]] = {
    "accuracy": _of_errors(_is_right, np.positive),
    "average_precision": _ranked(_average_precision),
    "balanced_accuracy": _of_classes(_recall, "true"),
    "neg_brier_score": _brier,
    "neg_log_loss": _log_loss,
    "neg_mean_absolute_error": _of_errors(lambda y, said: np.abs(y - said)),
    "neg_mean_squared_error": _of_errors(lambda y, said: (y - said) ** 2),
    "neg_root_mean_squared_error": _of_errors(
        lambda y, said: (y - said) ** 2, lambda mean: -np.sqrt(mean)
    ),
    "r2": _r2,
    "roc_auc": _ranked(_area_under_roc),
    "roc_auc_ovr": _ranked_each,
    **{
        f"{name}{suffix}": _of_classes(per_class, average)
        for name, per_class in (("f1", _f1), ("precision", _precision), ("recall", _recall))
        for suffix, average in (("", "positive"), ("_macro", "macro"), ("_weighted", "weighted"))
    },
}
