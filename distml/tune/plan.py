"""The plan of a search: trials take turns in a fixed order, whatever order their fits end in.

The one decision: there are slots, and turns go round them. At its turn a slot's trial must have its
step done, or all wait; then the decider says whether it goes on, the proposer is told, and a slot
whose trial has ended takes the next one. So what is decided depends on what trials did, never on
when they did it, while the folds of all slots run at once.
"""

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distml.ensemble.members import Unit
from distml.ensemble.schedule import Arrival, Stream
from distml.runs.events import emit
from distml.tune.folds import FoldScore, failure_of
from distml.tune.pool import Kept
from distml.tune.trials import Course, Reason, Trial
from distml.tune.turns import PAUSE, STOP, Decider, Exploit, Proposer

__all__ = ["Limits", "Turns"]

_HOPELESS = 10
"""After so many trials that all failed, and none that did not, a search ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When a search ends though there is more to propose."""

    num_slots: int | None = None
    """Trials at one time; `None`: all that are proposed, at once."""
    patience: int | None = None
    """Trials in a row of which none is better than the best before."""
    time_budget_s: float | None = None
    """Seconds after which no fit begins."""
    num_trials: int | None = None
    """Trials at most, in a sample; `None`: all that are proposed."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""


class Turns:
    """Carries the trials of a search out, and keeps them.

    Args:
        course: What each trial has to do.
        proposer: Proposes configurations.
        decider: Says whether trials go on.
        limits: When to end.
        metric: Which score they are told, where there are several.
        name: What its events call the search by, where there are several.
        check: Looks at the first score there is, and raises if it makes no sense.
    """

    def __init__(
        self,
        course: Course,
        proposer: Proposer,
        decider: Decider,
        limits: Limits,
        *,
        metric: str = "score",
        name: int | None = None,
        check: Callable[[Any], None] = lambda scores: None,
    ) -> None:
        self.trials: list[Trial] = []
        self._course = course
        self._proposer = proposer
        self._decider = decider
        self._limits = limits
        self._metric = metric
        self._name = name
        self._check: Callable[[Any], None] | None = check
        self._slots: list[Trial | None] = [None] * (limits.num_slots or 0)
        self._at = 0
        self._in_work: dict[str, tuple[Trial, int]] = {}
        self._paused: dict[int, Trial] = {}
        self._resumed: deque[Trial] = deque()
        self._exhausted = False
        self._best = _NOTHING
        self._since_best = self._num_failed = self._num_ended = 0
        self._over: Reason | None = None
        self._kept = Kept()

    def play(self) -> Generator[Stream, Arrival | None, None]:
        """The plan: yields units, hears of each, and ends when the search does.

        Raises:
            Exception: what a fit raised, with `error_score="raise"`.
        """
        begun = self._limits.clock()
        units = self._open() if self._limits.num_slots is None else self._take_turns()
        withdraw = False
        while units or self._in_work:
            arrival = yield Stream(units=units, withdraw=withdraw)
            if arrival is None:
                break
            self._note(arrival)
            budget = self._limits.time_budget_s
            withdraw = budget is not None and self._limits.clock() - begun >= budget
            if withdraw:
                self._over = Reason.TIME
            units = self._take_turns()
            if self._over is not None and not withdraw:
                break
        self._close()

    def _open(self) -> list[Unit]:
        """Begin all trials that are proposed."""
        units: list[Unit] = []
        while (trial := self._next()) is not None:
            self._slots.append(trial)
            units += self._begin_step(trial)
        return units

    def _take_turns(self) -> list[Unit]:
        """Play until a trial has to be waited for: the units that begin."""
        units: list[Unit] = []
        while self._over is None and self._slots:
            trial = self._slots[self._at]
            if trial is not None and trial.missing:
                break
            if trial is not None:
                trial = self._turn(trial)
            if trial is None and self._over is None:
                trial = self._next()
            self._slots[self._at] = trial
            if trial is not None:
                units += self._begin_step(trial)
            elif not any(self._slots) and not self._let_go():
                break
            self._at = (self._at + 1) % len(self._slots)
        return units

    def _next(self) -> Trial | None:
        """A trial for a free slot: one that was paused, or a new one."""
        if self._resumed:
            return self._resumed.popleft()
        number = len(self.trials)
        enough = number == self._limits.num_trials
        config = None if self._exhausted or enough else self._proposer.suggest(number)
        if config is None:
            self._exhausted = True
            return None
        trial = Trial(number, self._decider.add(number, config))
        self.trials.append(trial)
        self._say("trial_started", trial, params=dict(trial.config))
        return trial

    def _begin_step(self, trial: Trial) -> list[Unit]:
        wanted = max(self._decider.next_step(trial.number, trial.step), trial.step + 1)
        units = self._course.begin(trial, min(wanted, self._course.max_step))
        self._in_work |= {
            unit.name: (trial, fold)
            for unit, fold in zip(units, sorted(trial.missing), strict=True)
        }
        return units

    def _note(self, arrival: Arrival) -> None:
        """A fold is done."""
        trial, fold = self._in_work.pop(arrival.unit.name)
        outcome, score = arrival.outcome, arrival.outcome.value
        if outcome.error is not None:
            if self._course.fold.error_score == "raise":
                raise outcome.error
            error = failure_of(outcome.error)
            score = FoldScore(test=self._course.fold.failed, fit_s=outcome.seconds, error=error)
        elif self._check is not None:
            self._check(score.test)
            self._check = None
        trial.take(fold, score)
        if not trial.missing:
            # Told before its turn comes: who looks on need not wait for slower ones.
            self._say("trial_reported", trial, step=trial.target, score=trial.reached(self._metric))

    def _turn(self, trial: Trial) -> Trial | None:
        """A trial's step is done: the same trial if it goes on."""
        trial.settle(keep_all=self._decider.side_by_side)
        value = trial.value(self._metric)
        if trial.failed or np.isnan(value):
            self._decider.end(trial.number, None)
            self._end(trial, Reason.FAILED)
            return None
        decision = self._decider.decide(trial.number, trial.step, value)
        if decision is STOP or trial.step >= self._course.max_step:
            if decision is not STOP:
                self._decider.end(trial.number, value)
            done = trial.step >= self._course.max_step
            self._end(trial, Reason.COMPLETED if done else Reason.STOPPED)
            return None
        self._proposer.tell(trial.number, trial.step, value)
        if decision is PAUSE:
            self._paused[trial.number] = trial
        elif isinstance(decision, Exploit) and decision.step < self._course.max_step:
            donor = self.trials[decision.donor]
            trial.exploit(donor, decision.step, decision.config)
            came = {"donor": donor.number, "step": decision.step}
            self._say("trial_exploits", trial, **came, params=trial.config)
        self._resume(waiting=False)
        return None if decision is PAUSE else trial

    def _end(self, trial: Trial, reason: Reason) -> None:
        """A trial goes no further."""
        trial.reason = reason
        if not self._decider.side_by_side:
            trial.learners.clear()
        value = None if reason is Reason.FAILED else trial.value(self._metric)
        self._proposer.end(trial.number, value)
        self._exhausted = self._exhausted and not self._proposer.looks_at_results
        self._say_end(trial)
        self._resume(waiting=False)
        self._look_on(trial, value)

    def _look_on(self, trial: Trial, value: float | None) -> None:
        """Whether it is worth while to try further."""
        self._num_ended += 1
        self._kept.add(trial, _NOTHING if value is None else (trial.step, value))
        self._num_failed += trial.failed
        if value is not None and (trial.step, value) > self._best:
            self._best, self._since_best = (trial.step, value), 0
            return
        self._since_best += 1
        if self._since_best == self._limits.patience:
            self._over = Reason.PATIENCE
        if self._num_failed == self._num_ended >= _HOPELESS:
            self._over = Reason.FAILED

    def _resume(self, *, waiting: bool) -> None:
        for number in self._decider.resume(waiting=waiting):
            self._resumed.append(self._paused.pop(number))

    def _let_go(self) -> bool:
        """Nothing runs and nothing is proposed: whether trials that were paused go on."""
        if self._paused and not self._resumed:
            self._resume(waiting=True)
        return bool(self._resumed)

    def _close(self) -> None:
        """End what has not ended."""
        timely = self._over is Reason.TIME
        for trial in self.trials:
            if timely and trial.arrived and (not trial.missing or self._course.resource is None):
                trial.target = trial.step + len(trial.arrived) if trial.missing else trial.target
                trial.settle(keep_all=False)
            if trial.reason is None:
                trial.reason = self._over or Reason.STOPPED
                self._say_end(trial)
            trial.learners.clear()
        emit("search_ended", search=self._name)

    def _say_end(self, trial: Trial) -> None:
        self._say(
            "trial_ended",
            trial,
            params=dict(trial.config),
            reason=str(trial.reason),
            error=trial.error,
            step=trial.step,
            score=trial.value(self._metric),
            spread=trial.spread(self._metric),
            seconds=trial.seconds,
        )

    def _say(self, kind: str, trial: Trial, **fields: Any) -> None:
        emit(kind, search=self._name, trial=trial.number, **fields)


_NOTHING: tuple[int, float] = (-1, float("-inf"))
