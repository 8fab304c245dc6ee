"""`distml report RUN` and `distml report A B`: a run, or two beside each other, as one HTML page.

One decision: the page of one run is written into the run's directory, where its other files are; a
page of two runs belongs to neither and goes to a file of the user's. It replaces a former report,
and nothing else.
"""

import tempfile
import webbrowser
from pathlib import Path

import click

from distml.errors import UserError
from distml.report import compare_report, is_report, report_html, write_report
from distml.runs.store import RunStore
from distml.verbs.options import storage_option
from distml.verbs.out_file import write_whole

__all__ = ["command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there.")
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@storage_option
def command(runs: tuple[str, ...], out: Path | None, show: bool, storage: str) -> None:
    """Write the report of a run, or of two beside each other, as one HTML page.

    Of one run it is `report.html` in the run's directory; of two, a file in this one.
    """
    if len(runs) > 2:
        raise UserError(f"report takes one run or two, not {len(runs)}")
    store = RunStore(storage)
    if len(runs) == 2:
        page = compare_report(store, *runs)
        a, b = map(store.resolve, runs)
        where = _write(out or Path(f"{a}-beside-{b}.html"), page)
    elif out is not None:
        page = report_html(store, runs[0])
        where = _write(out, page)
    else:
        where = write_report(store, runs[0])
    click.echo(where)
    if show:
        _open(store, where, runs[0])


def _write(path: Path, page: str) -> str:
    if path.exists() and not is_report(path):
        raise UserError(f"{path} exists and is no report of distml; give another name with --out")
    write_whole(path, page)
    return str(path)


def _open(store: RunStore, where: str, run: str) -> None:
    """Show the page in a browser; one that lies in a remote storage as a copy on this machine."""
    path = Path(where)
    if not path.is_file():
        copy = Path(tempfile.mkdtemp(prefix="distml-")) / "report.html"
        path = Path(_write(copy, report_html(store, run)))
    if not webbrowser.open(path.resolve().as_uri()):
        raise UserError(f"no browser answers here; open {path} in one")
