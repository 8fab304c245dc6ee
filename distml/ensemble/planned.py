"""What makes an ensemble's fit a plan: scikit-learn validates, the schedule executes.

The classes of this package inherit scikit-learn's `fit` as it is. Where that would hand its fits to
joblib it arrives at `_carry_out`, which runs the plan, or gives it to the ensemble around this one,
so that ensembles inside ensembles share one queue.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.utils._param_validation import StrOptions

from distml import session
from distml.ensemble.execute import InlineExecutor, RayExecutor
from distml.ensemble.keys import Keys
from distml.ensemble.members import Unit, View
from distml.ensemble.schedule import Plan, Schedule
from distml.ensemble.worker import Outcome
from distml.errors import MemberError
from distml.runs.display import shown
from distml.runs.events import emit
from distml.runs.units import active_units

__all__ = ["Planned", "check_outcomes"]


class Planned(BaseEstimator):
    """An ensemble whose fit is a plan."""

    n_jobs: int | None
    on_error: Literal["raise", "drop"]

    _own_constraints: ClassVar = {"on_error": [StrOptions({"raise", "drop"})]}

    def fit_copies(self, sets: Sequence[tuple[str, Any, Any]]) -> list[Self]:
        """Fit a clone to each of several sets of rows, such as folds, all their fits in one queue.

        Args:
            sets: Name, `X` of shape (n_samples, n_features) and `y` of shape (n_samples,) of each.

        Returns:
            The fitted clones, in the order of `sets`.

        Raises:
            MemberError: members failed; the fits of other sets finished.
        """
        units = [_copy(self, *each) for each in sets]
        fitted: list[Self] = []
        self._run(_gathered(units, fitted))
        return fitted

    def _carry_out(self, make_plan: Callable[[View], Plan], X: Any, y: Any) -> None:
        """Fit by a plan over `X` and `y`, or hand the plan to the ensemble around this one.

        Args:
            make_plan: Makes the plan for a view of the data.
            X: Array-like of shape (n_samples, n_features), as validated.
            y: Array-like of shape (n_samples,) or (n_samples, n_outputs), as validated.
        """
        request = _request.get()
        if request is not None and request.ensemble is self:
            # Where validation left X as it was, the plan goes on with rows of the shared matrix.
            view = replace(request.view, y=y) if X is request.X else View(X, y)
            request.plan = make_plan(view)
        else:
            self._run(make_plan(View(X, y)))

    def _run(self, plan: Plan) -> None:
        units = active_units()
        executor = InlineExecutor(units) if session.is_inline() else RayExecutor(units)
        try:
            # A fit that is spread reports to the run, or to who looks at this script.
            with nullcontext() if session.is_inline() else shown():
                Schedule(executor, Keys(units), _plan_of).run(self, plan)
        finally:
            executor.close()


def _copy(ensemble: BaseEstimator, name: str, X: Any, y: Any) -> Unit:
    """A clone and its rows as a unit; `fold 2 of 5` is a part of `cross-validation`."""
    member, _, part = name.partition(", ")
    return Unit(member=member, part=part, estimator=clone(ensemble), view=View(X, y))


def _gathered(units: Sequence[Unit], fitted: list[Any]) -> Plan:
    """Put what is fitted into the list, or raise the first of the errors."""
    for outcome in (yield units):
        if outcome.error is not None:
            raise outcome.error
        fitted.append(outcome.value)


@dataclass(slots=True, eq=False)
class _Request:
    """A surrounding ensemble asks for the plan of this one instead of having it fit."""

    ensemble: BaseEstimator
    X: Any
    view: View
    plan: Plan | None = None


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


def _plan_of(unit: Unit) -> Plan | None:
    """The plan of an ensemble that is a member; `None` for other members."""
    if not isinstance(unit.estimator, Planned):
        return None
    view, params = unit.training_data()
    request = _Request(unit.estimator, view.matrix(unit.estimator), view)
    token = _request.set(request)
    try:
        unit.estimator.fit(request.X, view.y, **params)
    finally:
        _request.reset(token)
    # Without a plan there was nothing left to fit: a warm start with no further members.
    return request.plan or _nothing()


def _nothing() -> Plan:
    yield from ()


def check_outcomes(
    ensemble: BaseEstimator, units: Sequence[Unit], outcomes: Sequence[Outcome]
) -> set[str]:
    """Decide what becomes of an ensemble of which members failed.

    Returns:
        The members to go on without: those with a failed unit if `on_error="drop"`.

    Raises:
        MemberError: with `on_error="raise"`, or if none is left. Also an instance of the first
            cause's class, so that what catches scikit-learn's errors catches this one.
    """
    failures = {
        unit.member: (unit, outcome.error)
        for unit, outcome in reversed(list(zip(units, outcomes, strict=True)))
        if outcome.error is not None
    }
    if not failures:
        return set()
    name, members = type(ensemble).__name__, {unit.member for unit in units}
    said = "; ".join(_say(unit, error) for unit, error in reversed(failures.values()))
    if getattr(ensemble, "on_error", "raise") == "raise" or failures.keys() == members:
        fitted = sum(outcome.error is None for outcome in outcomes)
        message = f"{name}: {len(failures)} of {len(members)} members failed ({said}); "
        message += f"{fitted} other fits finished"
        first = list(failures.values())[-1][1]
        raise _like(first, message) from first
    message = f"{name} goes on without {len(failures)} of {len(members)} members: {said}"
    warnings.warn(message, FitFailedWarning, stacklevel=2)
    emit("log", message=message)
    return set(failures)


def _say(unit: Unit, error: Exception) -> str:
    what = str(error) if isinstance(error, MemberError) else f"{type(error).__name__}: {error}"
    return f"{unit.name}: {what}"


def _like(cause: Exception, message: str) -> Exception:
    """A `MemberError` that is an instance of the cause's class too, where that can be built."""
    if isinstance(cause, MemberError):
        return type(cause)(message)

    def construct(self: Exception, text: str) -> None:
        Exception.__init__(self, text)

    try:
        kind = type("MemberError", (MemberError, type(cause)), {"__init__": construct})
        error: Exception = kind(message)
    except TypeError:
        return MemberError(message)
    error.__dict__.update(cause.__dict__)
    return error
