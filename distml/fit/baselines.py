"""What every model has to beat: the best constant, and a rule of the user's.

A rule is a condition over columns. It becomes a model by looking up, in the training rows, what the
label is on either side of the condition.
"""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.utils.validation import check_is_fitted

from distml.data import evaluate_rule, rule_columns
from distml.errors import UserError
from distml.fit.leaderboard import Entry, fitted
from distml.fit.tables import Parts

__all__ = ["RuleClassifier", "RuleRegressor", "baselines", "constant", "holds"]


def baselines(parts: Parts, rule: str | None, label: str) -> Iterator[Entry]:
    """What every model has to beat, fitted on the training rows.

    Args:
        parts: The rows.
        rule: A condition over columns, if there is one.
        label: What is predicted, for the message.

    Raises:
        UserError: a rule, and more than two classes.
    """
    y, num_classes = parts.y("train"), parts.labels.num_classes
    nothing = np.empty((len(y), 0))
    yield fitted("constant", constant(classification=num_classes is not None), nothing, y)
    if rule is None:
        return
    if num_classes not in (None, 2):
        raise UserError(
            f"rule={rule!r} decides between 2 classes, but label {label!r} has {num_classes}; "
            "leave the rule out"
        )
    model = RuleRegressor() if num_classes is None else RuleClassifier()
    yield fitted("rule", model, holds(parts, rule, "train"), y, needs="rule")


def constant(*, classification: bool) -> BaseEstimator:
    """The model that always says the same: the classes' frequencies, or the mean."""
    return DummyClassifier(strategy="prior") if classification else DummyRegressor()


def holds(parts: Parts, rule: str, name: str) -> np.ndarray:
    """Where a rule holds in one part: bool array of shape (num_rows_of_part,)."""
    return evaluate_rule(rule, parts.whole(name, list(rule_columns(rule))))


class RuleClassifier(ClassifierMixin, BaseEstimator):
    """Says the second of two classes where a condition holds, the first elsewhere.

    Its probabilities are the classes' frequencies on either side of the condition in the training
    rows. `X` is the condition: bool array of shape (n_samples,).

    Attributes:
        classes_: Array of shape (2,).
        probabilities_: Array of shape (2, 2): row 0 where the condition fails, row 1 where it
            holds.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Count the classes on either side.

        Raises:
            ValueError: there are not exactly two classes.
        """
        holds = np.asarray(X, dtype=bool)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"a rule decides between 2 classes, not {len(self.classes_)}")
        shares = [np.mean(codes[side] == 1) if side.any() else np.mean(codes == 1)
                  for side in (~holds, holds)]  # fmt: skip
        self.probabilities_ = np.array([[1 - share, share] for share in shares])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Classes: array of shape (n_samples,)."""
        check_is_fitted(self)
        return self.classes_[np.asarray(X, dtype=int)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities: array of shape (n_samples, 2)."""
        check_is_fitted(self)
        return self.probabilities_[np.asarray(X, dtype=int)]


class RuleRegressor(RegressorMixin, BaseEstimator):
    """Says the mean of the training rows on the same side of a condition.

    `X` is the condition: bool array of shape (n_samples,).

    Attributes:
        means_: Array of shape (2,): where the condition fails, where it holds.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Take the mean on either side."""
        holds, y = np.asarray(X, dtype=bool), np.asarray(y, dtype=float)
        self.means_ = np.array(
            [y[side].mean() if side.any() else y.mean() for side in (~holds, holds)]
        )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Means: array of shape (n_samples,)."""
        check_is_fitted(self)
        return self.means_[np.asarray(X, dtype=int)]
