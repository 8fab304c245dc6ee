"""A scheduler of Ray Tune, as what decides whether trials go on.

One decision: the scheduler is used as it is. It sees Ray's trials and a stand-in of the controller,
is told one result a turn, and what it answers or does to the trials is read off them. The clock it
looks at is the step; a scheduler that goes by seconds would decide by how busy the machine is.

Refuses clocks of seconds, synchronous population-based training, and schedulers of resources, which
trials here do not hold.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    FIFOScheduler,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)

from distml.errors import DistmlError, UserError
from distml.tune.controller import Controller, new_trial, number_of
from distml.tune.milestones import next_milestone
from distml.tune.searching import Searching, agree, quietly
from distml.tune.seeding import OwnRandomness
from distml.tune.turns import GO_ON, PAUSE, STOP, Config, Decision, Exploit, Proposer

__all__ = ["Scheduled"]

_CLOCKS = ("time_total_s", "time_since_restore", "time_this_iter_s", "timestamp")


class Scheduled:
    """Decides what a scheduler of Ray Tune decides.

    Args:
        scheduler: The scheduler; this one is changed.
        mode: `max` or `min`: which direction of the score is better.
        metric: Name of the score.
        max_resource: The last step a trial may reach.
        seed: For schedulers that draw from the global generators.
        proposer: What proposes the trials.

    Raises:
        UserError: the scheduler does not fit the search.
    """

    def __init__(
        self,
        scheduler: Any,
        *,
        mode: str,
        metric: str,
        max_resource: int,
        seed: int,
        proposer: Proposer | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.name = type(scheduler).__name__
        self.side_by_side = isinstance(scheduler, PopulationBasedTraining)
        self._metric = agree(scheduler, mode=mode, metric=metric)
        self._time_attr = _clock(scheduler)
        self._max_resource = max_resource
        self._randomness = OwnRandomness(seed)
        self._searching = proposer if isinstance(proposer, Searching) else None
        self._trials: dict[int, Trial] = {}
        self._another = new_trial(0, {})
        searcher = None if self._searching is None else self._searching.searcher
        self._controller = Controller(scheduler, self._time_attr, searcher)
        self._check(proposer)
        own_mode = getattr(scheduler, "_mode", None)
        scheduler.set_search_properties(
            None if scheduler.metric else self._metric, None if own_mode else mode
        )

    def add(self, trial: int, config: Config) -> Config:
        """See `Decider`."""
        made = self._trials[trial] = new_trial(trial, config)
        self._controller.add(made)
        self._ask(self.scheduler.on_trial_add, self._controller, made)
        return dict(made.config)

    def next_step(self, trial: int, step: int) -> int:
        """See `Decider`."""
        return next_milestone(self.scheduler, self._trials[trial], step, self._max_resource)

    def decide(self, trial: int, step: int, value: float) -> Decision:
        """See `Decider`."""
        known, result = self._trials[trial], self._result(step, value)
        action = self._ask(self.scheduler.on_trial_result, self._controller, known, result)
        known.run_metadata.last_result = result
        if self._searching is not None and "hyperband_info" in result:
            self._searching.note(trial, result["hyperband_info"])
        if action == TrialScheduler.STOP:
            self._ask(self._controller.stop_trial, known)
            return STOP
        if action == TrialScheduler.PAUSE:
            known.status = Trial.PAUSED
            return PAUSE
        return self._exploit(known) if known.status == Trial.PAUSED else GO_ON

    def resume(self, *, waiting: bool) -> Sequence[int]:
        """See `Decider`."""
        takes_any = type(self.scheduler).choose_trial_to_run is FIFOScheduler.choose_trial_to_run
        if takes_any and not waiting:
            return ()
        self._controller.held = None if waiting else self._another
        resumed: list[int] = []
        while (chosen := self._choose()) is not None:
            chosen.status = Trial.RUNNING
            resumed.append(number_of(chosen))
        self._controller.held = None
        return resumed

    def end(self, trial: int, value: float | None) -> None:
        """See `Decider`."""
        known = self._trials[trial]
        if value is None:
            self._ask(self.scheduler.on_trial_error, self._controller, known)
            known.status = Trial.ERROR
            return
        if self._time_attr not in known.last_result:
            known.run_metadata.last_result = self._result(self._max_resource, value)
        self._ask(self._controller.stop_trial, known)

    def _result(self, step: int, value: float) -> dict[str, Any]:
        return {self._metric: value, "training_iteration": step, self._time_attr: step}

    def _exploit(self, trial: Trial) -> Exploit:
        """The scheduler gave the trial another's checkpoint, and a configuration to go on with."""
        trial.status = Trial.RUNNING
        source: Any = trial.checkpoint
        return Exploit(donor=source.trial, step=source.step, config=dict(trial.config))

    def _choose(self) -> Trial | None:
        chosen = self._ask(self.scheduler.choose_trial_to_run, self._controller)
        return chosen if chosen is not None and chosen.status == Trial.PAUSED else None

    def _ask(self, method: Callable[..., Any], *args: Any) -> Any:
        try:
            with self._randomness.here(), quietly():
                return method(*args)
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise DistmlError(f"{self.name} failed; the search ends: {said}") from error

    def _check(self, proposer: Proposer | None) -> None:
        if isinstance(self.scheduler, ResourceChangingScheduler):
            raise UserError(
                f"{self.name}: trials hold no resources here, units take the CPUs that are idle; "
                f"give the scheduler inside it"
            )
        if not self.side_by_side:
            return
        if getattr(self.scheduler, "_synch", False):
            raise UserError(f"{self.name}(synch=True) is not carried out; give synch=False")
        if proposer is not None and proposer.looks_at_results:
            raise UserError(
                f"{self.name} compares a population that begins at once; give search='random' or "
                "'grid' with it, not a searcher"
            )
        # It would write a file beside a trial that has no folder.
        self.scheduler._log_config = False


def _clock(scheduler: Any) -> str:
    time_attr = str(getattr(scheduler, "_time_attr", "training_iteration"))
    if time_attr in _CLOCKS:
        raise UserError(
            f"{type(scheduler).__name__}(time_attr={time_attr!r}) decides by the clock, so that a "
            "search is another on another machine; give time_attr='training_iteration'"
        )
    return time_attr
