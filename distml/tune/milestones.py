"""At which steps a scheduler of Ray Tune has something to decide.

One decision: it is read off the scheduler's own state (rungs of its brackets, its interval), so a
trial is not interrupted where the answer would be to go on in any case. The median rule could
decide at every step, and a step is a fit that begins by loading what the last one left: it looks
after its grace period and then every tenth of the way, evenly, since it compares means over a
trial's looks. Of a scheduler that is not known here, it is a twentieth of the way.
"""

import math
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

__all__ = ["next_milestone"]

_LOOKS_OF_MEDIAN = 10


def next_milestone(scheduler: TrialScheduler, trial: Trial, step: int, max_resource: int) -> int:
    """The next step of a trial at which `scheduler` may not let it go on.

    Args:
        scheduler: A scheduler that knows the trial.
        trial: Which.
        step: How far it is.
        max_resource: The last step a trial may reach.
    """
    if isinstance(scheduler, AsyncHyperBandScheduler):
        rungs = [milestone for milestone, _ in scheduler._trial_info[trial.trial_id]._rungs]
        return _first_beyond(step, [*rungs, scheduler._max_t])
    if isinstance(scheduler, HyperBandScheduler):
        return _first_beyond(step, [scheduler._trial_info[trial][0]._cumul_r])
    if isinstance(scheduler, PopulationBasedTraining):
        last = scheduler._trial_state[trial].last_perturbation_time
        interval = scheduler._perturbation_interval
        return _first_beyond(step, [max(last + interval, scheduler._burn_in_period)])
    if isinstance(scheduler, MedianStoppingRule):
        grace = math.ceil(scheduler._grace_period)
        return grace if step < grace else step + math.ceil(max_resource / _LOOKS_OF_MEDIAN)
    return step + max(1, max_resource // 20)


def _first_beyond(step: int, milestones: list[Any]) -> int:
    """The least whole number beyond `step` at which one of the milestones is reached."""
    return min((math.ceil(at) for at in milestones if math.ceil(at) > step), default=step + 1)
