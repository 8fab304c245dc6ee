"""Stacking: scikit-learn's classes, their folds and members fitted as one flat graph.

scikit-learn fits the members on all rows, then cross-validates each, then fits the final estimator:
three phases, each waiting for its slowest part. Here the members on all rows and all folds of all
members are units of one queue, and only the final estimator waits.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from sklearn import ensemble as sk
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.ensemble._stacking import _BaseStacking
from sklearn.model_selection import check_cv
from sklearn.model_selection._validation import _check_is_permutation
from sklearn.utils.validation import check_is_fitted, indexable

from distml.ensemble.members import OutOfFold, Unit, View
from distml.ensemble.mixed import Mixed
from distml.ensemble.planned import check_outcomes
from distml.ensemble.schedule import Plan

__all__ = ["StackingClassifier", "StackingRegressor"]

_PER_CLASS = ("decision_function", "predict_proba", "predict_log_proba")


class _PlannedStacking(Mixed, _BaseStacking):
    """Stands where scikit-learn's base class would fit the members and cross-validate them."""

    final_estimator_: Any

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        names, estimators = self._validate_estimators()
        self._validate_final_estimator()
        routed = self._routed(names, fit_params)
        if self.cv == "prefit":
            self._keep_prefit(names, estimators)
        self._carry_out(lambda view: self._plan(view, routed, fit_params), X, y)
        return self

    def _plan(self, view: View, routed: Mapping[str, Any], fit_params: dict[str, Any]) -> Plan:
        if self.cv == "prefit":
            self.stack_method_ = list(self._methods().values())
            predictions = [
                getattr(estimator, method)(view.matrix())
                for estimator, method in zip(self.estimators_, self.stack_method_, strict=True)
            ]
        else:
            whole = self._fits_on_all_rows(view, routed)
            methods, splits = self._methods(), self._splits(view)
            folds = self._folds(whole, methods, splits)
            outcomes = yield [*whole, *folds]
            dropped = check_outcomes(self, [*whole, *folds], outcomes)
            self._keep(whole, outcomes[: len(whole)], dropped)
            kept = [unit.member for unit in whole if unit.member not in dropped]
            self.stack_method_ = [methods[member] for member in kept]
            order = np.argsort(np.concatenate([test for _, test in splits]))
            predictions = [
                _in_order(
                    [
                        outcome.value
                        for unit, outcome in zip(folds, outcomes[len(whole) :], strict=True)
                        if unit.member == member
                    ],
                    order,
                )
                for member in kept
            ]
        meta = View(self._concatenate_predictions(view.matrix(), predictions), view.y)
        final = Unit(
            member="final estimator",
            part="out-of-fold predictions",
            estimator=self.final_estimator_,
            view=meta,
            fit_params=fit_params,
        )
        outcomes = yield [final]
        check_outcomes(self, [final], outcomes)
        self.final_estimator_ = outcomes[0].value

    def _methods(self) -> dict[str, str]:
        """The prediction method of each member that is not left out."""
        return {
            name: self._method_name(name, estimator, self.stack_method)
            for name, estimator in self.estimators
            if estimator != "drop"
        }

    def _splits(self, view: View) -> list[tuple[np.ndarray, np.ndarray]]:
        """The folds, the same for every member, as scikit-learn takes care of by copies of `cv`."""
        cv = deepcopy(check_cv(self.cv, y=view.y, classifier=is_classifier(self)))
        if getattr(cv, "random_state", 0) is None:
            cv.random_state = np.random.RandomState()
        splits = list(cv.split(view.matrix(), view.y))
        if not _check_is_permutation(np.concatenate([test for _, test in splits]), view.num_rows):
            raise ValueError("cross_val_predict only works for partitions")
        return splits

    def _folds(
        self,
        whole: Sequence[Unit],
        methods: Mapping[str, str],
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> list[Unit]:
        """One unit for every fold of every member, members in the order of `estimators`."""
        view = whole[0].view
        if view.rows is None:
            # Rows can be taken only of what has rows to take: sparse formats, lists of lists.
            view = View(*indexable(view.X, view.y))
        encoded, num_classes = _encode(view.y)
        encoded_view = View(view.X, encoded, view.rows, view.columns)
        return [
            Unit(
                member=unit.member,
                part=f"fold {number} of {len(splits)}",
                estimator=clone(unit.estimator),
                view=encoded_view if methods[unit.member] in _PER_CLASS else view,
                fit_params=unit.fit_params,
                out_of_fold=OutOfFold(
                    train=train,
                    test=test,
                    method=methods[unit.member],
                    num_classes=num_classes if methods[unit.member] in _PER_CLASS else None,
                ),
            )
            for unit in whole
            for number, (train, test) in enumerate(splits, start=1)
        ]

    def _keep_prefit(self, names: Sequence[str], estimators: Sequence[Any]) -> None:
        fitted = {}
        for name, estimator in zip(names, estimators, strict=True):
            if estimator != "drop":
                check_is_fitted(estimator)
                fitted[name] = estimator
        self.estimators_ = list(fitted.values())
        self.dropped_, self.fit_times_ = [], {}
        self._name_members(fitted)


def _encode(y: Any) -> tuple[Any, tuple[int, ...]]:
    """Classes as 0, 1, … as in `cross_val_predict`, and how many there are per output."""
    y = np.asarray(y)
    if y.ndim == 1:
        classes, codes = np.unique(y, return_inverse=True)
        # Codes that are there already keep their array, so that it is shared once.
        return (y if np.array_equal(codes, y) else codes), (len(classes),)
    columns = [np.unique(column, return_inverse=True) for column in y.T]
    return np.stack([codes for _, codes in columns], axis=1), tuple(len(c) for c, _ in columns)


def _in_order(parts: Sequence[Any], order: np.ndarray) -> Any:
    """Predictions of all folds as one, in the order of rows."""
    if sp.issparse(parts[0]):
        return sp.vstack(parts, format=parts[0].format)[order]
    if isinstance(parts[0], list):
        return [np.concatenate(outputs)[order] for outputs in zip(*parts, strict=True)]
    return np.concatenate(parts)[order]


class StackingClassifier(sk.StackingClassifier, _PlannedStacking):
    """scikit-learn's `StackingClassifier` with its fits spread over Ray as one flat graph.

    Same parameters, same attributes, same predictions; see scikit-learn for them (Wolpert 1992 for
    the method). What differs:

    Args:
        estimators: Names and classifiers; also distml's own ensembles, whose fits join the queue.
        final_estimator: Learns from the members' out-of-fold predictions.
        cv: As in scikit-learn. Folds are made once and are the same for every member.
        stack_method: As in scikit-learn.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        passthrough: As in scikit-learn.
        verbose: As in scikit-learn.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.

    Attributes:
        fit_times_: Seconds of wall time per member, on all rows.
        dropped_: Names of the members that failed and were left out.
    """

    _parameter_constraints: ClassVar = {
        **sk.StackingClassifier._parameter_constraints,
        **Mixed._own_constraints,
    }

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        final_estimator: Any = None,
        *,
        cv: Any = None,
        stack_method: str = "auto",
        n_jobs: int | None = None,
        passthrough: bool = False,
        verbose: int = 0,
        on_error: Literal["raise", "drop"] = "raise",
    ) -> None:
        super().__init__(
            estimators=estimators,
            final_estimator=final_estimator,
            cv=cv,
            stack_method=stack_method,
            n_jobs=n_jobs,
            passthrough=passthrough,
            verbose=verbose,
        )
        self.on_error = on_error

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns of `transform`: array of shape (n_features_out,) of str."""
        return sk.StackingClassifier.get_feature_names_out(self._without_dropped(), input_features)


class StackingRegressor(sk.StackingRegressor, _PlannedStacking):
    """scikit-learn's `StackingRegressor` with its fits spread over Ray as one flat graph.

    Same parameters, same attributes, same predictions; see scikit-learn for them. What differs:

    Args:
        estimators: Names and regressors; also distml's own ensembles, whose fits join the queue.
        final_estimator: Learns from the members' out-of-fold predictions.
        cv: As in scikit-learn. Folds are made once and are the same for every member.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        passthrough: As in scikit-learn.
        verbose: As in scikit-learn.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.

    Attributes:
        fit_times_: Seconds of wall time per member, on all rows.
        dropped_: Names of the members that failed and were left out.
    """

    _parameter_constraints: ClassVar = {
        **sk.StackingRegressor._parameter_constraints,
        **Mixed._own_constraints,
    }

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        final_estimator: Any = None,
        *,
        cv: Any = None,
        n_jobs: int | None = None,
        passthrough: bool = False,
        verbose: int = 0,
        on_error: Literal["raise", "drop"] = "raise",
    ) -> None:
        super().__init__(
            estimators=estimators,
            final_estimator=final_estimator,
            cv=cv,
            n_jobs=n_jobs,
            passthrough=passthrough,
            verbose=verbose,
        )
        self.on_error = on_error

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns of `transform`: array of shape (n_features_out,) of str."""
        return sk.StackingRegressor.get_feature_names_out(self._without_dropped(), input_features)
