"""What Ray Tune's schedulers ask of its controller, without the controller.

One decision: schedulers are given Ray's own `Trial`, as a stub, and a stand-in of the controller
that keeps the trials' states and answers as Ray's does. A checkpoint is the name of a step: which
trial's learners, after which of its steps.
"""

import copy
from dataclasses import dataclass
from typing import Any, Self

from ray.tune.experiment import Trial

from distml.tune.turns import Config

__all__ = ["Checkpoint", "Controller", "new_trial", "number_of"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The learners of a trial after a step, by name."""

    trial: int
    """Which."""
    step: int
    """After which of its steps."""

    @property
    def checkpoint(self) -> Self:
        """Itself, as the checkpoint of a training result."""
        return self

    def resolve(self) -> Self:
        """Itself: what Ray has to wait for is there."""
        return self


class Controller:
    """Stands in for Ray Tune's controller.

    Args:
        scheduler: Whose trials they are.
        time_attr: The key of a result that holds the step.
        searcher: The searcher beside it, if there is one.
    """

    def __init__(self, scheduler: Any, time_attr: str, searcher: Any) -> None:
        self.search_alg = _SearchAlgorithm(searcher if hasattr(searcher, "on_pause") else _Deaf())
        self._scheduler = scheduler
        self._time_attr = time_attr
        self._trials: list[Trial] = []
        self.held: Trial | None = None
        """A trial that counts as running, so that a scheduler sees others run."""

    def add(self, trial: Trial) -> None:
        """Take a trial up."""
        self._trials.append(trial)

    def get_trials(self) -> list[Trial]:
        """All trials so far, in their order."""
        return self._trials if self.held is None else [*self._trials, self.held]

    def get_live_trials(self) -> list[Trial]:
        """Trials that have not ended."""
        return [trial for trial in self._trials if not _ended(trial)]

    def stop_trial(self, trial: Trial) -> None:
        """End a trial, whatever its state, and tell the scheduler as Ray does."""
        if _ended(trial):
            return
        if trial.status == Trial.RUNNING:
            self._scheduler.on_trial_complete(self, trial, trial.last_result)
        else:
            self._scheduler.on_trial_remove(self, trial)
        trial.status = Trial.TERMINATED

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Pause a trial; with a checkpoint of where it stands."""
        if should_checkpoint:
            self._schedule_trial_save(trial)
        trial.status = Trial.PAUSED

    def _schedule_trial_save(self, trial: Trial, result: Config | None = None) -> Checkpoint:
        step = (result or trial.last_result).get(self._time_attr, 0)
        made = Checkpoint(number_of(trial), int(step))
        kept: Any = trial.run_metadata.checkpoint_manager
        kept._latest_checkpoint_result = made
        return made


@dataclass(frozen=True, slots=True)
class _SearchAlgorithm:
    """What holds the searcher in Ray's controller."""

    searcher: Any


class _Deaf:
    """A searcher that does not ask which trials are paused."""

    def on_pause(self, trial_id: str) -> None:
        """A trial is paused."""

    def on_unpause(self, trial_id: str) -> None:
        """A trial goes on."""


def new_trial(number: int, config: Config) -> Trial:
    """A trial that runs, without a trainable; a scheduler may change its configuration."""
    trial = Trial("trial", stub=True, trial_id=f"{number:05d}", config=copy.deepcopy(dict(config)))
    trial.status = Trial.RUNNING
    return trial


def _ended(trial: Trial) -> bool:
    return trial.status in (Trial.TERMINATED, Trial.ERROR)


def number_of(trial: Trial) -> int:
    """The number of a trial of this search."""
    return int(trial.trial_id)
