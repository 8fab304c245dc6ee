"""`distml verify JOB --on A --on B`: does a job come to the same in several places?

One decision: each place runs the job as `distml run` would, at toy size and with no fit of another
run, and leaves a run of its own; what the runs left is then compared with the first, value by
value. So a difference can be looked into with `distml show`, `logs` and `compare`.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from distml import jobfile
from distml.errors import UserError
from distml.launch.launcher import Launcher, LaunchLimits, LaunchRequest, launcher
from distml.layout import duration, table
from distml.runs.record import RunRecord, RunStatus, new_run_id
from distml.runs.sameness import Evidence, Sameness, sameness
from distml.runs.store import RunStore
from distml.verbs.finished import evaluation, golden_predictions
from distml.verbs.follow import INTERRUPTED, see_through, width
from distml.verbs.options import limit_options, storage_option
from distml.verbs.toy import toy_arguments

if TYPE_CHECKING:
    from distml.runs.units import UnitStore

__all__ = ["command"]


@click.command(
    "verify",
    context_settings={"ignore_unknown_options": True},
    options_metavar="JOBFILE [OPTIONS] [JOB PARAMETERS]",
)
@click.argument("line", nargs=-1, type=click.UNPROCESSED, metavar="")
@click.option(
    "--on",
    "places",
    multiple=True,
    default=("debug", "local"),
    metavar="PLACE",
    help="Where to run it, once for each place; debug and local otherwise.",
)
@storage_option
@limit_options
def command(line: tuple[str, ...], places: tuple[str, ...], storage: str, **limits: Any) -> int:
    """Run a job at toy size in several places, and say whether it comes to the same.

    Parameters of it that say size (rows, epochs, trials, rounds) are small unless given. Limits are
    those of each run elsewhere. Exit code 0 if units, values and versions are the same, 1 if any
    differs or a run fails.
    """
    if not line or line[0].startswith("-"):
        raise UserError("which job? say distml verify JOBFILE, such as distml verify jobs/x.py")
    if len(places) < 2:
        raise UserError(f"one place has nothing to agree with: add to --on {places[0]} another")
    toy = toy_arguments(jobfile.load(line[0]), line[1:])
    base = LaunchRequest(
        storage=storage,
        run_id=new_run_id(line[0]),
        job_file=line[0],
        options=("--fresh",),
        arguments=(*line[1:], *toy),
    )
    requests = _requests(base, places, LaunchLimits(**limits))
    click.echo(shlex.join(("verify", line[0], *line[1:], *toy)), err=True)
    code = _run_all(requests)
    if code in (2, INTERRUPTED):
        return code
    store = RunStore(storage)
    return _say([_place(store, place, request.run_id) for place, _, request in requests])


def _requests(
    base: LaunchRequest, places: Sequence[str], limits: LaunchLimits
) -> list[tuple[str, Launcher, LaunchRequest]]:
    """All that will be asked for; a place that cannot is refused before any has begun."""
    asked = []
    for number, place in enumerate(places, start=1):
        run_id = f"{base.run_id}-{number}-{place.partition(':')[0]}"
        there, request = launcher(place), replace(base, run_id=run_id)
        # Where nothing travels it is this machine, which takes no limits.
        if there.plan(request).shipment is not None and limits != LaunchLimits():
            request = replace(request, limits=limits)
            there.plan(request)
        asked.append((place, there, request))
    if all(request.limits != limits for _, _, request in asked):
        raise UserError("--max-hours, --max-cost and --down are for runs elsewhere (--on)")
    return asked


def _run_all(requests: Sequence[tuple[str, Launcher, LaunchRequest]]) -> int:
    """Run in one place after another; the exit code of one that ends all, or 0."""
    for place, there, request in requests:
        click.echo(f"\n{place}:", err=True)
        code = see_through(there, request, say_result=False)
        if code in (2, INTERRUPTED):
            return code
    return 0


def _place(store: RunStore, place: str, run_id: str) -> tuple[dict[str, Any], Evidence | None]:
    """A line of the table as far as it speaks of one place, and what its run left."""
    try:
        record = store.load(run_id)
    except UserError:  # it did not come as far as a record
        return {"place": place, "run": "", "status": "none", "took": None}, None
    row = {"place": place, "run": run_id, "status": record.status, "took": duration(record.seconds)}
    return row, _evidence(store, place, record) if record.status is RunStatus.SUCCEEDED else None


def _evidence(store: RunStore, place: str, record: RunRecord) -> Evidence:
    # Only here: the list of commands imports this module, and shall not wait for NumPy.
    from distml.runs.units import UnitStore

    kept = UnitStore(store.paths(record.run_id).units)
    units = {key: str(kept.meta(key).get("unit", key[:12])) for key in kept.keys()}  # noqa: SIM118
    return Evidence(
        place=place,
        record=record,
        units=units,
        said=dict(_said(kept, units)),
        evaluation=evaluation(store, record.run_id),
        golden=golden_predictions(store, record.run_id),
    )


def _said(kept: "UnitStore", keys: Iterable[str]) -> Iterator[tuple[str, list[Any]]]:
    """Units that are predictions, such as those for the rows of a fold."""
    for key in keys:
        value = kept.get(key)
        value = getattr(value, "value", value)
        if hasattr(value, "tolist"):  # an array, not a fitted model
            yield key, value.tolist()


def _say(places: Sequence[tuple[dict[str, Any], Evidence | None]]) -> int:
    """Print the table and what differs; the exit code."""
    first = next((evidence for _, evidence in places if evidence is not None), None)
    rows, told = [], []
    for row, evidence in places:
        if first is None or evidence is None:
            told.append(f"{row['place']} did not come to an end")
        elif evidence is first:
            row = {**row, **_own(first)}
        else:
            found = sameness(first, evidence)
            row = {**row, **_compared(found)}
            told += [f"{row['place']} differs in {words}" for words in found.told()]
        rows.append(row)
    click.echo("\n" + table(rows, width()))
    if not told and first is not None:
        told.append(f"the same in all {len(places)} places")
        click.echo(f"\n{told[0]}")
        return 0
    click.echo("\n" + "\n".join(told))
    return 1


def _own(first: Evidence) -> dict[str, str]:
    """What the first place has, which the others are held against."""
    return {
        "units": str(len(first.units)),
        "values": "all",
        "origin": "all",
        "environment": f"{len(first.record.versions)} versions",
    }


def _compared(found: Sameness) -> dict[str, str]:
    values = f"{found.values.num_values:,} the same"
    if found.values.largest:
        apart = f"{found.values.largest:.2g} apart"
        values = f"{apart}, {found.tolerance:g} allowed"
    return {
        "units": "differ" if found.units else f"the same{' names' if found.by_name else ''}",
        "values": values,
        "origin": "differs" if found.origin else "the same",
        "environment": "differs" if found.environment else "the same",
    }
