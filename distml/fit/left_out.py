"""Scores that a fitted ensemble knows of itself, from rows its members were not fitted on.

Nothing is fitted for them. Known are scikit-learn's out-of-bag predictions (`oob_score=True`), and
the out-of-fold scores of the members of a selection.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator

from distml.fit.evaluate import scores
from distml.fit.predictions import Predictions

__all__ = ["left_out_scores"]

Scores = dict[str, float | None]


def left_out_scores(
    estimator: BaseEstimator, y: np.ndarray, metrics: Sequence[str]
) -> dict[str, Scores]:
    """What is known of a fitted estimator and its members.

    Args:
        estimator: Fitted.
        y: Array of shape (n_samples,), what it was fitted on.
        metrics: scikit-learn's scorer names.

    Returns:
        Name of the model in the result table → scorer → score.
    """
    found: dict[str, Scores] = {}
    name = type(estimator).__name__
    predicted = _out_of_bag(estimator)
    if predicted is not None:
        known = np.isfinite(predicted.labels)
        found[name] = scores(metrics, predicted.take(known), y[known])
    scoring = getattr(estimator, "scoring", None)
    by_member = getattr(estimator, "member_scores_", None)
    if by_member is not None and scoring is not None and scoring in metrics:
        found |= {member: {scoring: float(score)} for member, score in by_member.items()}
        found[name] = {scoring: float(estimator.score_)}
    return found


def _out_of_bag(estimator: BaseEstimator) -> Predictions | None:
    """Predictions of training rows by the members that did not draw them; NaN if all did."""
    values = getattr(estimator, "oob_prediction_", None)
    if values is not None and np.ndim(values) == 1:
        return Predictions(estimator, {"predict": values})
    shares = getattr(estimator, "oob_decision_function_", None)
    if shares is None or np.ndim(shares) != 2:
        return None
    known = np.isfinite(shares).all(axis=1)
    labels = np.where(known, estimator.classes_[np.nan_to_num(shares).argmax(axis=1)], np.nan)
    return Predictions(estimator, {"predict": labels, "predict_proba": shares})
