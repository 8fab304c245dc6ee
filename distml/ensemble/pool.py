"""What both selections share: the folds of a pool, the choice, and the fits of those chosen.

The folds are the same units as those of a stack over the same pool, so what a stack has fitted is
not fitted again; and only members that were selected are fitted on all rows. The choice is made on
the driver from stored predictions: it is the same for any number of workers.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.ensemble._base import _BaseHeterogeneousEnsemble
from sklearn.metrics import get_scorer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, _raise_for_params
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from distml.ensemble import greedy
from distml.ensemble.additions import Additions, by_scorer
from distml.ensemble.crossfit import CrossFitted, out_of_fold
from distml.ensemble.members import Unit, View
from distml.ensemble.mixed import Mixed
from distml.ensemble.planned import check_outcomes
from distml.ensemble.schedule import Plan
from distml.ensemble.worker import Outcome
from distml.errors import UserError

__all__ = ["PlannedSelection"]


class PlannedSelection(CrossFitted, _BaseHeterogeneousEnsemble):
    """An ensemble of those members of a pool that are best together."""

    _parameter_constraints: ClassVar = {
        "estimators": [list],
        "cv": ["cv_object", StrOptions({"prefit"})],
        "scoring": [str, callable, None],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_bags": [Interval(Integral, 1, None, closed="left")],
        "bag_fraction": [Interval(Real, 0, 1, closed="right")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        **Mixed._own_constraints,
    }

    _method: ClassVar[str]
    """How members are asked."""
    _default_scoring: ClassVar[str]

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        *,
        cv: Any = 5,
        scoring: str | Callable[..., float] | None = None,
        n_rounds: int = 50,
        n_init: int | Literal["auto"] = 1,
        n_bags: int = 1,
        bag_fraction: float = 0.5,
        n_jobs: int | None = None,
        random_state: Any = None,
        on_error: Literal["raise", "drop"] = "raise",
    ) -> None:
        super().__init__(estimators=estimators)
        self.cv = cv
        self.scoring = scoring
        self.n_rounds = n_rounds
        self.n_init = n_init
        self.n_bags = n_bags
        self.bag_fraction = bag_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.on_error = on_error

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Select members and fit them.

        Args:
            X: Array-like of shape (n_samples, n_features).
            y: Array-like of shape (n_samples,).
            **fit_params: `sample_weight`, which members are fitted with and scores are weighted by,
                and what metadata routing sends to members.

        Raises:
            UserError: an unknown scorer, or a classifier that gives no probabilities.
            MemberError: members failed to fit.
        """
        _raise_for_params(fit_params, self, "fit", allow=["sample_weight"])
        names, _ = self._validate_estimators()
        self._check_pool()
        targets, routed = self._targets(y), self._routed(names, fit_params)
        weight = fit_params.get("sample_weight")
        if weight is not None:
            weight = _check_sample_weight(weight, X)
        self._carry_out(lambda view: self._plan(view, routed, weight), X, targets)
        return self

    def get_metadata_routing(self) -> MetadataRouter:
        """Where arguments of `fit` go, as scikit-learn's metadata routing has it."""
        router = MetadataRouter(owner=self)
        mapping = MethodMapping().add(callee="fit", caller="fit")
        for name, estimator in self.estimators:
            router.add(**{name: estimator}, method_mapping=mapping)
        return router

    @property
    def n_features_in_(self) -> int:
        """Number of features seen in `fit`."""
        if not hasattr(self, "estimators_"):
            name = type(self).__name__
            raise AttributeError(f"{name!r} object has no attribute 'n_features_in_'")
        return int(self.estimators_[0].n_features_in_)

    def _check_pool(self) -> None:
        """Refuse, before anything is fitted, what cannot be scored."""
        if isinstance(self.scoring, str):
            try:
                get_scorer(self.scoring)
            except ValueError:
                raise UserError(
                    f"scoring={self.scoring!r} is no scorer of scikit-learn; see "
                    "sklearn.metrics.get_scorer_names()"
                ) from None

    def _targets(self, y: Any) -> np.ndarray:
        """What the members learn, as the stack of the same kind gives it to them."""
        raise NotImplementedError

    def _plan(self, view: View, routed: Mapping[str, Any], weight: np.ndarray | None) -> Plan:
        if self.cv == "prefit":
            self._select_fitted(view, weight)
            return
        whole = self._fits_on_all_rows(view, routed)
        splits = self._splits(view)
        folds = self._folds(whole, {unit.member: self._method for unit in whole}, splits)
        _, outcomes = yield from self._fit_folds([], folds)
        lost = check_outcomes(self, folds, outcomes)
        pool = [unit.member for unit in whole if unit.member not in lost]
        self.out_of_fold_ = out_of_fold(folds, outcomes, splits, pool)
        additions = self._race(self.out_of_fold_, view, weight)
        done = list(zip(folds, outcomes, strict=True))
        yield from self._fit_selected(whole, pool, additions, done, lost)

    def _fit_selected(
        self,
        whole: Sequence[Unit],
        pool: Sequence[str],
        additions: Additions,
        done: list[tuple[Unit, Outcome]],
        lost: set[str],
    ) -> Plan:
        """Fit those selected on all rows; where one fails and is dropped, select without it."""
        fitted: dict[str, Outcome] = {}
        while missing := self._missing(whole, self._choose(pool, additions, lost), fitted):
            outcomes = yield missing
            done += zip(missing, outcomes, strict=True)
            if any(outcome.error is not None for outcome in outcomes):
                lost = check_outcomes(self, [unit for unit, _ in done], [o for _, o in done])
            for unit, outcome in zip(missing, outcomes, strict=True):
                if outcome.error is None:
                    fitted[unit.member] = outcome
        units = self._missing(whole, self.selected_, {})
        self._keep(units, [fitted[unit.member] for unit in units], set())
        self.dropped_ = sorted(lost)

    @staticmethod
    def _missing(
        whole: Sequence[Unit], selected: Sequence[str], fitted: Mapping[str, Outcome]
    ) -> list[Unit]:
        """Units of those selected that are not fitted."""
        return [u for u in whole if u.member in selected and u.member not in fitted]

    def _select_fitted(self, view: View, weight: np.ndarray | None) -> None:
        """Select among members that are fitted already, by what they say of these rows."""
        self._keep_prefit(*zip(*self.estimators, strict=True))
        fitted = {name: e for name, e in self.named_estimators_.items() if e != "drop"}
        said = {name: getattr(e, self._method)(view.matrix()) for name, e in fitted.items()}
        names = self._choose(list(said), self._race(said, view, weight))
        self.estimators_ = [fitted[name] for name in names]
        self._name_members({name: fitted[name] for name in names})

    def _choose(
        self, pool: Sequence[str], additions: Additions, lost: Set[str] = frozenset()
    ) -> list[str]:
        """Set what was selected, and give its names."""
        allowed = np.array([name not in lost for name in pool])
        rng = check_random_state(self.random_state)
        climbs = [
            greedy.climb(additions, bag, max_size=self.n_rounds, n_init=self.n_init)
            for bag in greedy.bags(allowed, self.n_bags, self.bag_fraction, rng)
        ]
        weights = np.mean([climb.weights for climb in climbs], axis=0)
        chosen = np.flatnonzero(weights)
        self.selected_ = [pool[int(member)] for member in chosen]
        self.weights_ = weights[chosen]
        self.history_ = [climb.history for climb in climbs]
        self.score_ = greedy.score(additions, weights)
        own = additions(np.zeros(len(pool)))
        self.member_scores_ = {name: float(s) for name, s in zip(pool, own, strict=True)}
        return self.selected_

    def _race(self, said: Mapping[str, Any], view: View, weight: np.ndarray | None) -> Additions:
        """Scores of ensembles of what members said of the rows of the view."""
        predictions = np.stack([np.asarray(said[name], dtype=np.float64) for name in said])
        scoring = self.scoring or self._default_scoring
        direct = self._direct(scoring, predictions, np.asarray(view.y), weight)
        if direct is not None:
            return direct
        classes = getattr(self, "classes_", None)
        labels = view.y if classes is None else classes[view.y]
        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        return by_scorer(scorer, predictions, view.matrix(), labels, weight, classes)

    def _direct(
        self, scoring: Any, predictions: np.ndarray, y: np.ndarray, weight: np.ndarray | None
    ) -> Additions | None:
        """The scores without scikit-learn's scorer, for metrics where that is faster."""
        raise NotImplementedError

    def _mean(self, X: Any) -> np.ndarray:
        """Weighted mean of what the selected members say."""
        check_is_fitted(self)
        total = 0.0
        for weight, estimator in zip(self.weights_, self.estimators_, strict=True):
            total = total + weight * np.asarray(getattr(estimator, self._method)(X), np.float64)
        return np.asarray(total)
