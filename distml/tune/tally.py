"""What the trials of a search over jobs have come to so far, and whether that is a reason to end.

One decision: trials are counted in the order in which they ended, by turns; the table of them is
laid out in the order in which they were proposed.
"""

from typing import TYPE_CHECKING

from distml.errors import DistmlError, ResourcesError, UserError
from distml.runs.record import RunRecord, RunStatus
from distml.tune.endings import lacks_resources
from distml.tune.metrics import check_reported, scores_by_name
from distml.tune.outcome import Finished, best_of
from distml.tune.under_way import UnderWay

if TYPE_CHECKING:
    from distml.tune.task import Tune

__all__ = ["Tally"]

_HOPELESS = 10
"""After so many trials that all failed, and none that did not, a search ends."""


class Tally:
    """The trials of one search that have ended.

    Args:
        task: What is searched.
    """

    def __init__(self, task: "Tune") -> None:
        self._task = task
        self._trials: list[Finished] = []

    def add(self, trial: UnderWay, record: RunRecord) -> Finished:
        """Count a trial that has ended.

        Raises:
            UserError: it went well, and did not report the metric, or nothing that a scheduler
                could decide by.
            ResourcesError: it asks for more than there is, and no trial has gone well before.
        """
        finished = Finished(
            child=trial.child,
            record=record,
            score=self._score(trial, record),
            before_s=trial.before_s,
        )
        self._trials.append(finished)
        if lacks_resources(record) and all(other.score is None for other in self._trials):
            raise ResourcesError(record.reason)
        return finished

    def in_order(self) -> list[Finished]:
        """The trials as they were proposed."""
        return sorted(self._trials, key=lambda trial: trial.child.number)

    def reason_to_end(self) -> str | None:
        """Why no further trial begins; `None`: there is no reason."""
        task, trials = self._task, self._trials
        seconds = sum(trial.seconds for trial in trials)
        if task.time_budget_s is not None and seconds >= task.time_budget_s:
            return "time_budget_s"
        if len(trials) >= _HOPELESS and all(trial.score is None for trial in trials):
            return "only failures"
        best = best_of(trials, task.mode)
        since = 0 if best is None else len(trials) - 1 - trials.index(best)
        patience = task.early_stop_patience
        return "early_stop_patience" if patience is not None and since >= patience else None

    def check(self, uri: str) -> None:
        """Refuse a search of which nothing went well.

        Args:
            uri: Where the runs of its trials are.

        Raises:
            DistmlError: no trial has a score.
        """
        trials = self.in_order()
        if not trials:
            raise DistmlError("the search ended without a trial: nothing was proposed")
        if best_of(trials, self._task.mode) is not None:
            return
        first = trials[0]
        raise DistmlError(
            f"all {len(trials)} trials failed; the first: {first.record.reason} "
            f"(distml show {first.child.run_id} --storage {uri})"
        )

    def _score(self, trial: UnderWay, record: RunRecord) -> float | None:
        """What a trial came to; `None`: it failed."""
        if record.status is RunStatus.FAILED:
            return None
        if trial.best is None and all(other.score is None for other in self._trials):
            if self._task.scheduler is not None:
                _check_epochs(trial)
            check_reported(self._task.metric, record.metrics)
        of_sets = scores_by_name(record.metrics) if record.status is RunStatus.SUCCEEDED else {}
        return of_sets.get(self._task.metric, trial.best)


def _check_epochs(trial: UnderWay) -> None:
    """Refuse a scheduler that the first trial to go well has told nothing.

    Later ones may: of forests and networks searched together, networks alone have epochs.
    """
    if not trial.count.epochs:
        raise UserError(
            f"scheduler: trial {trial.child.number + 1} ended without reporting an epoch, so there "
            "is nothing to decide by; leave the scheduler out, or search a job whose task is a "
            "distml.Loop or fits a network"
        )
