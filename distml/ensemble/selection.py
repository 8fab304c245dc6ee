"""Ensemble selection: the members of a pool that are best together, by what they say out of fold.

Not a subclass of a scikit-learn ensemble, since there is none of the kind; its contract for
estimators holds all the same. It refuses classifiers without probabilities.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from distml.ensemble.additions import Additions, accuracy, log_loss, roc_auc, squared_error
from distml.ensemble.members import View
from distml.ensemble.pool import PlannedSelection
from distml.errors import UserError

__all__ = ["SelectionClassifier", "SelectionRegressor"]


class SelectionClassifier(ClassifierMixin, PlannedSelection):
    """The classifiers of a pool that are best together, with weights.

    Members are added one at a time, the same one as often as it helps, each time the one with which
    the mean of all probabilities scores best out of fold; the best ensemble on the way is kept
    (Caruana, Niculescu-Mizil, Crew, Ksikes 2004). Only members that were selected are fitted on all
    rows, and with a store of units nothing that a `StackingClassifier` of the same pool and folds
    has fitted is fitted again.

    Args:
        estimators: Names and classifiers with `predict_proba`; also distml's own ensembles. Earlier
            ones win ties.
        cv: As in `StackingClassifier`; `prefit`: members are fitted already, and the rows given to
            `fit` only select among them.
        scoring: scikit-learn's scorer name, or `scorer(estimator, X, y)`; `None`: `neg_log_loss`.
            That, `accuracy` and the `roc_auc` of two classes need no call of the scorer.
        n_rounds: Size of the largest ensemble that is tried, members counted with repetition.
        n_init: Start from so many best members; `auto`: as many as score best together.
        n_bags: Select so many times, each from a part of the pool drawn at random, and take the
            mean of the weights; 1: once, from all of it. Bags help where dozens of members tempt to
            overfit; of a few, those without the best one cost more.
        bag_fraction: Share of the pool in each bag.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        random_state: Draws the bags.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.

    Attributes:
        selected_: Names of the members that were selected, in the order of `estimators`.
        weights_: Float array of shape (n_selected,): their weights, which sum to 1.
        estimators_: They, fitted on all rows.
        named_estimators_: The same by name, `drop` for the others.
        classes_: Array of shape (n_classes,).
        history_: For each bag a float array: score at the start, then after each round.
        score_: Out-of-fold score of the ensemble; optimistic, since it was chosen by it.
        member_scores_: Out-of-fold score of each member of the pool.
        fit_times_: Seconds of wall time per selected member, on all rows.
        dropped_: Names of the members that failed and were left out.
        out_of_fold_: Member → what it said of each row while it was not fitted on
            it; not part of a saved model.
    """

    _method = "predict_proba"
    _default_scoring = "neg_log_loss"

    def predict_proba(self, X: Any) -> np.ndarray:
        """Weighted mean of the members' probabilities: array of shape (n_samples, n_classes)."""
        return self._mean(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class: array of shape (n_samples,)."""
        probabilities = self._mean(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def _check_pool(self) -> None:
        super()._check_pool()
        for name, estimator in self.estimators:
            if estimator != "drop" and not hasattr(estimator, "predict_proba"):
                raise UserError(
                    f"member {name!r} ({type(estimator).__name__}) gives no probabilities; wrap it "
                    "in CalibratedClassifierCV or leave it out"
                )

    def _targets(self, y: Any) -> np.ndarray:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind.startswith("multi") and kind != "multiclass":
            raise UserError(f"{type(self).__name__}: y is {kind}; give one label per row")
        encoder = LabelEncoder().fit(y)
        self.classes_ = encoder.classes_
        return np.asarray(encoder.transform(y))

    def _race(self, said: Mapping[str, Any], view: View, weight: np.ndarray | None) -> Additions:
        for name, probabilities in said.items():
            if np.shape(probabilities)[1] != len(self.classes_):
                raise UserError(
                    f"member {name!r} knows {np.shape(probabilities)[1]} classes, y has "
                    f"{len(self.classes_)}; give rows of all its classes"
                )
        return super()._race(said, view, weight)

    def _direct(
        self, scoring: Any, predictions: np.ndarray, y: np.ndarray, weight: np.ndarray | None
    ) -> Additions | None:
        if scoring == "accuracy":
            return accuracy(predictions, y, weight)
        if scoring == "neg_log_loss":
            return log_loss(predictions[:, np.arange(len(y)), y], weight)
        if scoring == "roc_auc" and weight is None and len(self.classes_) == 2:
            return roc_auc(predictions[:, :, 1], y == 1)
        return None


class SelectionRegressor(RegressorMixin, PlannedSelection):
    """The regressors of a pool that are best together, with weights.

    As `SelectionClassifier`, of the mean of predictions.

    Args:
        estimators: Names and regressors; also distml's own ensembles. Earlier ones win ties.
        cv: As in `StackingRegressor`; `prefit`: members are fitted already, and the rows given to
            `fit` only select among them.
        scoring: scikit-learn's scorer name, or `scorer(estimator, X, y)`; `None`:
            `neg_root_mean_squared_error`. That and `neg_mean_squared_error` need no call of the
            scorer.
        n_rounds: Size of the largest ensemble that is tried, members counted with repetition.
        n_init: Start from so many best members; `auto`: as many as score best together.
        n_bags: Select so many times, each from a part of the pool drawn at random, and take the
            mean of the weights; 1: once, from all of it. Bags help where dozens of members tempt to
            overfit; of a few, those without the best one cost more.
        bag_fraction: Share of the pool in each bag.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        random_state: Draws the bags.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.

    Attributes:
        selected_: Names of the members that were selected, in the order of `estimators`.
        weights_: Float array of shape (n_selected,): their weights, which sum to 1.
        estimators_: They, fitted on all rows.
        named_estimators_: The same by name, `drop` for the others.
        history_: For each bag a float array: score at the start, then after each round.
        score_: Out-of-fold score of the ensemble; optimistic, since it was chosen by it.
        member_scores_: Out-of-fold score of each member of the pool.
        fit_times_: Seconds of wall time per selected member, on all rows.
        dropped_: Names of the members that failed and were left out.
        out_of_fold_: Member → what it said of each row while it was not fitted on
            it; not part of a saved model.
    """

    _method = "predict"
    _default_scoring = "neg_root_mean_squared_error"

    def predict(self, X: Any) -> np.ndarray:
        """Weighted mean of the members' predictions: array of shape (n_samples,)."""
        return self._mean(X)

    def _targets(self, y: Any) -> np.ndarray:
        return np.asarray(column_or_1d(y, warn=True))

    def _direct(
        self, scoring: Any, predictions: np.ndarray, y: np.ndarray, weight: np.ndarray | None
    ) -> Additions | None:
        residuals = predictions - y.astype(np.float64)
        if scoring == "neg_mean_squared_error":
            return squared_error(residuals, weight, np.negative)
        if scoring == "neg_root_mean_squared_error":
            return squared_error(residuals, weight, lambda error: -np.sqrt(error))
        return None
