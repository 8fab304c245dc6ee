"""`distml retrain RUN --data NEW`: the same job on new data, promoted only if it is better.

One decision: the former model is tried on the new data's test sets by the run that retrains, beside
the new model and on the same rows; both scores are read from its record to decide. The margin is
noted there too, so that a retraining that was interrupted is decided by whoever resumes it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from distml.errors import UserError
from distml.launch.launcher import LaunchRequest, launcher
from distml.runs.record import RunRecord, new_run_id
from distml.runs.store import RunStore
from distml.verbs.finished import finished_run
from distml.verbs.follow import see_through
from distml.verbs.options import run_argument, storage_option
from distml.verbs.verdict import say_verdict

__all__ = ["command"]


@click.command("retrain")
@run_argument
@click.option("--data", metavar="NEW", help="The job's parameter `data`: where the new rows are.")
@click.option(
    "--set", "changes", metavar="NAME=VALUE", multiple=True, help="Another parameter of the job."
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    help="How much more the main score has to be.",
)
@click.option("--warm", is_flag=True, help="Start from the former model, if the estimator can.")
@click.option("--on", metavar="LAUNCHER", help="Where to run; where it ran before otherwise.")
@storage_option
def command(
    run: str,
    data: str | None,
    changes: Sequence[str],
    margin: float,
    warm: bool,
    on: str | None,
    storage: str,
) -> int:
    """Run a job again on new data, and promote its model if it is better than RUN's.

    The main score is the first metric on the first test set of the new data. The pointer to the
    promoted model is promoted/JOB.json in the storage.
    """
    store = RunStore(storage)
    former = finished_run(store, run, to="retrain")
    request = LaunchRequest(
        storage=storage,
        run_id=new_run_id(former.job_file),
        again=former.run_id,
        arguments=tuple(_arguments(former, data, changes)),
        options=(f"--against={margin}", "--warm") if warm else (f"--against={margin}",),
    )
    code = see_through(launcher(on or former.launcher), request)
    return code or say_verdict(store, request.run_id)


def _arguments(former: RunRecord, data: str | None, changes: Sequence[str]) -> Iterator[str]:
    """The job's parameters that change, as its command line."""
    if data is None and not changes:
        raise UserError("which data? say distml retrain RUN --data NEW, or --set NAME=VALUE")
    if data is not None and "data" not in former.parameters:
        takes = ", ".join(former.parameters) or "none"
        raise UserError(
            f"the job of {former.run_id} has no parameter data (it takes {takes}); "
            "name its own with --set NAME=VALUE"
        )
    if data is not None:
        yield f"--data={_as_seen_there(former, data)}"
    for change in changes:
        name, equals, value = change.partition("=")
        if not name or not equals:
            raise UserError(f"--set {change}: give NAME=VALUE, such as --set rows=50000")
        yield f"--{name.replace('_', '-')}={value}"


def _as_seen_there(former: RunRecord, data: str) -> str:
    """A path that was given here, for a job that runs in the folder of the former run."""
    is_moved = former.folder not in (None, str(Path.cwd())) and Path(data).exists()
    return str(Path(data).absolute()) if is_moved else data
