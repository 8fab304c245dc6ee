"""`distml compare A B`: what differs between two runs, beside their scores.

One decision: this shows what `distml.runs.comparison` finds and decides nothing itself; `--json`
gives all of it. Runs that are not finished are shown as far as they came.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from distml.errors import StorageError
from distml.layout import duration, moment, table
from distml.runs.comparison import Comparison, ScoreDifference, compare
from distml.runs.paths import RunPaths
from distml.runs.record import RunRecord
from distml.runs.store import RunStore
from distml.runs.strict_json import dumps
from distml.verbs.follow import width
from distml.verbs.options import storage_option

__all__ = ["command", "compare_runs", "comparison_text"]

_MOST_LINES_OF_CODE = 40
_INDENT = "  "
_VERDICTS = {
    "better": "better, by more than chance",
    "worse": "worse, by more than chance",
    "within chance": "no different, as far as chance lets one see",
    "equal": "equal",
    "unknown": "",
}


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@storage_option
def command(a: str, b: str, as_json: bool, storage: str) -> None:
    """Show what differs between runs A and B, and whether B's scores differ by more than chance."""
    store = RunStore(storage)
    records = store.load(a), store.load(b)
    comparison = compare_runs(store, *records)
    if as_json:
        click.echo(dumps(comparison.to_json(), indent=2))
    else:
        click.echo(_runs(records, width()) + "\n\n" + comparison_text(comparison, width()))


def compare_runs(store: RunStore, a: RunRecord, b: RunRecord) -> Comparison:
    """Compare two runs with all that their storage knows of them.

    Args:
        store: where they are.
        a: the first.
        b: the second.

    Returns:
        The comparison, with intervals and code where both have them.

    Raises:
        UserError: they predict different things.
        StorageError: the storage refuses, or an evaluation in it is damaged.
    """
    return compare(
        a,
        b,
        _evaluation(store, a.run_id),
        _evaluation(store, b.run_id),
        source_a=_source(store, a.run_id),
        source_b=_source(store, b.run_id),
    )


def comparison_text(comparison: Comparison, columns: int = sys.maxsize) -> str:
    """What a comparison says, for people.

    Args:
        comparison: what was found.
        columns: Width of the terminal.

    Returns:
        Sections: what differs, the code, the scores, notes.

    Raises:
        Nothing.
    """
    inner = columns - len(_INDENT)
    differing = table([_row(d.area, d.name, d.a, d.b) for d in comparison.differences], inner)
    if not comparison.changed:
        differing = "nothing: parameters, code, data, split and versions are the same"
    sections = {
        "what differs": differing,
        "code": _code(comparison.code),
        f"scores, and B less A with its {comparison.level:.0%} interval": table(
            [_score(score) for score in comparison.scores], inner
        ),
        "notes": "\n".join(comparison.notes),
    }
    return "\n\n".join(_section(title, text) for title, text in sections.items() if text)


def _evaluation(store: RunStore, run_id: str) -> Mapping[str, Any] | None:
    path = RunPaths(run_id).evaluation
    try:
        found = json.loads(store.storage.read(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StorageError(f"{path} is damaged ({error}); run the job again") from error
    return found if isinstance(found, Mapping) else None


def _source(store: RunStore, run_id: str) -> str:
    try:
        return store.job_source(run_id)
    except StorageError:
        return ""  # the copy is gone: nothing is said of the code


def _runs(records: tuple[RunRecord, RunRecord], columns: int) -> str:
    rows = [
        {
            "": name,
            "run": record.run_id,
            "status": record.status,
            "started": moment(record.started_at or record.created_at),
            "took": duration(record.seconds),
        }
        for name, record in zip("AB", records, strict=True)
    ]
    return table(rows, columns)


def _row(area: str, name: str, a: Any, b: Any) -> dict[str, Any]:
    return {"what": f"{area} {name}".strip(), "A": _shown(a), "B": _shown(b)}


def _shown(value: Any) -> Any:
    """A missing value is a dash, and an empty one can be seen."""
    return "-" if value is None else repr(value) if value in ("", []) else value


def _code(diff: str) -> str:
    lines = diff.splitlines()
    more = len(lines) - _MOST_LINES_OF_CODE
    shown = lines[:_MOST_LINES_OF_CODE]
    return "\n".join([*shown, f"… {more} more lines; --json has all"] if more > 0 else shown)


def _score(score: ScoreDifference) -> dict[str, Any]:
    low, high = score.interval or (None, None)
    return {
        "test": score.test,
        "score": score.metric,
        "A": score.a,
        "B": score.b,
        "B - A": score.difference,
        "low": low,
        "high": high,
        "B is": _VERDICTS[score.verdict],
    }


def _section(title: str, text: str) -> str:
    return "\n".join([title, *_indented(text)])


def _indented(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield f"{_INDENT}{line}".rstrip()
