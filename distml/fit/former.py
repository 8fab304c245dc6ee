"""The model of an earlier run beside the new one: as a rival on its test sets, or as its beginning.

One decision: the former model takes part in the evaluation like any other, on the same rows of the
new data, so that its scores, and the new model's gain with an interval, come out as every other
comparison does. It predicts from raw rows, by its own encoder.

Refuses a former model that predicts something else, or other classes.
"""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

from distml.errors import UserError
from distml.fit.evaluation import Question
from distml.fit.leaderboard import Entry
from distml.job import Former
from distml.runs.bundle import load
from distml.runs.model import Model

__all__ = ["FORMER", "FormerClassifier", "FormerRegressor", "former_entry", "load_former"]

FORMER = "former"
"""Its name and kind in the result table."""


def load_former(former: Former | None) -> Model | None:
    """The former model, if there is one.

    It comes from a run of the same storage, whose units are trusted as well; what a bundle says of
    versions that changed is a warning here, since it is the scores that decide.

    Raises:
        DataError: there is no bundle, or it is damaged.
    """
    return None if former is None else load(former.bundle, check="warn", trust=True)


def former_entry(model: Model | None, question: Question) -> Iterator[Entry]:
    """The former model as one that takes part.

    Args:
        model: As loaded, if there is one.
        question: What is predicted now.

    Raises:
        UserError: it predicts something else.
    """
    if model is None:
        return
    classes = None if question.classes is None else list(question.classes)
    if model.label != question.label or _classes(model) != classes:
        raise UserError(
            f"the former model predicts {_said(model.label, _classes(model))}, the new data has "
            f"{_said(question.label, classes)}: they cannot be compared; start a new run"
        )
    kind = FormerRegressor if model.classes is None else FormerClassifier
    yield Entry(name=FORMER, kind=FORMER, model=kind(model), fit_seconds=None, needs="rows")


class FormerRegressor(RegressorMixin, BaseEstimator):
    """A saved regression with raw rows for an input.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def fit(self, X: Any, y: Any) -> Self:
        """It is fitted."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> np.ndarray:
        """Array of shape (n_rows,)."""
        return self.model.predict(X)


class FormerClassifier(ClassifierMixin, BaseEstimator):
    """A saved classification with raw rows for an input and positions of classes for an output.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def classes_(self) -> np.ndarray:
        """Positions of the classes: array of shape (n_classes,)."""
        return np.arange(len(self.model.classes or ()))

    def fit(self, X: Any, y: Any) -> Self:
        """It is fitted."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> np.ndarray:
        """Positions of classes: int array of shape (n_rows,)."""
        place = {label: number for number, label in enumerate(self.model.classes or ())}
        return np.array([place[label] for label in self.model.predict(X).tolist()], dtype=np.int64)

    @available_if(lambda self: self.model.gives_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Array of shape (n_rows, n_classes)."""
        return self.model.predict_proba(X)


def _classes(model: Model) -> list[Any] | None:
    return None if model.classes is None else list(model.classes)


def _said(label: str, classes: list[Any] | None) -> str:
    return f"{label!r}" if classes is None else f"{label!r} in {classes}"
