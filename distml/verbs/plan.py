"""`distml plan`: what a job would take, before it runs.

One decision: the plan is made by the driver, which alone runs job files; this command reads what it
wrote. A job that cannot run is refused there, in one line, with exit code 2. With `--on`, what the
driver wrote is laid out over the machines of that place, and nothing there is started.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from distml.errors import UserError
from distml.launch.fitting.shapes import shape_of
from distml.layout import block, duration, table
from distml.machine import num_gpus
from distml.runs.store import RunStore
from distml.runs.strict_json import dumps
from distml.verbs.follow import width
from distml.verbs.options import search_arguments, search_options, storage_option
from distml.verbs.plan_place import check_limits, driver_place, expectation_of, place_plan
from distml.verbs.plan_text import (
    LEAST_CPU_SHARE,
    in_order,
    known_from,
    place_text,
    trials_text,
)

__all__ = ["command", "plan_text"]


@click.command(
    "plan",
    context_settings={"ignore_unknown_options": True},
    options_metavar="JOBFILE [OPTIONS] [JOB PARAMETERS]",
)
@click.argument("line", nargs=-1, type=click.UNPROCESSED, metavar="")
@storage_option
@search_options
@click.option("--on", metavar="LAUNCHER", help="Plan for a place: cloud:cluster/aws.yaml, …")
@click.option("--deadline", metavar="TIME", help="Choose the cheapest machines for it: 2h, 90m.")
@click.option("--budget", type=float, metavar="USD", help="Choose the fastest machines for it.")
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Run samples, or take what is stored of the job; with --on, samples only if nothing is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(
    line: tuple[str, ...],
    storage: str,
    on: str | None,
    deadline: str | None,
    budget: float | None,
    measure: bool | None,
    as_json: bool,
    **search: Any,
) -> int:
    """Say what a job would take: fits, memory, time; with --on, on which machines, and the price.

    Runs it on a few small samples of its rows, for about half a minute. Its next run says what was
    predicted beside what it took.
    """
    if not line or line[0].startswith("-"):
        raise UserError("which job? say distml plan JOBFILE, such as distml plan jobs/x.py")
    check_limits(on, deadline, budget)
    shape = None if on is None else shape_of(on, num_gpus=num_gpus())
    sample = {None: "always" if on is None else "needed", True: "always", False: "never"}[measure]
    options = ("--sample", sample, *(("--elsewhere",) if on else ()), *search_arguments(**search))
    with tempfile.TemporaryDirectory(prefix="distml-plan-") as folder:
        path = Path(folder, "plan.json")
        code = subprocess.run(_driver(line, storage, path, options), stdout=sys.stderr).returncode
        if code:
            return code if code > 0 else 128 - code
        plan = json.loads(path.read_text(encoding="utf-8"))
    if on is None or shape is None:
        click.echo(dumps(plan) if as_json else plan_text(plan, width()))
        return 0
    place = place_plan(plan, on, shape, deadline=deadline, budget=budget)
    # Of this machine the plan itself is kept.
    if place["chosen"]["seconds"] is not None and place["provider"] != "here":
        # Only here: it names plans by their content, and loads numpy for that.
        from distml.runs.plans import save_expectation

        there, expectation = driver_place(on), expectation_of(place)
        save_expectation(RunStore(storage).storage, plan["key"], there, expectation)
    click.echo(dumps({**plan, "place": place}) if as_json else place_text(plan, place, width()))
    return 0


def plan_text(plan: Mapping[str, Any], columns: int) -> str:
    """A plan for people: data, fits, memory, time.

    Args:
        plan: As the driver wrote it.
        columns: Width of the terminal.
    """
    sections = [block(dict(_facts(plan)), columns)]
    if plan["members"]:
        some_stored = any(member.get("stored") for member in plan["members"])
        fits = [_fit_row(member, some_stored=some_stored) for member in plan["members"]]
        sections.append(table(fits, columns))
    sections.append(block(dict(_expectations(plan)), columns))
    return "\n\n".join(sections)


def _driver(line: tuple[str, ...], storage: str, path: Path, options: tuple[str, ...]) -> list[str]:
    place = ["--storage", storage, "--run-id", "plan", "--launcher", "plan", "--inline"]
    rest = ["--", *line[1:]] if line[1:] else []
    return [
        sys.executable,
        "-m",
        "distml.driver",
        line[0],
        *place,
        "--plan",
        str(path),
        *options,
        *rest,
    ]


def _facts(plan: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "job", plan["job"]
    # What is known from a run lacks what only samples tell.
    if plan.get("rows"):
        yield "rows", f"{plan['rows']:,}"
    if plan.get("columns"):
        yield "columns", plan["columns"]
    if "table_bytes" in plan:
        sizes = f"{_size(plan['table_bytes'])} in memory, {_size(plan['stored_bytes'])} stored"
        yield "bytes", sizes
    units = sum(plan["stages"])
    if units:
        where = f" on {plan['num_cpus']} CPUs" if "num_cpus" in plan else ""
        yield "fits", f"{units}{where}: {in_order(plan['stages'])}"
        stored = sum(member.get("stored", 0) for member in plan["members"])
        if stored:
            yield "stored", f"{stored} of these fits; they are not done again"
    else:
        yield "fits", "one, in the driver"


def _fit_row(member: Mapping[str, Any], *, some_stored: bool) -> dict[str, Any]:
    return {
        "fit": member["fit"],
        "units": member["units"],
        **({"stored": member["stored"]} if some_stored else {}),
        "rows": f"{member['rows']:,}",
        "each": _time(member["seconds"]),
        "memory": _size(member["peak_bytes"]["value"]),
    }


def _expectations(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if plan["memory"]["peak_bytes"] is not None:
        yield "peak memory", _peak(plan["memory"]["peak_bytes"], plan.get("available_bytes"))
    search = plan.get("search") or plan.get("trials")
    if search:
        yield "trials", trials_text(search)
    yield "time", _time(plan["seconds"])
    phases = {name: span["value"] for name, span in plan["phases"].items() if span["value"] >= 0.1}
    fits = plan.get("fits_seconds")
    shares = {"fits": fits["value"], **phases} if fits and plan["members"] else phases
    yield "of that", ", ".join(f"{name} {duration(value)}" for name, value in shares.items())
    earlier = plan.get("earlier")
    if earlier:
        yield "earlier runs", f"{duration(earlier['seconds'])} ({', '.join(earlier['runs'])})"
    if not plan.get("measured"):
        yield "known from", known_from(plan)
        return
    sizes = ", ".join(f"{sample['rows']:,}" for sample in plan["measured"])
    spent = duration(sum(sample["seconds"] for sample in plan["measured"]))
    yield "measured", f"{sizes} rows in {spent}"
    epochs = plan.get("epochs", {})
    if epochs.get("counted"):
        ends = "; they may stop before, which the range allows for" if epochs["may_stop"] else ""
        yield "networks", f"trained for a few epochs here, and counted to their last{ends}"
    share = plan["measured"][-1]["cpu_share"]
    if share < LEAST_CPU_SHARE:
        yield "beware", f"other work left it {share:.0%} of a CPU meanwhile: the time may be less"


def _peak(peak: Mapping[str, float], there: int | None) -> str:
    words = f"{_size(peak['value'])} ({_size(peak['low'])} to {_size(peak['high'])})"
    if there is None:
        return words
    fits = "fits" if peak["high"] <= there else "may not fit"
    return f"{words}; {fits} into {_size(there)}"


def _time(span: Mapping[str, float]) -> str:
    return f"{duration(span['value'])} ({duration(span['low'])} to {duration(span['high'])})"


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} GiB"
