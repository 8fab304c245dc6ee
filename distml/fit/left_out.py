"""Scores that a fitted ensemble knows of itself, from rows its members were not fitted on.

No member is fitted for them. Known are scikit-learn's out-of-bag predictions (`oob_score=True`),
and what the members of a stack or a selection said out of fold. A stack's own score takes a final
estimator that has not seen the rows either; a linear one, which costs next to nothing, is fitted
once more for each third of them, and of any other it is not known. A selection's is of the weights
that were chosen on the same rows, and a little too good.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.model_selection import cross_val_predict

from distml.fit.evaluate import scores
from distml.fit.predictions import Predictions

__all__ = ["left_out_scores"]

Scores = dict[str, float | None]

_THIRDS = 3


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
    said: Mapping[str, Any] = getattr(estimator, "out_of_fold_", {})
    if not said:
        return found
    for (member, values), method in zip(said.items(), _methods(estimator), strict=True):
        found[member] = scores(metrics, _predictions(estimator, values, method), y)
    of_all = _of_stack(estimator, said, y) or _of_selection(estimator, said)
    if of_all is not None:
        found[name] = scores(metrics, _predictions(estimator, *of_all), y)
    return found


def _methods(estimator: Any) -> Sequence[str]:
    """How each member was asked."""
    usual = "predict_proba" if is_classifier(estimator) else "predict"
    return getattr(estimator, "stack_method_", [usual] * len(estimator.out_of_fold_))


def _predictions(estimator: Any, values: np.ndarray, method: str) -> Predictions:
    """What one method gave, and the labels that follow from it."""
    if not is_classifier(estimator):
        return Predictions(estimator, {"predict": np.ravel(values)})
    if method == "predict":
        return Predictions(estimator, {"predict": estimator.classes_[np.ravel(values)]})
    codes = values.argmax(axis=1) if np.ndim(values) == 2 else (values > 0).astype(int)
    return Predictions(estimator, {"predict": estimator.classes_[codes], method: values})


def _of_stack(
    stack: Any, said: Mapping[str, np.ndarray], y: np.ndarray
) -> tuple[np.ndarray, str] | None:
    """What final estimators say that have not seen the rows, and how they were asked."""
    final = getattr(stack, "final_estimator_", None)
    if not hasattr(final, "coef_") or stack.passthrough:
        return None
    if is_classifier(stack):
        y = np.searchsorted(stack.classes_, y)
        if np.bincount(y).min() < _THIRDS:
            return None
    # As the stack gives them to its own: of two classes one column.
    columns = [
        v[:, 1:] if np.shape(v)[1:] == (2,) else v.reshape(len(y), -1) for v in said.values()
    ]
    method = next(name for name in ("predict_proba", *Predictions.METHODS) if hasattr(final, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = cross_val_predict(clone(final), np.hstack(columns), y, cv=_THIRDS, method=method)
    return each, method


def _of_selection(selection: Any, said: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str] | None:
    """The weighted mean of the members that were selected."""
    if not hasattr(selection, "weights_"):
        return None
    chosen = zip(selection.selected_, selection.weights_, strict=True)
    return sum(weight * said[member] for member, weight in chosen), _methods(selection)[0]


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
