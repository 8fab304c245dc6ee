"""Records of runs as text: tables and blocks that fit the width of a terminal.

One decision: what does not fit is never cut. A table wider than the terminal becomes one block a
row, so that every figure can be read on forty columns too.
"""

import datetime
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distml.runs.paths import RunPaths
from distml.runs.promotion import descent
from distml.runs.record import RunRecord, RunStatus
from distml.runs.searches import best_facts
from distml.runs.storage import join_uri, shown

if TYPE_CHECKING:
    from distml.jobfile import JobFile
    from distml.parameters import Parameter

__all__ = [
    "block",
    "duration",
    "flat",
    "job_help",
    "moment",
    "outcome_text",
    "record_text",
    "runs_text",
    "scores_text",
    "table",
]

_GAP = "  "
_INDENT = "  "
_BREAKS = (r".+", r"[^ ]+ *", r"[^ _]+[ _]*")
"""Parts of a column's name that stay together, the longest first."""


def runs_text(records: Sequence[RunRecord], width: int) -> str:
    """A line for each run, with the first of its scores."""
    return table([_run_row(record) for record in records], width)


def record_text(
    record: RunRecord, paths: RunPaths, width: int, trials: Sequence[Mapping[str, Any]] = ()
) -> str:
    """All that somebody asks of one run; `trials` where the result table does not have them."""
    facts = {
        "run": record.run_id,
        "status": record.status,
        "reason": record.reason,
        "job": record.job_file,
        "folder": record.folder,
        "launcher": record.launcher,
        "started": moment(record.started_at),
        "took": duration(record.seconds),
        "attempts": len(record.attempts),
        "seed": record.seed,
        "commit": _commit(record.git),
        "host": record.host.get("name"),
        "where": shown(paths.root),
    }
    inner = width - len(_INDENT)
    again, origin = descent(record.details)
    sections = [
        block(facts, width),
        _section("parameters", block(record.parameters, inner)),
        _section(again, block(origin, inner)),
        scores_text(record, width),
        _section("best configuration", block(best_facts(record.details), inner)),
        _section("trials", table(trials, inner)),
        _section("networks", table(_networks(record), inner)),
        _section("artifacts", block(_artifacts(record, paths), inner)),
        _section("versions", block(record.versions, inner)),
    ]
    return "\n\n".join(filter(None, sections))


def outcome_text(
    record: RunRecord, paths: RunPaths, width: int, *, has_report: bool = False
) -> str:
    """What somebody who waited for a run wants to see."""
    if record.status is not RunStatus.SUCCEEDED:
        words = f"run {record.run_id} {record.status}: {record.reason}"
        return f"{words}\ngo on with: distml resume {record.run_id}"
    where = {"run": shown(paths.root), **_artifacts(record, paths)}
    if has_report:
        where["report"] = shown(paths.report)
    sections = [
        scores_text(record, width),
        _section("best configuration", block(best_facts(record.details), width - len(_INDENT))),
        f"{record.status} in {duration(record.seconds)}\n{block(where, width)}",
    ]
    return "\n\n".join(filter(None, sections))


def scores_text(record: RunRecord, width: int) -> str:
    """The result table: one for each test set, since side by side they are too wide to compare."""
    rows, inner = record.table, width - len(_INDENT)
    cells = (cell for row in rows for cell in row.items())
    tests = dict.fromkeys(name for name, value in cells if isinstance(value, Mapping))
    if not tests:
        return _section("scores", table(rows, inner) or block(flat(record.metrics), inner))
    of_each = [(test, _of_one_test(record, test, len(tests) > 1)) for test in tests]
    return "\n\n".join(_section(test, table(rows, inner)) for test, rows in of_each)


def job_help(job: "JobFile", width: int) -> str:
    """A job's own words and its parameters."""
    lines = [job.description, "", f"Parameters of {job.path}:"]
    for parameter in job.parameters:
        lines.append(f"  {parameter.flag}  {_default(parameter)}")
        told = textwrap.wrap(parameter.help, max(20, min(width, 100) - 6))
        lines += [f"      {line}" for line in told]
    return "\n".join(lines).strip()


def table(rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """Lay rows out under the names of their columns, or as blocks where that is too wide.

    Args:
        rows: Column → value, in the order to show; a missing value is left blank.
        width: Columns of the terminal. Names of columns are broken if that helps.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [[row.get(name) for row in rows] for name in names]
    for breaks in _BREAKS:
        laid = [_column(name, values, breaks) for name, values in zip(names, columns, strict=True)]
        lines = [_GAP.join(cells).rstrip() for cells in zip(*_level(laid), strict=True)]
        if max(map(len, lines), default=0) <= width:
            return "\n".join(lines)
    return "\n\n".join(block(row, width) for row in rows)


def block(entries: Mapping[str, Any], width: int) -> str:
    """Lay one row out as `name  value` lines; a value that is too long goes below its name."""
    shown = {name: _text(value) for name, value in entries.items() if value is not None}
    size = max(map(len, shown), default=0)
    if any(size + len(_GAP) + len(text) > width for text in shown.values()):
        size = 0
    return "\n".join(f"{name.ljust(size)}{_GAP}{text}".rstrip() for name, text in shown.items())


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join the names of nested mappings: `{"test": {"roc_auc": 0.7}}` → `{"test roc_auc": 0.7}`."""
    return dict(_flat(values, prefix))


def moment(unix_s: float | None) -> str | None:
    """A moment in local time, to the second."""
    if unix_s is None:
        return None
    return datetime.datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str | None:
    """A time span in the unit people would say it in."""
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def _column(name: str, values: Sequence[Any], breaks: str) -> tuple[list[str], list[str]]:
    """A column's head and cells, all of one width; numbers stand to the right."""
    cells = [_text(value) for value in values]
    head = _broken(name, breaks, max(map(len, cells)))
    size = max(map(len, (*head, *cells)))
    if any(_is_number(value) for value in values):
        return [line.rjust(size) for line in head], [cell.rjust(size) for cell in cells]
    return [line.ljust(size) for line in head], [cell.ljust(size) for cell in cells]


def _level(columns: Sequence[tuple[list[str], list[str]]]) -> list[list[str]]:
    """Columns with heads of one height, each on its cells."""
    height = max((len(head) for head, _ in columns), default=0)
    return [[" " * len(head[0])] * (height - len(head)) + head + cells for head, cells in columns]


def _broken(name: str, breaks: str, room: int) -> list[str]:
    """A name in lines of at most `room`, or of one of its parts where that is longer."""
    lines = [""]
    for part in re.findall(breaks, name):
        if lines[-1] and len((lines[-1] + part).rstrip()) > room:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _of_one_test(record: RunRecord, test: str, has_others: bool) -> list[dict[str, Any]]:
    """Each model's name and kind, its scores on one test set, then its times and size."""
    laid = []
    for row in record.table:
        if test in row:
            plain = {name: value for name, value in row.items() if not isinstance(value, Mapping)}
            words = {name: value for name, value in plain.items() if isinstance(value, str)}
            if has_others and "predict_s" in plain:
                plain["predict_s, all sets"] = plain.pop("predict_s")
            size = {"size": _size(plain.pop("size_bytes"))} if "size_bytes" in plain else {}
            laid.append({**words, **row[test], **plain, **size})
    return [*laid[:1], *_half_widths(record, test), *laid[1:]]


def _networks(record: RunRecord) -> list[dict[str, Any]]:
    """A row for each network; the memory of one is that of the worker that needed most."""
    laid = []
    for row in record.details.get("networks") or ():
        memory = {"memory": _size(row["peak_bytes"])} if "peak_bytes" in row else {}
        laid.append({**{n: v for n, v in row.items() if n != "peak_bytes"}, **memory})
    return laid


def _half_widths(record: RunRecord, test: str) -> list[dict[str, Any]]:
    """The line below the first model: how far its scores may be off by chance."""
    halves = {
        name: (interval["high"] - interval["low"]) / 2
        for name, interval in record.details.get("intervals", {}).get(test, {}).items()
        if interval["low"] is not None
    }
    return [{"model": "±", "kind": "95 %", **halves}] if halves else []


def _run_row(record: RunRecord) -> dict[str, Any]:
    scores = flat(record.metrics)
    name = next(iter(scores), None)
    return {
        "run": record.run_id,
        "status": record.status,
        "started": moment(record.started_at or record.created_at),
        "took": duration(record.seconds),
        "score": None if name is None else f"{_text(scores[name])} {name}",
        "reason": record.reason,
    }


def _artifacts(record: RunRecord, paths: RunPaths) -> dict[str, str | None]:
    root = shown(paths.root)
    places = {name: join_uri(root, item["path"]) for name, item in record.artifacts.items()}
    return {**places, "pickled": record.details.get("pickled")}


def _commit(git: Mapping[str, Any] | None) -> str | None:
    if not git or not git.get("commit"):
        return None
    return f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}"


def _section(title: str, text: str) -> str:
    return f"{title}\n{textwrap.indent(text, _INDENT)}" if text else ""


def _default(parameter: "Parameter") -> str:
    if parameter.required:
        return f"{parameter.expected}, required"
    return f"{parameter.expected}, default {_text(parameter.default) or repr(parameter.default)}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{prefix} {name}".strip()
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return " ".join(str(value).split())


def _size(num_bytes: float | None) -> str | None:
    """Bytes in the unit people would say them in."""
    if num_bytes is None:
        return None
    for unit in ("B", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} GB"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: float) -> str:
    size = abs(value)
    if size >= 10:
        return f"{value:,.2f}"
    return f"{value:.4f}" if size >= 0.001 or size == 0 else f"{value:.3g}"
