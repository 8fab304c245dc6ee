"""Does a job fit a cluster, how long would it take there, and what would that cost?

One decision: whatever machines the cluster may have are gone through, each fleet laid out by the
simulator; the answers for a deadline and for a budget are picked from that one list, so nothing is
said of a fleet that was not laid out. Refusals are in `shortfall`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from distml.errors import UserError
from distml.launch.files.nodes import ClusterShape
from distml.launch.fitting.fleet import Fleet, fleets, num_room
from distml.launch.fitting.shortfall import check_room, more_machines
from distml.launch.fitting.simulate import Constants, Load, Simulated, simulate
from distml.launch.fitting.starts import CONSTANTS, Starts, starts_of
from distml.launch.fitting.work import Bound, Span, Work

__all__ = [
    "Expectation",
    "cheapest_within",
    "expected",
    "fastest_within",
    "fit_check",
    "machines_text",
]

_BOUNDS: tuple[Bound, ...] = ("value", "low", "high")
_LEAST_BILLED_S = 60.0
"""Providers count the first minute of a machine whole."""
_MOST_WORK = 100_000
"""Units laid out for all fleets together; beyond it not every count of machines is looked at."""
_ALL_UP_TO, _STEP = 16, 1.3


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What is expected of one fleet. It is laid out when it is asked, its range only if that is."""

    work: Work
    fleet: Fleet
    starts: Starts
    constants: Constants = CONSTANTS

    @cached_property
    def value_s(self) -> float:
        """Seconds that are expected; infinite where it is not known."""
        return self._laid_out[1] if self.work.is_timed else math.inf

    @cached_property
    def value_cost(self) -> float:
        """US dollars that are expected; infinite where it is not known."""
        cost = self._dollars("value", self.value_s)
        return math.inf if cost is None else cost

    @cached_property
    def seconds(self) -> Span | None:
        """From the submission to the end, machines' start included. `None`: not known."""
        if not self.work.is_timed:
            return None
        low, high = (self._carried_out(bound)[1] for bound in ("low", "high"))
        return Span(self.value_s, low * (1 - self.work.early_share), max(high, self.value_s))

    @cached_property
    def cost(self) -> Span | None:
        """US dollars until the last machine is gone. `None`: not known."""
        if self.seconds is None:
            return None
        value, low, high = (self._dollars(b, self.seconds.at(b)) for b in _BOUNDS)
        if value is None or low is None or high is None:
            return None
        return Span(value, low, high)

    @property
    def at_once(self) -> int:
        """Units that run at the same time at most."""
        return self._laid_out[0].most_at_once

    @property
    def idle_share(self) -> float:
        """Share of the CPUs' time, until the last unit's end, in which they have nothing to do."""
        first = self._laid_out[0]
        cpus = sum(kind.num_cpus * count for kind, count in self.fleet.types())
        return max(0.0, 1 - first.busy_s / (cpus * first.seconds or math.inf))

    def as_json(self) -> dict[str, Any]:
        """For the plan."""
        return {
            "machines": {kind.name: count for kind, count in self.fleet.types()},
            "seconds": None if self.seconds is None else self.seconds.as_json(),
            "cost": None if self.cost is None else self.cost.as_json(),
            "at_once": self.at_once,
            "idle_share": self.idle_share,
        }

    @cached_property
    def _laid_out(self) -> tuple[Simulated, float]:
        return self._carried_out("value")

    def _carried_out(self, bound: Bound) -> tuple[Simulated, float]:
        """The first trial laid out, and the seconds of all from submission to end."""
        work, machines = self.work, self.fleet.machines(self.work, self.starts, bound)
        stages, shared = _bounded(work, self.fleet, bound), work.matrix_bytes.at(bound)
        first = simulate(stages, machines, self.constants, shared_bytes=shared)
        driver = work.driver_s.at(bound) if work.driver_s else 0.0
        total = self._begun(bound) + driver + first.seconds
        if work.trials > 1:
            there = [replace(machine, ready_s=0.0) for machine in machines]
            again = simulate(stages, there, self.constants, shared_bytes=shared).seconds
            num = _num_trials(work, driver + first.seconds, driver + again)
            total += (driver + again) * (num - 1)
        return first, total

    def _begun(self, bound: Bound) -> float:
        """Until the driver's work begins."""
        return self.starts.head_s.at(bound) + self.starts.driver_s.at(bound)

    def _dollars(self, bound: Bound, seconds: float) -> float | None:
        """Until all are gone; those that join later are paid for from when they are asked for."""
        always, later = (self.fleet.price_per_hour(extra=extra) for extra in (False, True))
        if always is None or later is None or math.isinf(seconds):
            return None
        up = max(_LEAST_BILLED_S, seconds + self.starts.down_s)
        later_up = max(_LEAST_BILLED_S, up - self._begun(bound))
        return (always * up + later * later_up) / 3600


def fit_check(
    work: Work,
    shape: ClusterShape,
    *,
    offers: Iterable[ClusterShape] = (),
    constants: Constants = CONSTANTS,
) -> list[Expectation]:
    """Lay a job out over every fleet that a cluster may have.

    Args:
        work: The job.
        shape: The cluster.
        offers: Others that could be used instead; a refusal names them.
        constants: What distml and Ray take beside the work.

    Returns:
        What is expected of each fleet, at least one, the smallest of each kind of machine first.

    Raises:
        UserError: it cannot run there; the message names the shortfall and what would do.
    """
    check_room(work, shape, offers)
    starts = starts_of(shape.provider)
    looked_at = _thinned(list(fleets(work, shape)), work)
    return [
        Expectation(work=work, fleet=fleet, starts=starts, constants=constants)
        for fleet in looked_at
    ]


def expected(found: Sequence[Expectation]) -> Expectation:
    """What the autoscaler would do if nobody limits it: all machines that have something to do.

    Of several kinds of machines it is the cheapest run, or the soonest where prices are not known.
    """
    most = {}
    for each in found:
        most[_extra_name(each.fleet)] = each
    grown = [each for name, each in most.items() if name is not None] or list(most.values())
    return min(grown, key=_dearness)


def cheapest_within(found: Sequence[Expectation], deadline_s: float) -> Expectation:
    """The cheapest fleet that ends before a deadline, by the expected time.

    Raises:
        UserError: none does; the message names the soonest.
    """
    timed = _timed(found, "--deadline")
    within = [each for each in timed if each.value_s <= deadline_s]
    if not within:
        soonest = min(timed, key=lambda each: each.value_s)
        least_s = soonest.value_s
        raise UserError(
            f"no fleet of {soonest.fleet.shape.name} ends within {_hours(deadline_s)}: the soonest "
            f"takes {_hours(least_s)} with {machines_text(soonest.fleet)}; say --deadline "
            f"{math.ceil(least_s / 60)}m, or {more_machines(soonest.fleet.shape)}"
        )
    return min(within, key=_dearness)


def fastest_within(found: Sequence[Expectation], budget: float) -> Expectation:
    """The soonest fleet that costs no more than a budget, by the expected price.

    Raises:
        UserError: none does, or prices are not known; the message names the cheapest.
    """
    priced = [each for each in _timed(found, "--budget") if each.value_cost < math.inf]
    name = found[0].fleet.shape.name
    if not priced:
        raise UserError(
            f"--budget {budget:g}: the prices of {name} are not known; add its machines to the "
            "price table (cluster/prices.csv), or leave --budget out"
        )
    within = [each for each in priced if each.value_cost <= budget]
    if not within:
        least = min(priced, key=lambda each: each.value_cost)
        raise UserError(
            f"no fleet of {name} does it for ${budget:,.2f}: the cheapest costs "
            f"${least.value_cost:,.2f} with {machines_text(least.fleet)} and takes "
            f"{_hours(least.value_s)}; say --budget "
            f"{math.ceil(least.value_cost * 100) / 100:g}"
        )
    return min(within, key=lambda each: (each.value_s, each.value_cost))


def machines_text(fleet: Fleet) -> str:
    """The machines of a fleet in words: `1 head, 4 cpu-spot`."""
    return ", ".join(f"{count} {kind.name}" for kind, count in fleet.types())


def _num_trials(work: Work, first_s: float, each_s: float) -> int:
    """Trials that begin within the time there is for them."""
    if work.time_budget_s is None or work.time_budget_s == math.inf:
        return work.trials
    left = max(0.0, work.time_budget_s - first_s)
    return min(work.trials, 1 + math.ceil(left / max(each_s, 1e-9)))


def _bounded(work: Work, fleet: Fleet, bound: Bound) -> list[list[Load]]:
    """Loads that ask for no more memory than the largest machine has: Ray is asked for no more."""
    kinds = [kind for kind, _ in fleet.types()]

    def bounded(load: Load) -> Load:
        unit = work.kinds[load.name]
        if any(num_room(kind, unit, work, bound) for kind in kinds):
            return load
        return replace(load, memory_bytes=0.0)

    return [[bounded(load) for load in stage] for stage in work.loads(bound)]


def _thinned(all_of: list[Fleet], work: Work) -> list[Fleet]:
    """Every fleet; where that would take seconds, of large ones each a third larger."""
    if len(all_of) * max(1, work.num_units) <= _MOST_WORK:
        return all_of
    steps = {round(_ALL_UP_TO * _STEP**power) for power in range(200)}
    largest: dict[str | None, int] = {}
    for fleet in all_of:
        largest[_extra_name(fleet)] = fleet.num_extra
    return [
        fleet
        for fleet in all_of
        if fleet.num_extra <= _ALL_UP_TO
        or fleet.num_extra in steps
        or fleet.num_extra == largest[_extra_name(fleet)]
    ]


def _extra_name(fleet: Fleet) -> str | None:
    return None if fleet.extra is None else fleet.extra.name


def _timed(found: Sequence[Expectation], option: str) -> list[Expectation]:
    timed = [each for each in found if each.value_s < math.inf]
    if not timed:
        raise UserError(
            f"{option} needs to know how long the job takes, which no sample tells; run it once, "
            "then plan again"
        )
    return timed


def _dearness(each: Expectation) -> tuple[float, float, int]:
    return each.value_cost, each.value_s, each.fleet.num_machines


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02} h"
