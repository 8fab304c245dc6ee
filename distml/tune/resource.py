"""How an estimator goes on: more trees, rounds, iterations or epochs, or more passes over the rows.

The one decision: a resource is told by an estimator's own interface (`warm_start`, `partial_fit`,
a booster to begin with), so what a user brings can be searched in steps as well. What has none of
these is searched fold by fold. One class is known by name: scikit-learn's histogram boosting alone
counts `max_iter` from the beginning when it starts warm.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning

from distml.ensemble.planned import Planned
from distml.errors import UserError

__all__ = ["Resource", "classes_of", "largest", "resource_of"]

_How = Literal["total", "further", "booster", "passes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """What an estimator can have more of without beginning anew."""

    parameter: str
    """The parameter that says how much, `clf__n_estimators` in a pipeline; for passes `passes`."""
    how: _How
    """`total`: a warm start fits up to the parameter; `further`: so many more; `booster`: so many
    rounds more on top of a booster that is given; `passes`: calls of `partial_fit`."""

    def advance(
        self,
        estimator: BaseEstimator,
        X: Any,
        y: Any,
        fit_params: Mapping[str, Any],
        *,
        begin: int,
        end: int,
        classes: Any = None,
    ) -> None:
        """Bring an estimator from one amount to another.

        Args:
            estimator: Fitted up to `begin`; unfitted where that is 0.
            X: Array-like of shape (n_samples, n_features).
            y: Array-like of shape (n_samples,), or `None`.
            fit_params: Arguments of `fit`.
            begin: The amount it has had.
            end: The amount it shall have had.
            classes: All classes, for a classifier that makes passes.

        Raises:
            Exception: whatever the estimator's `fit` raises.
        """
        data = (X,) if y is None else (X, y)
        with warnings.catch_warnings():
            # That a step does not converge is no news: there are further steps.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.how == "passes":
                self._make_passes(estimator, data, fit_params, begin, end, classes)
            elif self.how == "booster":
                self._add_rounds(estimator, data, fit_params, begin, end)
            else:
                amount = end if self.how == "total" else end - begin
                estimator.set_params(**{self.parameter: amount, self._beside("warm_start"): True})
                estimator.fit(*data, **fit_params)

    def finish(self, estimator: BaseEstimator, amount: int, template: BaseEstimator) -> None:
        """Leave the parameters as they would be after one fit with this amount."""
        if self.how == "passes":
            return
        params = {self.parameter: amount}
        if self.how != "booster":
            flag = self._beside("warm_start")
            params[flag] = template.get_params()[flag]
        estimator.set_params(**params)

    @staticmethod
    def _make_passes(
        estimator: Any,
        data: tuple[Any, ...],
        fit_params: Mapping[str, Any],
        begin: int,
        end: int,
        classes: Any,
    ) -> None:
        first = {} if classes is None or begin else {"classes": classes}
        for _ in range(begin, end):
            estimator.partial_fit(*data, **first, **fit_params)
            first = {}

    def _add_rounds(
        self,
        estimator: Any,
        data: tuple[Any, ...],
        fit_params: Mapping[str, Any],
        begin: int,
        end: int,
    ) -> None:
        former = {}
        if begin:
            steps = getattr(estimator, "steps", None)
            booster = (steps[-1][1] if steps else estimator).get_booster()
            former[self._beside("xgb_model")] = booster
        estimator.set_params(**{self.parameter: end - begin})
        estimator.fit(*data, **fit_params, **former)

    def _beside(self, name: str) -> str:
        """The parameter of that name of the same estimator."""
        return self.parameter.rpartition("__")[0] + "__" * ("__" in self.parameter) + name


def resource_of(estimator: BaseEstimator, name: str | None) -> Resource | None:
    """What an estimator, or the last step of a pipeline, can go on by.

    Args:
        estimator: The estimator that is searched.
        name: `auto`: whatever it has; a parameter; `passes`: calls of `partial_fit`; `folds` or
            `None`: nothing, folds are the steps.

    Returns:
        `None` where folds are the steps.

    Raises:
        UserError: it cannot go on by what is named.
    """
    if name is None or name == "folds":
        return None
    prefix, last = _last_step(estimator)
    # An ensemble's fit is a plan of fits: its steps would be plans as well.
    found = [] if isinstance(last, Planned) else _found(last, prefix)
    if name == "auto":
        return found[0] if found else None
    for resource in found:
        if name in (resource.parameter, resource.parameter.removeprefix(prefix)):
            return resource
    kind, known = type(last).__name__, [resource.parameter for resource in found]
    can = f"it can by {', '.join(known)}" if known else "give resource='folds'"
    raise UserError(f"resource={name!r}: {kind} cannot go on by that; {can}")


def largest(resource: Resource, estimator: BaseEstimator, max_resource: int | None) -> int:
    """The most of a resource that a trial may have.

    Raises:
        UserError: nobody says how much.
    """
    if max_resource is not None:
        return max_resource
    _, last = _last_step(estimator)
    name = "max_iter" if resource.how == "passes" else resource.parameter.rpartition("__")[2]
    value = last.get_params().get(name)
    if value is None and resource.how == "booster":
        return 100  # XGBoost's own default
    if not isinstance(value, int) or value < 1:
        raise UserError(
            f"max_resource=None: {type(last).__name__} says no {name}; give the most "
            f"{resource.parameter} a trial may have"
        )
    return value


def classes_of(estimator: BaseEstimator, y: Any) -> Any:
    """All classes of a classifier's targets, where they are one column; else `None`."""
    if y is None or not is_classifier(estimator) or np.ndim(y) != 1:
        return None
    return np.unique(np.asarray(y))


def _last_step(estimator: Any) -> tuple[str, Any]:
    """The estimator that learns, and how its parameters begin."""
    steps = getattr(estimator, "steps", None)
    return (f"{steps[-1][0]}__", steps[-1][1]) if steps else ("", estimator)


def _found(last: Any, prefix: str) -> list[Resource]:
    """What it can go on by, best first: what costs no more in steps than at once."""
    params = last.get_params() if hasattr(last, "get_params") else {}
    warm = "warm_start" in params
    counts_all = "HistGradientBoosting" in type(last).__name__
    takes_booster = hasattr(last, "fit") and "xgb_model" in signature(last.fit).parameters
    ways: list[tuple[str, _How, bool]] = [
        ("n_estimators", "booster", takes_booster),
        ("n_estimators", "total", warm),
        ("epochs", "further", warm),
        ("max_iter", "total", warm and counts_all),
        ("max_iter", "further", warm and not counts_all),
    ]
    found = [
        Resource(parameter=prefix + name, how=how)
        for name, how, possible in ways
        if possible and name in params
    ]
    if hasattr(last, "partial_fit") and not prefix:
        # Before a warm start of iterations, which begins the schedule of learning rates anew.
        at = next((at for at, each in enumerate(found) if each.parameter == "max_iter"), len(found))
        found.insert(at, Resource(parameter="passes", how="passes"))
    return found
