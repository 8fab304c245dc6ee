"""A plan read off a run that was done: its units, stages, phases and memory, as they were measured.

One decision: it has the form of a plan that samples were measured for, so whoever reads plans need
not know which it is; a run of the same job and parameters is the better witness of the two. What a
run found in the store counts as it took when it was fitted.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distml.runs.events import Event
from distml.runs.record import RunRecord

__all__ = ["plan_from_run"]

_SPREAD = 1.15
"""The same run, done again, takes up to this much more or less."""

Span = dict[str, float]


@dataclass(slots=True)
class _Fit:
    """What one unit took."""

    kind: str
    rows: int
    stage: int
    seconds: float
    peak_bytes: float
    workers: Mapping[str, Any] | None


@dataclass(slots=True)
class _Reading:
    """Events of one attempt, taken down in their order."""

    fits: list[_Fit] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Phase → seconds in which no unit ran."""
    start_s: float = 0.0
    """Until Ray was there."""
    stage: int = 0
    planned: int = 0
    fresh: bool = False
    """Whether the stage has units that were fitted in this run."""
    phase: str = ""
    since: float | None = None
    """When the phase was last seen without a unit; `None` while units run."""
    running: dict[str, tuple[int, Any]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Hear one event."""
        handler = getattr(self, f"_{event['kind']}", None)
        if handler is not None:
            handler(event)

    def _attempt(self, event: Event) -> None:
        # What an attempt before this one left half-done is done again.
        self.running, self.since, self.phase = {}, event["t"], ""

    def _phase(self, event: Event) -> None:
        self._count(event["t"])
        self.phase, self.since = event["name"], event["t"]

    def _plan(self, event: Event) -> None:
        if not self.fits and not self.planned and self.since is not None:
            self.start_s += event["t"] - self.since
            self.since = event["t"]
        if self.planned and self.planned == len(self.fits) and self.fresh:
            self.stage, self.fresh = self.stage + 1, False
        self.planned += event["units"]

    def _unit_started(self, event: Event) -> None:
        self._count(event["t"])
        self.since = None
        self.running[event["unit"]] = (event.get("cpus") or 1, event.get("workers"))

    def _unit_done(self, event: Event) -> None:
        cpus, workers = self.running.pop(event["unit"], (1, None))
        if not self.running and self.since is None:
            self.since = event["t"]
        self.fresh = self.fresh or not event.get("cached")
        self.fits.append(
            _Fit(
                kind=re.sub(r"\d+", "#", event["unit"]),
                rows=event.get("rows", 0),
                stage=self.stage,
                # Threads of one unit share its work; workers of its own are told apart.
                seconds=event["seconds"] * (1 if workers else cpus),
                peak_bytes=float(event.get("peak_bytes") or 0),
                workers=workers,
            )
        )

    def _count(self, now: float) -> None:
        if self.phase and self.since is not None:
            self.phases[self.phase] += max(0.0, now - self.since)
            self.since = now

    def end(self, now: float) -> None:
        """The run ended then."""
        self._count(now)


def plan_from_run(record: RunRecord, events: Iterable[Event]) -> dict[str, Any]:
    """What a run would take that is the same as this one.

    Args:
        record: Of a run that succeeded.
        events: Its events.

    Returns:
        A plan as JSON: see `distml.fit.planning.plan_fit`; what only samples tell is left out.
    """
    reading = _Reading()
    for event in events:
        reading.take(event)
    reading.end(record.attempts[-1].finished_at or reading.since or 0.0)
    counts = record.details.get("rows")
    train = counts.get("train", 0) if isinstance(counts, Mapping) else 0
    kinds = Counter(fit.kind for fit in reading.fits)
    phases = {name: _span(seconds) for name, seconds in reading.phases.items()}
    return {
        "rows": sum(counts.values()) if isinstance(counts, Mapping) else None,
        "columns": len(record.details.get("features", ())) or None,
        "members": [_member(kind, reading.fits) for kind in kinds],
        "stages": [sum(stage.values()) for stage in _stages(reading.fits)],
        "left": [dict(stage) for stage in _stages(reading.fits)],
        "workers": record.details.get("workers"),
        "workers_measured": record.launcher != "debug",  # which trains without them
        "phases": phases,
        "start_seconds": _span(reading.start_s),
        "seconds": _span(record.seconds or 0.0),
        "early_share": 0.0,
        "memory": {
            "peak_bytes": _of_run(record, "peak_bytes"),
            "driver_bytes": _of_run(record, "peak_bytes"),
            "matrix_bytes": _span(8.0 * train * len(record.details.get("matrix", ()))),
            "process_bytes": None,
        },
    }


def _member(kind: str, fits: Sequence[_Fit]) -> dict[str, Any]:
    alike = [fit for fit in fits if fit.kind == kind]
    seconds, peaks = [fit.seconds for fit in alike], [fit.peak_bytes for fit in alike]
    return {
        "fit": kind,
        "units": len(alike),
        "stored": 0,
        "rows": round(_mean([fit.rows for fit in alike])),
        "seconds": _between(_mean(seconds), min(seconds), max(seconds)),
        # A worker that has grown before shows no further peak.
        "peak_bytes": _between(max(peaks), min(peaks), max(peaks)),
        "workers": alike[-1].workers,
    }


def _stages(fits: Sequence[_Fit]) -> list[Counter[str]]:
    stages: dict[int, Counter[str]] = defaultdict(Counter)
    for fit in fits:
        stages[fit.stage][fit.kind] += 1
    return [stages[stage] for stage in sorted(stages)]


def _of_run(record: RunRecord, what: str) -> Span | None:
    """What the run was seen to take; nobody looks at runs that no plan was made for."""
    actual = record.details.get("actual", {}).get(what)
    return _span(actual) if actual else None


def _span(value: float) -> Span:
    return _between(value, value, value)


def _between(value: float, low: float, high: float) -> Span:
    return {"value": value, "low": low / _SPREAD, "high": high * _SPREAD}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
