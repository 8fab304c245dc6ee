"""A plan for a place that `--on` names: what fits where, how long it takes, and what it costs.

One decision: it is JSON, `place` of the plan, and all that people are shown is made of it, so that
what they read and what scripts read cannot differ.
"""

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from distml.errors import UserError
from distml.launch.files.nodes import ClusterShape, NodeType
from distml.launch.fitting.fit_check import (
    Expectation,
    cheapest_within,
    expected,
    fastest_within,
    fit_check,
    machines_text,
)
from distml.launch.fitting.fleet import needed_bytes, num_room
from distml.launch.fitting.shapes import offers
from distml.launch.fitting.starts import Starts, starts_of
from distml.launch.fitting.work import Span, UnitKind, Work

__all__ = ["check_limits", "driver_place", "expectation_of", "place_plan", "seconds_of"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_ROWS = 8


def seconds_of(text: str) -> float:
    """A time span as people write it: `2h`, `90m`, `1h30m`.

    Raises:
        UserError: it is none, or is nothing.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.replace(" ", ""))
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text.replace(" ", "") or seconds <= 0:
        raise UserError(f"--deadline {text!r}: give a time span, such as 2h, 90m or 1h30m")
    return seconds


def check_limits(on: str | None, deadline: str | None, budget: float | None) -> None:
    """Refuse limits that make no sense, before anything is measured.

    Raises:
        UserError: they say nothing, or not where.
    """
    if deadline is not None:
        seconds_of(deadline)
    if budget is not None and not 0 < budget < math.inf:
        raise UserError(f"--budget {budget:g}: give US dollars, more than 0")
    if on is None and (deadline is not None or budget is not None):
        option = "--deadline" if deadline is not None else "--budget"
        raise UserError(
            f"{option} chooses machines: say where, such as --on cloud:cluster/aws.yaml"
        )


def place_plan(
    plan: Mapping[str, Any],
    place: str,
    shape: ClusterShape,
    *,
    deadline: str | None = None,
    budget: float | None = None,
) -> dict[str, Any]:
    """What a plan comes to in a place.

    Args:
        plan: As the driver wrote it.
        place: As `--on` names it.
        shape: Its machines.
        deadline: When it has to have ended, as `seconds_of` reads it.
        budget: US dollars that it may cost.

    Returns:
        JSON: `on`, `provider`, `machines`, `units`, `fleets`, `chosen`, `starts`.

    Raises:
        UserError: it cannot run there, or not within the limits.
    """
    work = Work.of(plan)
    try:
        found = fit_check(work, shape)
    except UserError:
        # The same refusal, with what could be used instead: that has to be looked for.
        found = fit_check(work, shape, offers=offers(place))
    usual = expected(found)
    chosen = _chosen(found, deadline, budget) or usual
    starts = starts_of(shape.provider)
    return {
        "on": place,
        "provider": shape.provider,
        "region": shape.region,
        "name": shape.name,
        "deadline_s": None if deadline is None else seconds_of(deadline),
        "budget": budget,
        "machines": [_machine(kind, work) for kind in shape.node_types],
        "units": [_unit(unit, work, shape) for unit in work.asked],
        "fleets": [each.as_json() for each in _shown(found, [usual, chosen])],
        "expected": usual.as_json(),
        "chosen": chosen.as_json(),
        "run": _of_run(chosen).as_json(),
        "machines_text": machines_text(chosen.fleet),
        "limit": _limit(chosen, usual),
        "starts": _starts(starts),
        "driver_bytes": None if work.driver_bytes is None else work.driver_bytes.as_json(),
    }


def expectation_of(place: Mapping[str, Any]) -> dict[str, Any]:
    """What the run there will be held against."""
    run = place["run"]
    return {
        "seconds": run["seconds"],
        "cost": run["cost"],
        "machines": run["machines"],
        "peak_bytes": place["driver_bytes"],
    }


def driver_place(place: str) -> str:
    """A place as the driver of a run there will name it, whole, to find what was expected.

    Args:
        place: As `--on` names it.

    Raises:
        UserError: no cluster of that name was started from here.
    """
    # Only here: none of it is needed for a plan of this machine.
    kind, _, target = place.partition(":")
    if kind == "cloud":
        from distml.launch.clouds.cloud_cluster import path_of

        return f"cloud:{path_of(target)}"
    if kind == "kubernetes":
        from distml.launch.kube.kubeconfig import find_context

        # Without a kubeconfig there can be a plan, though no run.
        with contextlib.suppress(UserError):
            return f"kubernetes:{find_context(target or None)}"
    return place


def _chosen(
    found: Sequence[Expectation], deadline: str | None, budget: float | None
) -> Expectation | None:
    """The fleet that the limits ask for: with both, the cheapest of those within both."""
    if budget is not None:
        fastest = fastest_within(found, budget)
        if deadline is None:
            return fastest
        found = [each for each in found if each.value_cost <= budget]
    return None if deadline is None else cheapest_within(found, seconds_of(deadline))


def _of_run(chosen: Expectation) -> Expectation:
    """The same from when the driver is there and joins Ray: what it can measure itself."""
    starts = replace(
        chosen.starts, head_s=Span(0.0, 0.0, 0.0), driver_s=Span(1.0, 0.3, 3.0), down_s=0.0
    )
    return replace(chosen, starts=starts)


def _shown(found: Sequence[Expectation], always: Sequence[Expectation]) -> list[Expectation]:
    """Some of the fleets: of each kind doubling numbers, and those that are spoken of."""
    kept = [
        each
        for each in found
        if any(each is other for other in always)
        or each.fleet.num_extra & (each.fleet.num_extra - 1) == 0
    ]
    while len(kept) > _MOST_ROWS:
        others = [each for each in kept if not any(each is other for other in always)]
        dearest = max(others, key=lambda each: (each.value_cost, each.value_s))
        kept = [each for each in kept if each is not dearest]
    return kept


def _limit(chosen: Expectation, usual: Expectation) -> str | None:
    """How to have the cluster start the machines that were chosen, and no more."""
    extra, shape = chosen.fleet.extra, chosen.fleet.shape
    if chosen is usual or extra is None or shape.provider in ("running", "here"):
        return None
    return f"max_workers: {chosen.fleet.counts[extra.name]} of {extra.name} in {shape.name}"


def _starts(starts: Starts) -> dict[str, Any]:
    return {
        "head_s": starts.head_s.as_json(),
        "worker_s": starts.worker_s.as_json(),
        "is_assumed": starts.is_assumed,
    }


def _machine(kind: NodeType, work: Work) -> dict[str, Any]:
    return {
        "name": kind.name,
        "instance_type": kind.instance_type,
        "cpus": kind.num_cpus,
        "gpus": kind.num_gpus,
        "memory_bytes": kind.memory_bytes,
        "is_head": kind.is_head,
        "is_spot": kind.is_spot,
        "least": max(kind.min_count, int(kind.is_head)),
        "most": kind.max_count,
        "price_per_hour": kind.price_per_hour,
        "peak_bytes": needed_bytes(kind, work).as_json(),
    }


def _unit(unit: UnitKind, work: Work, shape: ClusterShape) -> dict[str, Any]:
    at_once = {
        kind.name: num_room(kind, unit, work, is_head=kind.is_head and kind.max_count <= 1)
        for kind in shape.node_types
    }
    return {
        "fit": unit.name,
        "units": sum(stage.get(unit.name, 0) for stage in work.stages),
        "seconds": None if unit.seconds is None else unit.seconds.as_json(),
        "memory_bytes": None if unit.memory is None else unit.memory.as_json(),
        "num_workers": unit.num_workers,
        "cpus": unit.cpus,
        "gpus": unit.gpus,
        "at_once": {name: num for name, num in at_once.items() if num},
    }
