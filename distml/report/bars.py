"""Bars of a timeline, from the events of one attempt: phases, fits of units, epochs of a network.

The one decision: the epochs of a network are drawn on each worker that it is trained on, from the
event in which the worker says that it is there, so the timeline shows when their number changed. A
network in a unit is a part of that unit's bar.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from distml.report.numbers import figure, size, took
from distml.runs.events import Event

__all__ = ["Bar", "epochs", "fits", "outside_units", "phases"]

_TRAINING = "training"
"""What epochs are coloured by."""

_HERE = "driver"
"""The worker of a network that has none of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """Something that took time."""

    name: str
    """What to say when pointed at."""
    group: str
    """What it is coloured by."""
    handed_s: float
    """When it was handed out, in seconds after the attempt began."""
    start_s: float
    """When the work began."""
    end_s: float
    """When it was over."""
    state: str = "done"
    """`done`, `failed`, `again` (it was tried again) or `open` (nobody heard of its end)."""


def phases(events: Sequence[Event], zero: float, span_s: float) -> Iterator[Bar]:
    """What the run was doing.

    Args:
        events: of one attempt, in their order.
        zero: when it began, in Unix seconds.
        span_s: how long it went on.
    """
    begun = [(float(e["t"]) - zero, str(e["name"])) for e in events if e["kind"] == "phase"]
    ends = [start for start, _ in begun[1:]]
    for (start, name), end in zip(begun, [*ends, span_s], strict=False):
        told = f"{name}: {took(end - start)}"
        yield Bar(name=told, group=name, handed_s=start, start_s=start, end_s=end)


def fits(events: Sequence[Event], zero: float, span_s: float) -> Iterator[tuple[str, Bar]]:
    """Worker and bar of each fit that began here; see `phases`."""
    running: dict[str, Event] = {}
    ends = {"unit_done": "done", "unit_failed": "failed", "unit_retried": "again"}
    for event in events:
        if event["kind"] == "unit_started":
            running[event["unit"]] = event
        elif event["kind"] in ends and event.get("unit") in running:
            begun = running.pop(event["unit"])
            yield _bar(begun, event, float(event["t"]) - zero, zero, ends[event["kind"]])
    for begun in running.values():
        yield _bar(begun, {}, span_s, zero, "open")


def _bar(begun: Event, ended: Event, end_s: float, zero: float, state: str) -> tuple[str, Bar]:
    handed_s = float(begun["t"]) - zero
    seconds = ended.get("seconds")
    start_s = handed_s if seconds is None else max(handed_s, end_s - seconds)
    facts = [
        str(begun["unit"]),
        {"done": "", "open": "not finished", "again": "tried again"}.get(state, state),
        took(end_s - start_s),
        f"{begun['cpus']} CPU" if begun.get("cpus") else "",
        f"{size(ended['peak_bytes'])} at its peak" if ended.get("peak_bytes") else "",
        str(ended.get("error") or ended.get("reason") or ""),
    ]
    worker = ended.get("worker") or begun.get("worker") or "no worker known"
    return str(worker), Bar(
        name=", ".join(filter(None, facts)),
        group=_group(str(begun.get("member", ""))),
        handed_s=handed_s,
        start_s=start_s,
        end_s=end_s,
        state=state,
    )


def _group(member: str) -> str:
    """What a fit is for: the members of a bagging, the folds of a cross-validation are one group.

    Names of the former differ by a number at the end, of the latter by what follows a comma.
    """
    kind = member.partition(",")[0]
    return re.sub(r"[ _]?\d+$", "", kind) or kind or "unit"


def epochs(events: Sequence[Event], zero: float, span_s: float) -> Iterator[tuple[str, Bar]]:
    """Worker and bar of each epoch of a network that was trained outside of units.

    What was under way when workers came or went, or nobody heard more, is a bar as well.

    Args:
        events: of one attempt, in their order.
        zero: when it began, in Unix seconds.
        span_s: how long it went on.
    """
    course = _Course()
    for event in outside_units(events):
        yield from course.take(event, float(event["t"]) - zero)
    yield from course.cut(span_s, "open")


def outside_units(events: Sequence[Event]) -> Iterator[Event]:
    """The events of what no unit does."""
    running: set[str] = set()
    for event in events:
        kind = event["kind"]
        if kind == "attempt":
            running.clear()
        if kind == "unit_started":
            running.add(event["unit"])
        elif kind in ("unit_done", "unit_failed", "unit_retried"):
            running.discard(event.get("unit", ""))
        elif not running and "unit" not in event:
            yield event


@dataclass(kw_only=True, slots=True)
class _Course:
    """Who trains, and since when the epoch under way is."""

    since_s: float = 0.0
    lanes: dict[str, float] = field(default_factory=dict)
    """Worker → when it came."""
    ranks: set[int] = field(default_factory=set)
    """Of the workers that came together."""
    is_over: bool = True

    def take(self, event: Event, at_s: float) -> Iterator[tuple[str, Bar]]:
        """The bars that an event ends."""
        kind = event["kind"]
        if kind == "workers":
            rank = int(event.get("rank", 0))
            if self.is_over or rank in self.ranks:
                yield from self.cut(at_s, "again")
                self.since_s, self.is_over = at_s, False
            self.ranks.add(rank)
            self.lanes[f"{event.get('host', _HERE)}, worker {rank}"] = at_s
        elif kind == "training_started" and not event.get("num_workers"):
            yield from self.cut(at_s, "again")
            self.lanes, self.since_s, self.is_over = {_HERE: at_s}, at_s, False
        elif kind == "epoch":
            yield from self._epoch(event, at_s)
        elif kind == "training_done":
            self.lanes, self.ranks, self.is_over = {}, set(), True
        elif self.is_over:
            self.since_s = at_s

    def cut(self, at_s: float, state: str) -> Iterator[tuple[str, Bar]]:
        """Bars of an epoch that did not come to its end."""
        words = {"again": "ended here and begun again", "open": "not finished"}[state]
        for lane, came_s in self.lanes.items():
            start_s = max(came_s, self.since_s)
            if at_s > start_s:
                yield lane, _stretch(f"an epoch, {words}", start_s, at_s, state)
        self.lanes, self.ranks, self.is_over = {}, set(), True

    def _epoch(self, event: Event, at_s: float) -> Iterator[tuple[str, Bar]]:
        # A loop of the user's own may say nothing but this.
        lanes = self.lanes or {_HERE: self.since_s}
        for lane, came_s in lanes.items():
            start_s = max(came_s, self.since_s)
            yield lane, _stretch(_told(event["metrics"], at_s - start_s), start_s, at_s)
        self.lanes, self.since_s, self.is_over = lanes, at_s, False


def _stretch(name: str, start_s: float, end_s: float, state: str = "done") -> Bar:
    return Bar(
        name=name, group=_TRAINING, handed_s=start_s, start_s=start_s, end_s=end_s, state=state
    )


def _told(metrics: Mapping[str, float], seconds: float) -> str:
    number = f" {int(metrics['epoch']) + 1}" if "epoch" in metrics else ""
    known = [f"{n} {figure(v)}" for n, v in metrics.items() if "loss" in n and v is not None]
    return ", ".join([f"epoch{number}", took(seconds), *known])
