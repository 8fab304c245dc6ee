"""Stacking: scikit-learn's classes, their folds and members fitted as one flat graph.

scikit-learn fits the members on all rows, then cross-validates each, then fits the final estimator:
three phases, each waiting for its slowest part. Here the members on all rows and all folds of all
members are units of one queue, and only the final estimator waits.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from sklearn import ensemble as sk
from sklearn.base import _fit_context
from sklearn.ensemble._stacking import _BaseStacking

from distml.ensemble.crossfit import CrossFitted, out_of_fold
from distml.ensemble.members import Unit, View
from distml.ensemble.mixed import Mixed
from distml.ensemble.planned import check_outcomes
from distml.ensemble.schedule import Plan

__all__ = ["StackingClassifier", "StackingRegressor"]


class _PlannedStacking(CrossFitted, _BaseStacking):
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
            fitted, said = yield from self._fit_folds(whole, folds)
            dropped = check_outcomes(self, [*whole, *folds], [*fitted, *said])
            self._keep(whole, fitted, dropped)
            kept = [unit.member for unit in whole if unit.member not in dropped]
            self.stack_method_ = [methods[member] for member in kept]
            self.out_of_fold_ = out_of_fold(folds, said, splits, kept)
            predictions = list(self.out_of_fold_.values())
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
        out_of_fold_: Member → what its `stack_method_` said of each row while it was not fitted on
            it; not part of a saved model.
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
        out_of_fold_: Member → what its `stack_method_` said of each row while it was not fitted on
            it; not part of a saved model.
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
