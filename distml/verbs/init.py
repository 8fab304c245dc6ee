"""`distml init DATA --label Y`: look at a dataset, and write a job file to start from.

One decision: the file is whole or not there, and never in place of another; what was found is
printed, and stands in the file too.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from distml.errors import UserError
from distml.layout import table
from distml.verbs.follow import width
from distml.verbs.job_source import file_stem, job_source
from distml.verbs.out_file import write_whole

if TYPE_CHECKING:
    from distml.data.inspect import Inspection

__all__ = ["command", "findings_text"]

_MOST_FINDINGS = 40
_FATES = {
    "feature": "learnt from",
    "empty": "dropped",
    "constant": "dropped",
    "identifier": "dropped",
    "group": "dropped, but for the split",
    "leak": "dropped: look whether it is known in time",
    "unfit": "dropped",
}


@click.command("init")
@click.argument("data")
@click.option("--label", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="What to make of the label; told by its values otherwise.",
)
@click.option("--out", metavar="FILE", help="Where to write; jobs/DATA_LABEL.py otherwise.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    data: str,
    label: str,
    task: Literal["classification", "regression"] | None,
    out: str | None,
    force: bool,
) -> None:
    """Look at DATA and write a job file to start from, which runs as it is.

    DATA is a file or folder of Parquet, Arrow or CSV, a glob in quotes, or a URI.
    """
    path = Path(out or f"jobs/{file_stem(data, label)}.py")
    _check_named(data)
    # Here and not above: `distml --help` asks every command for its help.
    from distml.data.dataset import ShardedDataset
    from distml.data.inspect import check_label, inspect

    dataset = ShardedDataset.open(data)
    check_label(dataset, label)  # before the file, whose name may come of a mistyped label
    _check_free(path, force=force)
    found = inspect(dataset, label, task)
    with contextlib.suppress(OSError):  # which is said of the file
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, job_source(found, data=data, path=str(path)))
    click.echo(findings_text(found, width()))
    click.echo(f"\nwrote {path}\nrun it: distml run {path}")


def findings_text(found: "Inspection", columns: int) -> str:
    """What was found, in a few lines and a table.

    Args:
        found: what the data holds.
        columns: Width of the terminal.

    Returns:
        The label, and every column that is not simply learnt from.

    Raises:
        Nothing.
    """
    rows = [_row(column) for column in found.columns if column.note]
    more = len(rows) - _MOST_FINDINGS
    plain = len(found.columns) - len(rows)
    sections = [
        "\n".join(_summary(found)),
        table(rows[:_MOST_FINDINGS], columns),
        f"… {more} more columns, named in the file" if more > 0 else "",
        _about_plain(plain, bool(rows)),
    ]
    return "\n\n".join(filter(None, sections))


def _about_plain(number: int, others: bool) -> str:
    if not number:
        return ""
    words = (
        "column is learnt from as it is" if number == 1 else "columns are learnt from as they are"
    )
    return f"{number} {'other ' if others else ''}{words}"


def _summary(found: "Inspection") -> Iterator[str]:
    label = found.label
    yield f"{found.num_rows:,} rows, {len(found.columns) + 1} columns" + (
        f"; columns judged by {found.num_sampled:,} rows"
        if found.num_sampled < found.num_rows - label.num_unusable
        else ""
    )
    if label.classes:
        even = f"; uneven, the rarest has {label.least_share:.2%}" if label.is_imbalanced else ""
        yield f"{label.task} of {label.name!r}: {len(label.classes)} classes{even}"
    else:
        yield f"{label.task} of {label.name!r}: {label.num_values:,} different numbers"
    if label.num_unusable:
        yield f"rows without a label, left out: {label.num_unusable:,}"
    if label.rare:
        yield f"classes with too few rows, left out: {len(label.rare)}"
    if by := [name for name in (found.split.time, found.split.group) if name is not None]:
        yield f"tested by {' and '.join(map(repr, by))}"


def _row(column: Any) -> dict[str, Any]:
    return {
        "column": column.name if column.name.strip() else repr(column.name),
        "type": column.type,
        "nulls": column.nulls,
        "values": column.distinct,
        "found": column.note,
        "so it is": _FATES[column.role],
    }


def _check_free(path: Path, *, force: bool) -> None:
    if path.is_dir() or path.suffix != ".py":
        raise UserError(f"--out {path}: give the name of a file that ends in .py")
    if path.exists() and not force:
        raise UserError(f"{path} exists; give another name with --out, or --force to replace it")


def _check_named(data: str) -> None:
    """A file whose name says no format is told apart from one that is not there."""
    if not Path(data).is_file():
        return
    from pyarrow.fs import LocalFileSystem

    from distml.data.footer import format_of, sniff

    if format_of(Path(data).name) is None and sniff(LocalFileSystem(), data) is None:
        raise UserError(f"{data}: its name says no format; give it the ending .csv or .parquet")
