"""What a cluster may take, what it has taken, and whether that is enough, as pure functions.

One decision: the cost is added up from what is seen at each look, price by price; a limit counts as
reached one look before it would be passed. A machine of a kind without a price costs as much as the
dearest. This file goes to the heads of clusters and imports nothing of distml.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Plan", "State", "look", "over_cost", "rate", "verdict"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a cluster may take. `None`: no limit."""

    cluster: str
    """Name of the cluster."""
    max_hours: float | None = None
    """Hours from its start."""
    max_cost: float | None = None
    """US dollars."""
    idle_s: float | None = None
    """Seconds without a job."""
    down_after: tuple[str, ...] = ()
    """Jobs with whose end the cluster ends, if nothing else runs."""
    down_s: float = 60.0
    """Seconds it is left after the last of these: to whoever waits, who may end it at once."""
    job_costs: Mapping[str, float] = field(default_factory=dict)
    """Job → US dollars that the cluster may cost from when it is first seen until it ends."""
    prices: Mapping[str, float] = field(default_factory=dict)
    """Node type → US dollars an hour."""
    poll_s: float = 10.0
    """Seconds between two looks."""
    stop_s: float = 45.0
    """Seconds that jobs are given to save their work when the cluster ends."""
    pending_s: float = 1800.0
    """Seconds after which a job that waits for machines keeps the cluster up no more."""
    last_resort: str | None = None
    """A command that ends the head if the provider cannot be asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What was seen of a cluster so far."""

    started_at: float
    """Unix seconds."""
    seen_at: float
    """When it was last looked at, Unix seconds."""
    cost: float = 0.0
    """US dollars from its start until then."""
    rate: float = 0.0
    """US dollars an hour at the last look."""
    nodes: Mapping[str, int] = field(default_factory=dict)
    """Node type → machines at the last look."""
    idle_since: float | None = None
    """Since when no job runs, Unix seconds; `None`: one does."""
    jobs: Mapping[str, str] = field(default_factory=dict)
    """Job → its status at the last look; empty if that could not be asked."""
    pending_since: Mapping[str, float] = field(default_factory=dict)
    """Job that waits for machines → when it was first seen to, Unix seconds."""
    cost_before: Mapping[str, float] = field(default_factory=dict)
    """Job with a limit → what the cluster had cost when it was first seen."""
    ended: str | None = None
    """Why the cluster was ended, or is about to."""
    done: bool = False
    """Whether that has been carried out."""
    pid: int | None = None
    """The process that looks."""


def rate(node_types: Iterable[str], prices: Mapping[str, float]) -> float:
    """US dollars an hour of machines of these types, one entry a machine."""
    dearest = max(prices.values(), default=0.0)
    return sum(prices.get(name, dearest) for name in node_types)


def look(
    plan: Plan,
    state: State,
    now: float,
    node_types: Iterable[str],
    jobs: Mapping[str, str] | None,
) -> State:
    """The state after one look.

    Args:
        plan: What the cluster may take.
        state: The last look.
        now: Unix seconds.
        node_types: One entry for each machine that runs.
        jobs: Job → status; `None`: could not be asked, so none gets on.

    Returns:
        The new state; costs since the last look are those of the more expensive of the two.
    """
    types = tuple(node_types)
    now_rate = rate(types, plan.prices)
    hours = max(0.0, now - state.seen_at) / 3600
    cost = state.cost + hours * max(now_rate, state.rate)
    known = dict(state.jobs if jobs is None else jobs)
    waits = [job for job, status in known.items() if status == "PENDING"]
    pending = {job: state.pending_since.get(job, now) for job in waits}
    busy = jobs is not None and (
        "RUNNING" in jobs.values() or any(now - t < plan.pending_s for t in pending.values())
    )
    before = {job: state.cost_before.get(job, cost) for job in plan.job_costs if job in known}
    return State(
        started_at=state.started_at,
        seen_at=now,
        cost=cost,
        rate=now_rate,
        nodes=dict(Counter(types)),
        idle_since=None if busy else (state.idle_since or now),
        jobs=known,
        pending_since=pending,
        cost_before=before,
        ended=state.ended,
        done=state.done,
        pid=state.pid,
    )


def verdict(plan: Plan, state: State) -> str | None:
    """Why the cluster has to end now; `None`: it may go on.

    Returns:
        The reason as a sentence without its full stop.
    """
    hours = (state.seen_at - state.started_at) / 3600
    step = plan.poll_s / 3600
    if plan.max_hours is not None and hours >= plan.max_hours:
        return f"it has been up for {hours:.2f} of at most {plan.max_hours:g} hours"
    if plan.max_cost is not None and state.cost + step * state.rate >= plan.max_cost:
        return f"it has cost {state.cost:.2f} of at most {plan.max_cost:g} US dollars"
    if state.idle_since is None:
        return None
    idle_s = state.seen_at - state.idle_since
    if plan.down_after and all(_is_final(state.jobs.get(job)) for job in plan.down_after):
        if idle_s >= plan.down_s:
            return f"the run it was started for has ended: {', '.join(plan.down_after)}"
    elif plan.idle_s is not None and idle_s >= plan.idle_s:
        return f"no job has run for {idle_s / 60:.1f} of at most {plan.idle_s / 60:g} minutes"
    return None


def over_cost(plan: Plan, state: State) -> list[str]:
    """Jobs that have to stop because the cluster has cost too much since they began."""
    step = plan.poll_s / 3600 * state.rate
    return [
        job
        for job, most in plan.job_costs.items()
        if _is_active(state.jobs.get(job))
        and state.cost + step - state.cost_before.get(job, state.cost) >= most
    ]


def _is_active(status: str | None) -> bool:
    return status in ("PENDING", "RUNNING")


def _is_final(status: str | None) -> bool:
    return status in ("STOPPED", "SUCCEEDED", "FAILED")
