"""The folds of a search, made and checked as scikit-learn does.

The one decision: they are made once, as positions, and are the same for all trials.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

__all__ = ["NO_FITS", "Split", "make_splits"]

Split = tuple[np.ndarray, np.ndarray]
"""Positions to learn from, and to score."""

NO_FITS = "No fits were performed. Was the CV iterator empty? Were there no candidates?"


def make_splits(cv: Any, estimator: Any, X: Any, y: Any, params: Mapping[str, Any]) -> list[Split]:
    """Make the folds.

    Args:
        cv: As scikit-learn takes it.
        estimator: Decides whether folds are stratified.
        X: Array-like of shape (n_samples, n_features).
        y: Array-like of shape (n_samples,), or `None`.
        params: Arguments of `split`, such as `groups`.

    Raises:
        ValueError: there are none, or not as many as `cv` says, in scikit-learn's words.
    """
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    expected = splitter.get_n_splits(X, y, **params)
    splits = [
        (_positions(train), _positions(test)) for train, test in splitter.split(X, y, **params)
    ]
    if len(splits) != expected:
        raise ValueError(
            "cv.split and cv.get_n_splits return inconsistent results. Expected "
            f"{expected} splits, got {len(splits)}"
        )
    if not splits:
        raise ValueError(NO_FITS)
    return splits


def _positions(part: Any) -> np.ndarray:
    """A part of a split, which a user's `cv` may as well give as a mask."""
    part = np.asarray(part)
    return np.flatnonzero(part) if part.dtype == bool else part
