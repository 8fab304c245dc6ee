"""The plan of a job for another place, for people.

One decision: it knows the plan's JSON alone. Whatever is assumed, or known from elsewhere than a
sample, is said so in a line of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from distml.layout import block, duration, table

__all__ = ["LEAST_CPU_SHARE", "in_order", "known_from", "place_text", "trials_text"]

LEAST_CPU_SHARE = 0.75
"""Below this a sample was held up by other work, not by its own reading and writing."""


def place_text(plan: Mapping[str, Any], place: Mapping[str, Any], columns: int) -> str:
    """The plan for people.

    Args:
        plan: As the driver wrote it.
        place: Of `place_plan`.
        columns: Width of the terminal.
    """
    sections = [
        block(dict(_facts(plan, place)), columns),
        table([_unit_row(unit, plan) for unit in place["units"]], columns),
        table([_machine_row(each) for each in place["machines"]], columns),
        table([_fleet_row(each, place) for each in place["fleets"]], columns),
        block(dict(_expectations(plan, place)), columns),
    ]
    return "\n\n".join(filter(None, sections))


def _facts(plan: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "job", plan["job"]
    if plan.get("rows"):
        yield "rows", f"{plan['rows']:,}"
    stages = in_order([sum(stage.values()) for stage in plan["left"] if stage])
    if stages:
        yield "fits", stages
    elif not place["units"]:
        yield "fits", "one, in the driver on the head"
    stored = sum(member.get("stored", 0) for member in plan["members"])
    if stored:
        yield "stored", f"{stored} fits; they are not done again"
    search = plan.get("search")
    if search:
        at_once = search.get("at_once") or 1
        how = "one after another" if at_once == 1 else f"{at_once} at a time"
        yield "trials", f"{search['trials']}, {how}"
    region = "" if not place["region"] else f", {place['region']}"
    yield "where", f"{place['name']} ({place['provider']}{region})"


def in_order(stages: Sequence[int]) -> str:
    """Fits of each stage, in their order; stages of as many are said once: `3 (21 times) then 1`.

    Args:
        stages: How many fits each has.
    """
    runs = [(number, len(list(alike))) for number, alike in groupby(stages)]
    words = [str(number) if times == 1 else f"{number} ({times} times)" for number, times in runs]
    return " then ".join(words)


def trials_text(search: Mapping[str, Any]) -> str:
    """How many trials a search consists of, and how many there is time for.

    Args:
        search: `search` of a plan of a search over jobs, or `trials` of one in a fit.
    """
    at_once = search.get("at_once")
    how = "" if at_once is None else f" {at_once} at one time,"
    how = " one after another," if at_once == 1 else how
    words = f"{search['trials']},{how} each {_time(search['each'])}"
    measured = search.get("measured", search["trials"])
    if measured < search["trials"]:
        words += f", measured on {measured}"
    if search["fitting"] is not None and search["fitting"] < search["trials"]:
        budget = duration(search["time_budget_s"])
        words += f"; about {search['fitting']} of {search['trials']} trials fit into {budget}"
    return words


def _unit_row(unit: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    each = f"{unit['gpus']:g} GPU" if unit["gpus"] else f"{unit['cpus']:g} CPU"
    wants = each if unit["num_workers"] == 1 else f"{unit['num_workers']} times {each}"
    return {
        "fit": unit["fit"],
        "units": unit["units"],
        "each": _time(unit["seconds"]),
        "memory": _size(unit["memory_bytes"]),
        "wants": wants,
        "at once on a machine": ", ".join(f"{num} {name}" for name, num in unit["at_once"].items()),
    }


def _machine_row(machine: Mapping[str, Any]) -> dict[str, Any]:
    there, price = machine["memory_bytes"], machine["price_per_hour"]
    low, high = machine["least"], machine["most"]
    size = "not known" if there is None else f"{there / 2**30:.1f} GiB"
    peak = machine["peak_bytes"]
    beware = "" if there is None or peak["high"] <= there else " (may be too little)"
    kind = machine["instance_type"] or ""
    return {
        "machine": machine["name"] + (" (head)" if machine["is_head"] else ""),
        "type": f"{kind} spot".strip() if machine["is_spot"] else kind,
        "number": str(low) if low == high else f"{low} to {high}",
        "CPUs": f"{machine['cpus']:g}",
        "GPUs": f"{machine['gpus']:g}",
        "peak memory": f"{peak['value'] / 2**30:.1f} of {size}{beware}",
        "an hour": "not known" if price is None else f"${price:.3f}",
    }


def _fleet_row(fleet: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    mark = " ←" if fleet["machines"] == place["chosen"]["machines"] else ""
    return {
        "machines": ", ".join(f"{num} {name}" for name, num in fleet["machines"].items()) + mark,
        "time": _time(fleet["seconds"]),
        "price": _price(fleet["cost"]),
        "units at once": fleet["at_once"],
        "idle": f"{fleet['idle_share']:.0%}",
    }


def _expectations(
    plan: Mapping[str, Any], place: Mapping[str, Any]
) -> Iterator[tuple[str, str | None]]:
    chosen, usual = place["chosen"], place["expected"]
    if place["deadline_s"] is not None:
        yield "deadline", _against(chosen["seconds"], place["deadline_s"], duration)
    if place["budget"] is not None:
        yield "budget", _against(chosen["cost"], place["budget"], _dollars)
    yield "machines", place["machines_text"]
    if chosen["machines"] != usual["machines"]:
        yield "instead of", f"{_fleet_row(usual, place)['machines']}, which it would have otherwise"
    yield "time", _time(chosen["seconds"])
    yield "price", _price(chosen["cost"])
    yield "to have it so", place["limit"]
    if place["starts"]["is_assumed"]:
        worker = place["starts"]["worker_s"]
        words = f"that a machine is there after {_time(worker)}; nobody measured it there"
        yield "assumed", words
    yield "known from", known_from(plan)
    if plan["used"]["what"] == "samples" and plan["measured"][-1]["cpu_share"] < LEAST_CPU_SHARE:
        share = plan["measured"][-1]["cpu_share"]
        yield "beware", f"other work left it {share:.0%} of a CPU meanwhile: the time may be less"


def _against(span: Mapping[str, float] | None, limit: float, say: Callable[[float], Any]) -> str:
    if span is None:
        return f"{say(limit)}: nobody knows"
    if span["high"] <= limit:
        return f"{say(limit)}: kept, at the worst too"
    return f"{say(limit)}: kept as expected, but not at the worst ({say(span['high'])})"


def known_from(plan: Mapping[str, Any]) -> str:
    """What a plan was drawn up from, for people."""
    used = plan["used"]
    if used["what"] == "run":
        instead = "; --measure takes samples instead" if used.get("takes_samples", True) else ""
        return f"run {used['run']}, the last of the same job{instead}"
    if used["what"] == "trial":
        return f"run {used['run']}, the last of the job that is searched"
    if used["what"] == "plan":
        return "its last plan, which is stored; --measure takes samples anew"
    if used["what"] == "nothing":
        return f"what {used['task']} asks for; it takes no samples: run it once to know the time"
    rows = ", ".join(f"{sample['rows']:,}" for sample in plan["measured"])
    spent = duration(sum(sample["seconds"] for sample in plan["measured"]))
    return f"samples of {rows} rows, measured here in {spent}"


def _time(span: Mapping[str, float] | None) -> str:
    if span is None:
        return "not known"
    return f"{duration(span['value'])} ({duration(span['low'])} to {duration(span['high'])})"


def _price(span: Mapping[str, float] | None) -> str:
    if span is None:
        return "not known"
    return f"{_dollars(span['value'])} ({_dollars(span['low'])} to {_dollars(span['high'])})"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}"


def _size(span: Mapping[str, float] | None) -> str:
    if span is None:
        return "not known"
    value = span["value"]
    return f"{value / 2**20:.0f} MiB" if value < 2**30 else f"{value / 2**30:.1f} GiB"
