"""What decides whether trials of a search go on: a scheduler of Ray Tune, by name or as it is.

One decision: a name stands for Ray's own scheduler with the search's steps as its clock, so that
`asha` here and `ASHAScheduler` of Ray stop the same trials.
"""

import copy
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from distml.errors import UserError
from distml.tune.domains import as_domains, has_domains
from distml.tune.seeding import integer_seed
from distml.tune.space import Seed, Space
from distml.tune.turns import Decider, NeverStops, Proposer

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

__all__ = ["is_hyperband", "make_decider"]

_NAMES = ("asha", "hyperband", "median", "pbt")


def is_hyperband(scheduler: Any) -> bool:
    """Whether it names or is Ray's HyperBand, which pauses trials until others have come."""
    # If Ray Tune is not loaded, it is none of its schedulers.
    module = sys.modules.get("ray.tune.schedulers")
    is_rays = module is not None and isinstance(scheduler, module.HyperBandScheduler)
    return is_rays or scheduler == "hyperband"


def make_decider(
    scheduler: Any,
    *,
    mode: str,
    metric: str,
    max_resource: int,
    seed: Seed,
    space: Space | None = None,
    proposer: Proposer | None = None,
    min_resource: int = 1,
    reduction_factor: float = 3,
) -> Decider:
    """What `scheduler` names.

    Args:
        scheduler: `asha`, `hyperband`, `median`, `pbt`, a scheduler of Ray Tune, or `None`: every
            trial goes to its end.
        mode: `max` or `min`: which direction of the score is better.
        metric: Name of the score.
        max_resource: The last step a trial may reach.
        seed: Where random draws begin.
        space: What `pbt` perturbs.
        proposer: What proposes the trials.
        min_resource: The first step at which a trial may be stopped.
        reduction_factor: Of so many trials `asha` and `hyperband` let one go on.

    Raises:
        UserError: an unknown name, or a scheduler that does not fit the search.
    """
    if scheduler is None:
        return NeverStops()
    from distml.tune.scheduled import Scheduled

    if not isinstance(scheduler, str):
        made = _given(scheduler)
    elif scheduler not in _NAMES:
        raise UserError(
            f"scheduler={scheduler!r} is not known; give {', '.join(_NAMES)}, None, or a "
            "scheduler of Ray Tune"
        )
    elif scheduler == "pbt":
        made = _pbt(space, max_resource)
    else:
        first = min(min_resource, max_resource)
        budgets = bool(getattr(proposer, "budgets", False))
        made = _halving(scheduler, max_resource, first, reduction_factor, budgets)
    return Scheduled(
        made,
        mode=mode,
        metric=metric,
        max_resource=max_resource,
        seed=integer_seed(seed),
        proposer=proposer,
    )


def _given(scheduler: Any) -> "TrialScheduler":
    from ray.tune.schedulers import TrialScheduler

    if isinstance(scheduler, TrialScheduler):
        # One that has seen the trials of a search would mistake the next one's for them.
        return copy.deepcopy(scheduler)
    raise UserError(
        f"scheduler is {scheduler!r}; give {', '.join(_NAMES)}, None, or a scheduler of Ray Tune"
    )


def _halving(
    name: str, max_resource: int, min_resource: int, reduction_factor: float, budgets: bool
) -> "TrialScheduler":
    from ray.tune.schedulers import (
        ASHAScheduler,
        HyperBandForBOHB,
        HyperBandScheduler,
        MedianStoppingRule,
    )

    if name == "median":
        return MedianStoppingRule(time_attr="training_iteration", grace_period=min_resource)
    if name == "asha":
        return ASHAScheduler(
            max_t=max_resource, grace_period=min_resource, reduction_factor=reduction_factor
        )
    kind = HyperBandForBOHB if budgets else HyperBandScheduler
    return kind(max_t=max_resource, reduction_factor=reduction_factor)


def _pbt(space: Space | None, max_resource: int) -> "TrialScheduler":
    """Population-based training that perturbs whatever varies, and stays within its bounds."""
    from ray.tune.schedulers import PopulationBasedTraining

    spec = {} if space is None else as_domains(space.part, "scheduler='pbt'")
    mutations = {
        # Ray would multiply a choice by 1.2; of a list it takes the neighbour.
        name: list(value.categories) if hasattr(value, "categories") else value
        for name, value in spec.items()
        if has_domains(value)
    }
    if not mutations:
        raise UserError("scheduler='pbt' has nothing to perturb; name parameters in space")
    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=max(1, max_resource // 10),
        hyperparam_mutations=mutations,
        custom_explore_fn=partial(_within, _bounds(mutations)),
    )


def _bounds(mutations: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The least and greatest value of each parameter that has bounds."""
    found = {}
    for name, value in mutations.items():
        lower, upper = getattr(value, "lower", None), getattr(value, "upper", None)
        if lower is not None and upper is not None:
            # An integer domain of Ray ends before its upper bound.
            found[name] = (lower, upper - 1 if type(value).__name__ == "Integer" else upper)
    return found


def _within(bounds: Mapping[str, tuple[Any, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """A perturbed configuration, with no value outside its domain."""
    for name, (lower, upper) in bounds.items():
        config[name] = min(max(config[name], lower), upper)
    return config
