"""`TunedEnsemble`: an ensemble of a search's best trials, as one expression that is not fitted yet.

The one decision: it is a plan of two units, the search and then the ensemble that is made of it, so
their fits join the one flat graph. What the trials said out of fold is handed over as by
`from_search`: the ensemble fits its members on all rows and no fold again.
"""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import MetaEstimatorMixin, _fit_context, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from distml.ensemble.members import Unit, View
from distml.ensemble.planned import Planned
from distml.ensemble.schedule import Plan

__all__ = ["TunedEnsemble"]


class TunedEnsemble(MetaEstimatorMixin, Planned):
    """Search, then make an ensemble of the best trials.

    The same as `StackingClassifier.from_search(search.fit(X, y), k=k).fit(X, y)`, where a job wants
    an estimator that is not fitted yet.

    Args:
        search: A `TuneSearchCV`; with `refit=False` it does not fit its best configuration.
        ensemble: A stacking or selection without members, `StackingClassifier([])`; its members and
            its `cv` are the search's.
        k: How many trials at most; of the best, those that say most different things.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.

    Attributes:
        search_: The search, fitted.
        ensemble_: The ensemble, fitted.
        classes_: Array of shape (n_classes,), of a classifier.

    Raises:
        UserError: on `fit`: the search has no trials that an ensemble can be made of.
        MemberError: on `fit`: members failed.
    """

    _parameter_constraints: ClassVar = {
        "search": [HasMethods(["fit", "pool"])],
        "ensemble": [HasMethods(["fit", "from_search"])],
        "k": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self, search: Any, ensemble: Any, *, k: int = 10, n_jobs: int | None = None
    ) -> None:
        self.search = search
        self.ensemble = ensemble
        self.k = k
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any) -> Self:
        """Search, choose and fit.

        Args:
            X: Array-like of shape (n_samples, n_features).
            y: Array-like of shape (n_samples,).
        """
        self._carry_out(self._plan, X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """What the ensemble predicts: array of shape (n_samples,)."""
        check_is_fitted(self, "ensemble_")
        return np.asarray(self.ensemble_.predict(X))

    @available_if(lambda self: hasattr(self._asked(), "predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """What the ensemble gives for each class: array of shape (n_samples, n_classes)."""
        check_is_fitted(self, "ensemble_")
        return np.asarray(self.ensemble_.predict_proba(X))

    @property
    def classes_(self) -> np.ndarray:
        """Array of shape (n_classes,), of a classifier."""
        return np.asarray(self.ensemble_.classes_)

    @property
    def n_features_in_(self) -> int:
        """Number of features seen in `fit`."""
        return int(self.ensemble_.n_features_in_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        own = get_tags(self.ensemble)
        tags.estimator_type, tags.target_tags = own.estimator_type, own.target_tags
        tags.classifier_tags, tags.regressor_tags = own.classifier_tags, own.regressor_tags
        tags.input_tags = get_tags(self.search.estimator).input_tags
        return tags

    def _asked(self) -> Any:
        return getattr(self, "ensemble_", self.ensemble)

    def _plan(self, view: View) -> Plan:
        search = Unit(member="search", part="all rows", estimator=clone(self.search), view=view)
        self.search_ = yield from _fitted(search)
        ensemble = type(self.ensemble).from_search(
            self.search_, k=self.k, **self._params_of_ensemble()
        )
        made = Unit(member="ensemble", part="all rows", estimator=ensemble, view=view)
        self.ensemble_ = yield from _fitted(made)

    def _params_of_ensemble(self) -> dict[str, Any]:
        """What the user gave, but for what comes from the search."""
        params = clone(self.ensemble).get_params(deep=False)
        return {name: v for name, v in params.items() if name not in ("estimators", "cv")}


def _fitted(unit: Unit) -> Any:
    """Have one unit fitted; gives its estimator."""
    (outcome,) = yield [unit]
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
