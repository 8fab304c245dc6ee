"""Tune: a search over a whole job, whatever its task is.

One decision: what is searched are the parameters of a function that makes the job, so any task can
be searched, and anything that the function makes of a parameter: a rate, the columns, the members
of an ensemble. Trials are runs of their own, one after another, each with all the CPUs there are,
or several at one time, each with its part of them; no driver of a trial waits for CPUs that its own
workers need.

Refuses parameters that the function does not have, and HyperBand, which lets trainings wait for
each other.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from typing import Any

from distml.errors import UserError
from distml.job import Job, Result, RunContext
from distml.tune.deciders import is_hyperband
from distml.tune.space import Space

__all__ = ["Tune"]

_COUNTS = ("early_stop_patience", "max_epochs", "num_samples", "max_concurrent_trials")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tune:
    """Search for the parameters of a job that are best by a score of its runs.

    Raises:
        UserError: an argument makes no sense, or a parameter is not one of the function's.
    """

    job_function: Callable[..., Job] = field(kw_only=False)
    """Makes the job of a trial, as `job()` of a job file does."""
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    """Parameter of the function → list, distribution of scipy, or domain of Ray Tune."""
    metric: str
    """What trials are compared by: test set and scorer, `test_roc_auc`, or what a training reports,
    `val_accuracy`."""
    mode: str = "max"
    """Whether more of it is better, `max`, or less, `min`."""
    search: Any = "random"
    """`random`, `grid`, `optuna`, `hyperopt`, `bohb`, or a searcher of Ray Tune."""
    scheduler: Any = None
    """Ends trainings early: `asha`, `median`, or a scheduler of Ray Tune; it is told what each
    epoch reports of the metric. `None`: every trial runs to its end. `pbt`: trainings go on from
    each other's checkpoints with other parameters, so the task has to be a `Loop`; what its
    function gets anew, such as `lr`, it has to set after `resume`, which sets the old."""
    num_samples: int | None = 10
    """Configurations to try; a grid tries all there are."""
    max_epochs: int | None = None
    """The most epochs of a trial, for a scheduler that is named."""
    max_concurrent_trials: int = 1
    """Trials that run at one time, each in a process of its own with its part of the CPUs."""
    time_budget_s: float | None = None
    """Begin no trial once trials have taken so many seconds together."""
    early_stop_patience: int | None = None
    """End after so many trials in a row that were not better than the best before."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What else the function is given, the same in each trial."""

    def __post_init__(self) -> None:
        if self.mode not in ("max", "min"):
            raise UserError(f"Tune: mode={self.mode!r}; give 'max' or 'min'")
        if not isinstance(self.metric, str) or not self.metric:
            raise UserError(f"Tune: metric={self.metric!r}; name a score, such as 'test_roc_auc'")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Integral) and int(value) > 0):
                raise UserError(f"Tune: {name}={value!r}; give a whole number of at least 1")
        seconds = self.time_budget_s
        if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
            raise UserError(f"Tune: time_budget_s={seconds!r}; give seconds, more than 0")
        self._check_function()
        self._check_scheduler()

    def run(self, context: RunContext) -> Result:
        """Do the work in a run, or go on with it: trials that have ended are not run again.

        Raises:
            UserError: trials do not report the metric.
            DistmlError: no trial went well.
            StorageError: the run's storage is full or refuses.
        """
        # Only here: what a search needs is loaded when it runs.
        from distml.tune.job_search import JobSearch

        return JobSearch(self, context).run()

    def plan(self, context: RunContext) -> dict[str, Any]:
        """Say what a run would take, from the plan of one of its trials; see `plan_search`."""
        from distml.tune.planning import plan_search

        return plan_search(self, context)

    def making(self, config: Mapping[str, Any]) -> Callable[[], Job]:
        """What makes the job of a trial, in another process as well.

        Args:
            config: What is searched.
        """
        return partial(_made, self.job_function, {**self.arguments, **config})

    @property
    def _name(self) -> str:
        return _name_of(self.job_function)

    def _check_function(self) -> None:
        """Compare the names in the space with the signature, before anything runs."""
        if not callable(self.job_function):
            raise UserError(f"Tune: {self.job_function!r} is no function that makes a job")
        space = Space.of(self.space)
        parameters = inspect.signature(self.job_function).parameters.values()
        known = [p.name for p in parameters if p.kind in _NAMED]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            space.check(known, f"{self._name}()")
            _check_arguments(self.arguments, known, self._name)
        both = sorted(set(self.arguments) & set(space.names))
        if both:
            raise UserError(f"Tune: {both[0]!r} is in space and in arguments; leave one out")
        needed = [p.name for p in parameters if p.kind in _NAMED and p.default is p.empty]
        missing = [name for name in needed if name not in {*self.arguments, *space.names}]
        if missing:
            raise UserError(
                f"Tune: {self._name}() needs {missing[0]!r}; put it into space, or give "
                f"arguments={{{missing[0]!r}: ...}}"
            )

    def _check_scheduler(self) -> None:
        if is_hyperband(self.scheduler):
            is_named = isinstance(self.scheduler, str)
            name = repr(self.scheduler) if is_named else type(self.scheduler).__name__
            raise UserError(
                f"Tune: {name} pauses trainings, which is not carried out "
                "for jobs; give 'asha' or 'median', or search the estimator with TuneSearchCV"
            )
        if isinstance(self.scheduler, str) and self.max_epochs is None:
            raise UserError(
                f"Tune: scheduler={self.scheduler!r} has to know how far a training goes; give "
                "max_epochs"
            )


def _made(function: Callable[..., Job], arguments: Mapping[str, Any]) -> Job:
    """The job of a trial.

    Raises:
        UserError: the function returns something else than a `Job`.
    """
    made = function(**arguments)
    if not isinstance(made, Job):
        raise UserError(
            f"{_name_of(function)}() returned {type(made).__name__}, not a Job; end it with "
            "`return Job(task=...)`"
        )
    return made


def _name_of(function: Callable[..., Job]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _check_arguments(arguments: Mapping[str, Any], known: Sequence[str], name: str) -> None:
    for given in arguments:
        if given not in known:
            near = difflib.get_close_matches(given, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            raise UserError(f"arguments: {name}() has no parameter {given!r}; {hint}")
