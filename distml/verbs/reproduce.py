"""`distml reproduce RUN`: do a run again from its record, and say whether it comes to the same.

One decision: the reproduction is a run of its own, from the same copy of the job file, with the
same parameters, and with no fit taken from the storage; it is then compared value by value.
"""

import click

from distml.launch.launcher import LaunchRequest, launcher
from distml.runs.record import new_run_id
from distml.runs.store import RunStore
from distml.verbs.finished import finished_run
from distml.verbs.follow import see_through
from distml.verbs.options import run_argument, storage_option
from distml.verbs.verdict import say_verdict

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
    return code or say_verdict(store, request.run_id)
