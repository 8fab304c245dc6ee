"""`distml predict`: a saved model over sharded data, as a run of the job that does it.

One decision: nothing is computed here; the run has its record, log, progress and resume as any
other. Places are made absolute, so that the run can be resumed from another folder.
"""

from pathlib import Path
from typing import Literal

import click

from distml.launch.launcher import LaunchRequest, launcher
from distml.runs.record import new_run_id
from distml.runs.storage import absolute_uri
from distml.verbs.follow import see_through
from distml.verbs.options import (
    check_option,
    detach_option,
    on_option,
    run_id_option,
    storage_option,
    trust_option,
)

__all__ = ["command"]

_JOB = Path(__file__).parents[1] / "predict" / "job.py"


@click.command("predict")
@click.argument("bundle")
@click.argument("data")
@click.option("--out", required=True, metavar="URI", help="Folder for the predictions.")
@click.option("--keep", multiple=True, metavar="COLUMN", help="Column to put beside; repeatable.")
@click.option("--cpus", type=click.IntRange(min=1), help="Shards at a time; all CPUs otherwise.")
@check_option
@trust_option
@on_option
@storage_option
@run_id_option
@detach_option
def command(
    bundle: str,
    data: str,
    out: str,
    keep: tuple[str, ...],
    cpus: int | None,
    check: Literal["strict", "warn"],
    trust: bool,
    on: str,
    storage: str,
    run_id: str | None,
    detach: bool,
) -> int:
    """Predict every row of DATA with the model in the folder BUNDLE.

    A Parquet file for each shard, with `prediction` and the probability of each class. Killed and
    called again, it does what is missing, to the same bytes.
    """
    places = {"--bundle": bundle, "--data": data, "--out": out}
    arguments = [f"{flag}={absolute_uri(place)}" for flag, place in places.items()]
    arguments += [f"--keep={name}" for name in keep]
    arguments += [f"--check={check}", *(["--trust"] if trust else [])]
    arguments += [f"--cpus={cpus}"] if cpus else []
    request = LaunchRequest(
        storage=storage,
        run_id=run_id or new_run_id("predict"),
        job_file=str(_JOB),
        arguments=tuple(arguments),
        detach=detach,
    )
    code = see_through(launcher(on), request)
    if not code and not detach:
        click.echo(f"predictions  {absolute_uri(out)}")
    return code
