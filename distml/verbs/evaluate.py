"""`distml evaluate`: a saved model on labelled sets, as a run of the job that does it.

One decision: nothing is computed here. What the run found out about the rows having moved is shown
below its scores, the columns that have not being counted only; `evaluation.json` has all of it.
Places are made absolute, so that the run can be resumed from another folder.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import click

from distml.launch.launcher import LaunchRequest, launcher
from distml.layout import table
from distml.runs.paths import RunPaths
from distml.runs.record import new_run_id
from distml.runs.storage import absolute_uri
from distml.runs.store import RunStore
from distml.verbs.follow import see_through, width
from distml.verbs.options import (
    check_option,
    detach_option,
    on_option,
    run_id_option,
    storage_option,
    trust_option,
)

__all__ = ["command", "drift_text", "named"]

_JOB = Path(__file__).parents[1] / "fit" / "scoring_job.py"
_MOST_MOVED = 12
_INDENT = "  "


@click.command("evaluate")
@click.argument("bundle")
@click.argument("data", nargs=-1, required=True)
@click.option("--metric", multiple=True, metavar="SCORER", help="scikit-learn's name; repeatable.")
@click.option("--slice", "slices", multiple=True, metavar="COLUMN", help="Score by value, too.")
@check_option
@trust_option
@on_option
@storage_option
@run_id_option
@detach_option
def command(
    bundle: str,
    data: tuple[str, ...],
    metric: tuple[str, ...],
    slices: tuple[str, ...],
    check: Literal["strict", "warn"],
    trust: bool,
    on: str,
    storage: str,
    run_id: str | None,
    detach: bool,
) -> int:
    """Score the model in the folder BUNDLE on labelled sets.

    DATA is a file, a folder, a glob or a URI, or NAME=DATA. The scores stand beside those of the
    run that made the model, and below them how far rows and predictions have moved since.
    """
    arguments = [f"--bundle={absolute_uri(bundle)}"]
    arguments += [f"--data={name}={uri}" for name, uri in named(data).items()]
    arguments += [f"--metrics={name}" for name in metric]
    arguments += [f"--slices={name}" for name in slices]
    arguments += [f"--check={check}", *(["--trust"] if trust else [])]
    request = LaunchRequest(
        storage=storage,
        run_id=run_id or new_run_id("evaluate"),
        job_file=str(_JOB),
        arguments=tuple(arguments),
        detach=detach,
    )
    code = see_through(launcher(on), request)
    if not code and not detach:
        click.echo(_found(RunStore(storage), request.run_id))
    return code


def named(data: Sequence[str]) -> dict[str, str]:
    """Name each set: as it is given, or after its file or folder.

    Args:
        data: `DATA` or `NAME=DATA`, local paths or URIs.

    Returns:
        Name → absolute path or URI. A name that is taken gets a number.

    Raises:
        Nothing.
    """
    sets: dict[str, str] = {}
    for text in data:
        given = re.fullmatch(r"([\w.-]+)=(.+)", text)
        # A folder of a Hive partition, `day=3`, is a path and no name.
        if given is None or Path(text).exists():
            name, uri = _name_of(text), text
        else:
            name, uri = given.groups()
        sets[_free(name, sets)] = absolute_uri(uri)
    return sets


def drift_text(entry: Mapping[str, Any], columns: int) -> str:
    """What has moved in one set, for people.

    Args:
        entry: The set's entry of `evaluation.json`.
        columns: Width of the terminal.

    Returns:
        A table of the columns that have moved, the farthest first, or one line.

    Raises:
        Nothing.
    """
    if entry.get("drift") is None:
        return "unknown: the bundle has no profile of its training rows"
    rows = [{"of": side[:-1], **row} for side, rows in entry["drift"].items() for row in rows]
    moved = sorted((row for row in rows if row["moved"] != "no"), key=lambda row: -row["psi"])
    shown = table([_row(row) for row in moved[:_MOST_MOVED]], columns)
    return "\n".join(filter(None, [shown, *_counted(len(rows), len(moved))]))


def _found(store: RunStore, run_id: str) -> str:
    evaluation = json.loads(store.storage.read(RunPaths(run_id).evaluation))
    return "\n".join(
        f"moved since training: {name}\n{_indented(drift_text(entry, width() - len(_INDENT)))}"
        for name, entry in evaluation["sets"].items()
    )


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "column": row["column"],
        "of": row["of"],
        "moved": row["moved"],
        "psi": row["psi"],
        "ks": row["ks"],
        "nulls before": row["nulls_before"],
        "nulls now": row["nulls_after"],
    }


def _counted(num_columns: int, num_moved: int) -> Iterator[str]:
    if num_moved > _MOST_MOVED:
        yield f"… {num_moved - _MOST_MOVED} more have moved; evaluation.json has all"
    yield f"{num_columns - num_moved} of {num_columns} columns have not moved"


def _name_of(uri: str) -> str:
    """The last part of a path that is no pattern, without its ending."""
    parts = [part for part in PurePosixPath(uri.partition("?")[0]).parts if "*" not in part]
    name = parts[-1] if parts else uri
    return re.sub(r"[^\w.-]+", "-", re.sub(r"\.(parquet|csv|arrow|feather|ipc)$", "", name))


def _free(name: str, taken: Mapping[str, str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _indented(text: str) -> str:
    return "\n".join(f"{_INDENT}{line}".rstrip() for line in text.splitlines())
