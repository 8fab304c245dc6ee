"""What a search over jobs would take: the plan of one trial, times the trials there will be.

One decision: one trial's job is planned as any job is, on samples of its rows; that of the first
configuration that would be proposed. Times add up, also where several run at one time and share the
CPUs; memory is that of those that run at one time. Configurations that cost more or less than the
first are not foreseen. A job whose task is the user's own code has no samples: it is known by its
last run in the storage, or not at all.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distml.job import RunContext
from distml.runs.strict_json import to_json
from distml.tune.former_trial import plan_of_former
from distml.tune.proposers import Listed, make_proposer
from distml.tune.space import Space

if TYPE_CHECKING:
    from distml.tune.task import Tune

__all__ = ["plan_search"]


def plan_search(task: "Tune", context: RunContext) -> dict[str, Any]:
    """Plan one trial, and count them.

    Args:
        task: The search.
        context: Of the run that is planned; nothing is written there.

    Returns:
        The plan of a trial with the time of all, and under `search` how many there are, what each
        takes, and how many of them a time budget leaves room for.

    Raises:
        UserError: a trial's task cannot be planned, or cannot run here.
    """
    proposer = make_proposer(
        task.search,
        Space.of(task.space),
        num_samples=task.num_samples,
        mode=task.mode,
        seed=context.seed,
        metric=task.metric,
    )
    config = proposer.suggest(0) or {}
    job = task.making(config)()
    make_plan = getattr(job.task, "plan", None)
    if callable(make_plan):
        plan: dict[str, Any] = make_plan(replace(context, seed=job.seed, resources=job.resources))
    else:
        plan = plan_of_former(task, config, type(job.task).__name__, context)
    wanted = len(proposer) if isinstance(proposer, Listed) else int(task.num_samples or 0)
    fitting = _fitting(task.time_budget_s, plan["seconds"]["value"])
    trials = wanted if fitting is None else min(wanted, fitting)
    search = {
        "trials": wanted,
        "at_once": task.max_concurrent_trials,
        "each": plan["seconds"],
        "time_budget_s": task.time_budget_s,
        "fitting": fitting,
        "planned": to_json(dict(config)),
    }
    memory = _memory(task.max_concurrent_trials, plan)
    return {**plan, **_times(trials, plan), **memory, "search": search}


def _fitting(budget_s: float | None, each_s: float) -> int | None:
    """Trials that begin within a time budget; `None` without one."""
    return None if budget_s is None else max(1, math.ceil(budget_s / max(each_s, 1e-9)))


def _times(trials: int, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The times of a plan, for so many trials."""
    spans = {name: plan[name] for name in ("seconds", "fits_seconds") if name in plan}
    phases = {name: _multiplied(span, trials) for name, span in plan["phases"].items()}
    return {**{name: _multiplied(span, trials) for name, span in spans.items()}, "phases": phases}


def _memory(at_once: int, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The memory of a plan, where so many processes have as much each."""
    if at_once == 1 or "memory" not in plan:
        return {}
    peak = _multiplied(plan["memory"]["peak_bytes"], at_once)
    return {"memory": {**plan["memory"], "peak_bytes": peak}}


def _multiplied(span: Mapping[str, float], by: int) -> dict[str, float]:
    return {name: by * value for name, value in span.items()}
