"""`distml reproduce RUN`: do a run again from its record, and say whether it comes to the same.

One decision: the reproduction is a run of its own, from the same copy of the job file, with the
same parameters, and with no fit taken from the storage; it is then compared value by value.
"""

import dataclasses

import click

from distml.launch.launcher import LaunchRequest, launcher
from distml.runs.agreement import agreement
from distml.runs.record import new_run_id
from distml.runs.store import RunStore
from distml.verbs.finished import evaluation, finished_run, golden_predictions
from distml.verbs.follow import see_through
from distml.verbs.options import run_argument, storage_option

__all__ = ["command"]


@click.command("reproduce")
@run_argument
@click.option("--on", metavar="LAUNCHER", help="Where to run; where it ran before otherwise.")
@storage_option
def command(run: str, on: str | None, storage: str) -> int:
    """Do a run again and say whether metrics and predictions agree.

    Exit code 0 if they do, exactly or within rounding, and 1 if they do not.
    """
    store = RunStore(storage)
    former = finished_run(store, run, to="reproduce")
    request = LaunchRequest(
        storage=storage,
        run_id=new_run_id(former.job_file),
        again=former.run_id,
        options=("--fresh",),
    )
    code = see_through(launcher(on or former.launcher), request)
    if code:
        return code
    both = (former.run_id, request.run_id)
    found = agreement(
        former,
        store.load(request.run_id),
        [evaluation(store, run_id) for run_id in both],
        [golden_predictions(store, run_id) for run_id in both],
    )
    told = {**dataclasses.asdict(found), "agrees": found.agrees}
    store.annotate(request.run_id, reproduces=former.run_id, reproduction=told)
    click.echo(f"\n{request.run_id} {found}")
    return 0 if found.agrees else 1
