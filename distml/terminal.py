"""Records of runs and job files as text, for a terminal of some width."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distml.layout import block, duration, flat, moment, sized, table, worded
from distml.runs.paths import RunPaths
from distml.runs.promotion import descent
from distml.runs.record import RunRecord, RunStatus
from distml.runs.search_words import best_facts, trials_title
from distml.runs.storage import join_uri, shown

if TYPE_CHECKING:
    from distml.jobfile import JobFile
    from distml.parameters import Parameter

__all__ = ["job_help", "outcome_text", "record_text", "runs_text", "scores_text"]

_INDENT = "  "


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
        _section(trials_title(record.details, len(trials)), table(trials, inner)),
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


def _of_one_test(record: RunRecord, test: str, has_others: bool) -> list[dict[str, Any]]:
    """Each model's name and kind, its scores on one test set, then its times and size."""
    laid = []
    for row in record.table:
        if test in row:
            plain = {name: value for name, value in row.items() if not isinstance(value, Mapping)}
            words = {name: value for name, value in plain.items() if isinstance(value, str)}
            if has_others and "predict_s" in plain:
                plain["predict_s, all sets"] = plain.pop("predict_s")
            size = {"size": sized(plain.pop("size_bytes"))} if "size_bytes" in plain else {}
            laid.append({**words, **row[test], **plain, **size})
    return [*laid[:1], *_half_widths(record, test), *laid[1:]]


def _networks(record: RunRecord) -> list[dict[str, Any]]:
    """A row for each network; the memory of one is that of the worker that needed most."""
    laid = []
    for row in record.details.get("networks") or ():
        memory = {"memory": sized(row["peak_bytes"])} if "peak_bytes" in row else {}
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
        "score": None if name is None else f"{worded(scores[name])} {name}",
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
    return f"{parameter.expected}, default {worded(parameter.default) or repr(parameter.default)}"
