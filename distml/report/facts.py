"""What else is to be known of a run: its data, where it ran, with which versions, how to load it.

The one decision: facts are pairs of name and text, so one template lays all of them out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distml.foreseen import foreseen_rows
from distml.layout import duration, flat, moment
from distml.report.content import Content
from distml.report.numbers import figure, size
from distml.runs.progress import describe, progress_of
from distml.runs.record import RunRecord, RunStatus
from distml.runs.search_words import standing as trials_done
from distml.runs.storage import join_uri
from distml.runs.training import whereabouts

__all__ = ["Facts", "environment", "loading", "overview", "standing"]

Facts = dict[str, str]
"""Name → text."""

_ELSEWHERE = ("rows", "intervals", "networks", "search", "predicted", "actual")
"""Details that other sections show."""

_LONG = 12
"""Entries of a list that are shown at once; longer ones can be unfolded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Where and with what a run ran."""

    parameters: Facts
    """The job's arguments."""
    machine: Facts
    """Host, resources, code."""
    versions: Facts
    """Libraries."""
    foreseen: tuple[Facts, ...]
    """What a plan has foreseen beside what it took, a row a figure."""
    attempts: tuple[Facts, ...]
    """A row an attempt."""
    details: Facts
    """What the task noted."""
    lists: Mapping[str, tuple[str, ...]]
    """What it noted that is long."""


def overview(content: Content) -> Facts:
    """What somebody wants to know first."""
    record, data = content.record, content.evaluation.get("data") or {}
    rows = data.get("rows") or record.details.get("rows")
    return _known(
        {
            "started": moment(record.started_at),
            "took": duration(record.seconds),
            "rows": _rows(rows),
            "label": content.label if content.evaluation else None,
            "seed": record.seed,
            "launcher": record.launcher,
            "host": record.host.get("name"),
            "commit": _commit(record),
        }
    )


def standing(content: Content) -> list[str]:
    """What is to be said of a run that has not succeeded; of one that has, what came of it."""
    record = content.record
    if record.status is RunStatus.SUCCEEDED:
        return [*_verdict(record), *content.remarks]
    said = [f"This run is {record.status}{f': {record.reason}' if record.reason else ''}."]
    progress = progress_of(content.events)
    if progress.total or progress.phase or progress.search:
        last = float(content.events[-1]["t"]) if content.events else 0.0
        done = f"{progress.cached + progress.done} of {progress.total} fits done"
        if progress.search is not None:
            done = trials_done(progress.search)
        elif progress.training is not None and not progress.total:
            done = whereabouts(progress.training)
        known = describe(progress, last) if record.status is RunStatus.RUNNING else done
        phase = f"{progress.phase}: " if progress.phase and known is done else ""
        said.append(f"It got as far as {phase}{known}.")
    if record.status.is_final:
        said.append(f"Go on with: distml resume {record.run_id}")
    return [*said, "What there is so far is below.", *content.remarks]


def _verdict(record: RunRecord) -> Iterator[str]:
    """What came of a reproduction or a retraining."""
    for what in ("reproduction", "retraining"):
        told = record.details.get(what)
        if isinstance(told, Mapping) and told.get("said"):
            former = record.details.get("parent", {}).get("run")
            yield f"This is a {what} of {former}: {told['said']}."


def loading(content: Content) -> str | None:
    """Code that loads the model and predicts; `None` while no model is saved."""
    bundle = content.record.artifacts.get("bundle")
    if bundle is None:
        return None
    where = join_uri(content.paths.root, str(bundle["path"]))
    trust = ", trust=True" if content.record.details.get("pickled") else ""
    return f"import distml\n\nmodel = distml.load({where!r}{trust})\nmodel.predict(table)\n"


def environment(content: Content) -> Environment:
    """Where and with what the run ran."""
    record = content.record
    plain, long = _split(record.details)
    return Environment(
        parameters=_known(record.parameters),
        machine=_known(
            {
                "job file": record.job_file,
                "folder": record.folder,
                "commit": _commit(record),
                "launcher": record.launcher,
                "host": record.host.get("name"),
                "CPUs": record.host.get("cpus"),
                "memory": _size(record.host.get("memory_bytes")),
                "platform": record.host.get("platform"),
                **{f"may use {n}": v for n, v in flat(record.resources).items()},
            }
        ),
        versions=_known(record.versions),
        foreseen=tuple(foreseen_rows(record)),
        attempts=tuple(_attempts(record)),
        details=plain,
        lists=long,
    )


def _rows(rows: Any) -> str | None:
    """Rows by part as the tasks here note them, or whatever another task calls its rows."""
    if isinstance(rows, Mapping):
        return ", ".join(f"{figure(n)} {part}" for part, n in rows.items())
    return None if rows is None else figure(rows)


def _attempts(record: RunRecord) -> list[Facts]:
    return [
        {
            "attempt": str(number),
            "started": moment(one.started_at) or "",
            "took": duration(one.finished_at and one.finished_at - one.started_at) or "",
            "where": one.launcher,
            "host": one.host,
            "status": str(one.status),
            "reason": one.reason or "",
        }
        for number, one in enumerate(record.attempts, 1)
    ]


def _split(details: Mapping[str, Any]) -> tuple[Facts, dict[str, tuple[str, ...]]]:
    """Details that fit a line, and long lists."""
    plain: Facts = {}
    long: dict[str, tuple[str, ...]] = {}
    rest = {name: value for name, value in details.items() if name not in _ELSEWHERE}
    for name, value in flat(rest).items():
        if not isinstance(value, list | tuple):
            plain.update(_known({name: value}))
        elif any(isinstance(one, Mapping) for one in value):
            plain.update({f"{name} {n}": _words(one) for n, one in enumerate(value, 1)})
        elif len(value) > _LONG:
            long[name] = tuple(map(figure, value))
        else:
            plain[name] = _words(value)
    return plain, long


def _words(value: Any) -> str:
    if not isinstance(value, Mapping):
        return figure(value)
    known = {name: one for name, one in flat(value).items() if one is not None}
    return ", ".join(f"{name} {_words(one)}" for name, one in known.items())


def _known(facts: Mapping[str, Any]) -> Facts:
    shown = {name: figure(value) for name, value in flat(facts).items() if value is not None}
    return {name: text for name, text in shown.items() if text}


def _size(num_bytes: float | None) -> str | None:
    return None if num_bytes is None else size(num_bytes)


def _commit(record: RunRecord) -> str | None:
    git = record.git or {}
    if not git.get("commit"):
        return None
    return f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}"
