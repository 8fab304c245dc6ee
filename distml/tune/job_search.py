"""The course of a search over jobs: propose, run, tell, until there is a reason to end.

One decision: one trial at a time, in the order in which they are proposed. What is decided depends
on what trials came to, and a search that goes on plays the trials that have ended again from their
records, so that searcher and scheduler know what they knew.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from distml.errors import DistmlError, UserError
from distml.job import Result, RunContext
from distml.runs.events import Event
from distml.runs.record import RunRecord, RunStatus
from distml.runs.strict_json import to_json
from distml.tune.children import Child, Children, EndedEarly
from distml.tune.deciders import make_decider
from distml.tune.metrics import check_reported, scores_by_name
from distml.tune.outcome import Finished, best_of, deliver
from distml.tune.proposers import Listed, make_proposer
from distml.tune.space import Space
from distml.tune.turns import STOP

if TYPE_CHECKING:
    from distml.tune.task import Tune

__all__ = ["JobSearch"]

_HOPELESS = 10
"""After so many trials that all failed, and none that did not, a search ends."""
_FAR = 1_000_000
"""Epochs that no training reaches, where a scheduler of the user's own knows how many."""


class JobSearch:
    """One search.

    Args:
        task: What to search.
        context: Of its run.

    Raises:
        UserError: searcher and scheduler do not go together.
    """

    def __init__(self, task: "Tune", context: RunContext) -> None:
        self._task = task
        self._context = context
        self._children = Children(context)
        self._trials: list[Finished] = []
        last: Any = task.max_epochs or getattr(task.scheduler, "_max_t", _FAR)
        self._last_epoch = int(last)
        space = Space.of(task.space)
        common: dict[str, Any] = {"mode": task.mode, "metric": task.metric, "seed": context.seed}
        self._proposer = make_proposer(task.search, space, num_samples=task.num_samples, **common)
        self._decider = make_decider(
            task.scheduler,
            max_resource=self._last_epoch,
            space=space,
            proposer=self._proposer,
            **common,
        )
        # HyperBand compares trials that wait for each other; here one runs after the other.
        if self._decider.side_by_side or isinstance(task.scheduler, _halving_in_step()):
            raise UserError(
                f"Tune: {type(task.scheduler).__name__} pauses trainings or lets them go on from "
                "each other, which runs of jobs cannot; give 'asha' or 'median', or search the "
                "estimator with TuneSearchCV"
            )

    def run(self) -> Result:
        """Search to the end.

        Raises:
            UserError: trials do not report the metric.
            DistmlError: none went well.
        """
        task, proposer, why_ended = self._task, self._proposer, "num_samples"
        wanted = len(proposer) if isinstance(proposer, Listed) else task.num_samples
        self._context.emit("search_started", metric=task.metric, mode=task.mode, trials=wanted)
        while True:
            reason = self._reason_to_end()
            config = None if reason else self._proposer.suggest(len(self._trials))
            if config is None:
                why_ended = reason or why_ended
                break
            self._trials.append(self._trial(Child(number=len(self._trials), config=config)))
        self._context.emit("search_ended")
        if best_of(self._trials, self._task.mode) is None:
            raise self._all_failed()
        return deliver(
            self._context,
            self._trials,
            metric=self._task.metric,
            mode=self._task.mode,
            why_ended=why_ended,
        )

    def _trial(self, child: Child) -> Finished:
        """Run a trial, or read what it came to, and tell whoever decides."""
        number, params, emit = child.number, to_json(dict(child.config)), self._context.emit
        self._decider.add(number, child.config)
        emit("trial_started", trial=number, params=params)
        course = _Course(self, child)
        record = self._children.ended(child)
        goes_on = course.play(self._children.told(child))
        if record is None:
            make = partial(self._task.job, child.config) if goes_on else course.end
            record = self._children.carry_out(child, make, course.listen)
        if course.mistake is not None:
            raise course.mistake
        finished = Finished(child=child, record=record, score=self._score(record, course))
        self._tell_end(finished)
        reason = "scheduler" if finished.state == "stopped early" else finished.state
        emit(
            "trial_ended",
            trial=number,
            params=params,
            reason=reason,
            step=course.epochs,
            score=finished.score,
            seconds=record.seconds,
        )
        return finished

    def _tell_end(self, finished: Finished) -> None:
        number = finished.child.number
        if finished.state != "stopped early":
            self._decider.end(number, finished.score)
        self._proposer.end(number, finished.score)

    def _score(self, record: RunRecord, course: "_Course") -> float | None:
        """What a trial came to; `None`: it failed.

        Raises:
            UserError: it went well, and did not report the metric.
        """
        if record.status is RunStatus.FAILED:
            return None
        if course.best is None and all(trial.score is None for trial in self._trials):
            check_reported(self._task.metric, record.metrics)
        of_sets = scores_by_name(record.metrics) if record.status is RunStatus.SUCCEEDED else {}
        return of_sets.get(self._task.metric, course.best)

    def decide(self, child: Child, epoch: int, scores: Mapping[str, float]) -> bool:
        """Whether a training goes on after an epoch.

        Raises:
            UserError: the scheduler cannot decide by what is reported.
        """
        if self._task.scheduler is not None:
            check_reported(self._task.metric, {"epoch": scores})
        value = scores.get(self._task.metric)
        if value is None:
            return True
        self._context.emit("trial_reported", trial=child.number, step=epoch, score=value)
        if epoch > self._last_epoch:
            return True
        decision = self._decider.decide(child.number, epoch, value)
        self._proposer.tell(child.number, epoch, value)
        # After its last epoch a training ends by itself, and leaves its model.
        return decision is not STOP or epoch >= self._last_epoch

    def better(self, value: float, than: float | None) -> bool:
        """Whether a score is better than another, if there is one."""
        return than is None or (value > than if self._task.mode == "max" else value < than)

    @property
    def metric(self) -> str:
        """What trials are compared by."""
        return self._task.metric

    def _reason_to_end(self) -> str | None:
        task, trials = self._task, self._trials
        seconds = sum(trial.record.seconds or 0.0 for trial in trials)
        if task.time_budget_s is not None and seconds >= task.time_budget_s:
            return "time_budget_s"
        if len(trials) >= _HOPELESS and all(trial.score is None for trial in trials):
            return "only failures"
        best = best_of(trials, task.mode)
        since = 0 if best is None else len(trials) - 1 - best.child.number
        patience = task.early_stop_patience
        return "early_stop_patience" if patience is not None and since >= patience else None

    def _all_failed(self) -> DistmlError:
        if not self._trials:
            return DistmlError("the search ended without a trial: nothing was proposed")
        first = self._trials[0]
        return DistmlError(
            f"all {len(self._trials)} trials failed; the first: {first.record.reason} "
            f"(distml show {first.child.run_id} --storage {self._children.store.uri})"
        )


def _halving_in_step() -> tuple[type, ...]:
    """The schedulers that pause trials; none where Ray Tune is not loaded, so none is given."""
    module = sys.modules.get("ray.tune.schedulers")
    return () if module is None else (module.HyperBandScheduler,)


class _Course:
    """What a trial's training reports, epoch by epoch.

    Args:
        search: Decides.
        child: Which trial.
    """

    def __init__(self, search: JobSearch, child: Child) -> None:
        self._search = search
        self._child = child
        self._scores: Mapping[str, float] = {}
        self.epochs = 0
        self.best: float | None = None
        """The best value of the metric that an epoch reported."""
        self.mistake: UserError | None = None
        """Why the search makes no sense, as a trial has shown."""

    def play(self, events: Sequence[Event]) -> bool:
        """Tell the scheduler what a trial reported in former attempts: whether it goes on."""
        return all(self._take(scores) for scores in _reports(events))

    def listen(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Look at an event of the trial.

        Raises:
            EndedEarly: the trial is not worth going on with, or the search is not.
        """
        # What was told before the trial was cut off may be told again.
        if kind != "epoch" or int(fields["metrics"].get("epoch", self.epochs)) < self.epochs:
            return
        try:
            goes_on = self._take(fields["metrics"])
        except UserError as mistake:
            self.mistake = mistake
            goes_on = False
        if not goes_on:
            self.end()

    def end(self) -> NoReturn:
        """End the trial.

        Raises:
            EndedEarly: always.
        """
        raise EndedEarly(self.epochs, self._scores)

    def _take(self, scores: Mapping[str, float]) -> bool:
        self.epochs, self._scores = self.epochs + 1, scores
        value = scores.get(self._search.metric)
        if value is not None and self._search.better(value, self.best):
            self.best = value
        return self._search.decide(self._child, self.epochs, scores)


def _reports(events: Sequence[Event]) -> Iterator[Mapping[str, float]]:
    """Each epoch's report once, though an attempt that was cut off may have told it, too."""
    reports: dict[int, Mapping[str, float]] = {}
    for event in events:
        if event["kind"] == "epoch":
            scores = event["metrics"]
            reports[int(scores.get("epoch", len(reports)))] = scores
    yield from (reports[epoch] for epoch in sorted(reports))
