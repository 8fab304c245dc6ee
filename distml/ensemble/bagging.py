"""Bagging: scikit-learn's classes, each member a unit that draws its own rows from its seed."""

import numbers
from typing import Any, ClassVar, Literal, Self
from warnings import warn

import numpy as np
from sklearn import ensemble as sk
from sklearn.base import BaseEstimator
from sklearn.ensemble._bagging import MAX_INT, BaseBagging, _consumes_sample_weight
from sklearn.ensemble._bagging import _generate_indices as generate_indices
from sklearn.ensemble._bootstrap import _get_n_samples_bootstrap
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import _manual_routing, _routing_enabled, process_routing

from distml.ensemble.members import Bootstrap, Unit, View
from distml.ensemble.planned import Planned, check_outcomes
from distml.ensemble.schedule import Plan

__all__ = ["BaggingClassifier", "BaggingRegressor"]


class _PlannedBagging(Planned, BaseBagging):
    """Stands where scikit-learn's base class would draw and fit the members."""

    estimators_: list[BaseEstimator]
    estimators_features_: list[np.ndarray]

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        max_samples: float | None = None,
        max_features: float = 1.0,
        bootstrap: bool = True,
        bootstrap_features: bool = False,
        oob_score: bool = False,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        on_error: Literal["raise", "drop"] = "raise",
    ) -> None:
        super().__init__(
            estimator=estimator,
            n_estimators=n_estimators,
            max_samples=max_samples,
            max_features=max_features,
            bootstrap=bootstrap,
            bootstrap_features=bootstrap_features,
            oob_score=oob_score,
            warm_start=warm_start,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        self.on_error = on_error

    def _fit(
        self,
        X: Any,
        y: Any,
        max_samples: float | None = None,
        max_depth: int | None = None,
        check_input: bool = True,
        sample_weight: np.ndarray | None = None,
        **fit_params: Any,
    ) -> Self:
        random_state = check_random_state(self.random_state)
        self._n_samples = X.shape[0]
        y = self._validate_y(y)
        self._validate_estimator(self._get_estimator())
        if _routing_enabled():
            routed = process_routing(self, "fit", **fit_params)
        else:
            routed = _manual_routing({"estimator": {"fit": fit_params}})
        if max_depth is not None:
            self.estimator_.max_depth = max_depth
        self._validate_sampling(X, max_samples, sample_weight)
        num_more = self._validate_number()
        if num_more == 0:
            warn(
                "Warm-start fitting without increasing n_estimators does not fit new trees.",
                stacklevel=2,
            )
            return self
        # Advance the random state to where it stood after the members that are there already.
        random_state.randint(MAX_INT, size=len(self.estimators_))
        self._seeds = random_state.randint(MAX_INT, size=num_more)
        fit_params = routed.estimator.fit
        self._carry_out(lambda view: self._plan(view, fit_params, check_input), X, y)
        return self

    def _parallel_args(self) -> dict[str, Any]:
        """How scikit-learn's `predict` spreads members: over threads, since they share the rows."""
        return {"require": "sharedmem"}

    def _validate_sampling(
        self, X: Any, max_samples: float | None, sample_weight: np.ndarray | None
    ) -> None:
        """Turn `max_samples` and `max_features` into numbers, with scikit-learn's messages."""
        if max_samples is None:
            max_samples = self.max_samples
        max_samples = _get_n_samples_bootstrap(X.shape[0], max_samples, sample_weight)
        if not self.bootstrap and max_samples > X.shape[0]:
            raise ValueError(
                f"Effective max_samples={max_samples} must be <= n_samples="
                f"{X.shape[0]} to be able to sample without replacement."
            )
        max_features = self.max_features
        if not isinstance(max_features, numbers.Integral):
            max_features = int(max_features * self.n_features_in_)
        if max_features > self.n_features_in_:
            raise ValueError("max_features must be <= n_features")
        self._max_samples, self._max_features = int(max_samples), max(1, int(max_features))
        self._sample_weight = sample_weight

    def _validate_number(self) -> int:
        """How many members to fit; empties the ensemble unless it is a warm start."""
        if not self.bootstrap and self.oob_score:
            raise ValueError("Out of bag estimation only available if bootstrap=True")
        if self.warm_start and self.oob_score:
            raise ValueError("Out of bag estimate only available if warm_start=False")
        if hasattr(self, "oob_score_") and self.warm_start:
            del self.oob_score_
        if not self.warm_start or not hasattr(self, "estimators_"):
            self.estimators_, self.estimators_features_ = [], []
        num_more = self.n_estimators - len(self.estimators_)
        if num_more < 0:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to "
                f"len(estimators_)={len(self.estimators_)} when warm_start==True"
            )
        return num_more

    def _plan(self, view: View, fit_params: dict[str, Any], check_input: bool) -> Plan:
        kind, by_weight = type(self.estimator_).__name__, _consumes_sample_weight(self.estimator_)
        units = [
            Unit(
                member=f"{kind} {number}",
                part=f"draw {number} of {len(self._seeds)}",
                kind=kind,
                estimator=self._make_estimator(append=False, random_state=seed),
                view=view,
                fit_params=fit_params,
                draw=Bootstrap(
                    seed=int(seed),
                    max_samples=self._max_samples,
                    max_features=self._max_features,
                    bootstrap=self.bootstrap,
                    bootstrap_features=self.bootstrap_features,
                    by_weight=by_weight,
                    sample_weight=self._sample_weight,
                    check_input=check_input,
                ),
            )
            for number, seed in enumerate(self._seeds, start=1)
        ]
        outcomes = yield units
        dropped = check_outcomes(self, units, outcomes)
        kept = [number for number, unit in enumerate(units) if unit.member not in dropped]
        self._seeds = self._seeds[kept]
        self.estimators_ += [outcomes[number].value for number in kept]
        self.estimators_features_ += [self._features(seed) for seed in self._seeds]
        if self.oob_score:
            self._set_oob_score(view.matrix(), view.y)

    def _features(self, seed: int) -> np.ndarray:
        """The features a member drew: the first thing its seed is used for."""
        return generate_indices(
            check_random_state(seed),
            self.bootstrap_features,
            self.n_features_in_,
            self._max_features,
        )


class BaggingClassifier(sk.BaggingClassifier, _PlannedBagging):
    """scikit-learn's `BaggingClassifier` with its fits spread over Ray.

    Same parameters, same attributes, same predictions; see scikit-learn for them. The rows of a
    member are drawn by the worker from the member's seed, and given to it as `sample_weight` where
    it takes that: the matrix is never copied for a member. What differs:

    Args:
        estimator: What to fit on each draw; also one of distml's own ensembles.
        n_estimators: Members.
        max_samples: As in scikit-learn.
        max_features: As in scikit-learn.
        bootstrap: As in scikit-learn.
        bootstrap_features: As in scikit-learn.
        oob_score: As in scikit-learn.
        warm_start: As in scikit-learn.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        random_state: As in scikit-learn.
        verbose: As in scikit-learn.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.
    """

    _parameter_constraints: ClassVar = {
        **sk.BaggingClassifier._parameter_constraints,
        **Planned._own_constraints,
    }

    __init__ = _PlannedBagging.__init__


class BaggingRegressor(sk.BaggingRegressor, _PlannedBagging):
    """scikit-learn's `BaggingRegressor` with its fits spread over Ray.

    Same parameters, same attributes, same predictions; see scikit-learn for them. The rows of a
    member are drawn by the worker from the member's seed, and given to it as `sample_weight` where
    it takes that: the matrix is never copied for a member. What differs:

    Args:
        estimator: What to fit on each draw; also one of distml's own ensembles.
        n_estimators: Members.
        max_samples: As in scikit-learn.
        max_features: As in scikit-learn.
        bootstrap: As in scikit-learn.
        bootstrap_features: As in scikit-learn.
        oob_score: As in scikit-learn.
        warm_start: As in scikit-learn.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        random_state: As in scikit-learn.
        verbose: As in scikit-learn.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.
    """

    _parameter_constraints: ClassVar = {
        **sk.BaggingRegressor._parameter_constraints,
        **Planned._own_constraints,
    }

    __init__ = _PlannedBagging.__init__
