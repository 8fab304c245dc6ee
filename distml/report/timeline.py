"""What ran when on which worker, from the events of a run.

The one decision: a bar ends when the driver heard that the fit was done and is as long as the fit
took on the worker; from when it was handed out until then there is a thin line, for that is waiting
and not work. Each attempt has a timeline of its own, so a pause between two takes no room.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from distml.report.numbers import figure, size, took
from distml.report.vega import COLOURS, GREY
from distml.runs.events import Event
from distml.runs.record import Attempt

__all__ = ["Bar", "Lane", "Timeline", "timelines"]

_MOST_BARS = 2_500
"""Bars of a timeline, spread over its lanes; beyond that, neighbours are drawn as one."""

_MOST_LANES = 100
"""Lanes of a timeline; beyond that, those of the workers that did most."""

_TICK_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS = 6


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """What one worker did."""

    name: str
    """The worker."""
    bars: tuple[Bar, ...]
    """In the order of their start."""
    num_fits: int
    """How many fits it did."""
    busy_s: float
    """Seconds in which it worked."""
    busy: float | None
    """Part of the time of fits in which it worked; `None` where that says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """One attempt."""

    number: int
    """Which attempt."""
    span_s: float
    """From its beginning to its last event."""
    phases: tuple[Bar, ...]
    """What the run was doing."""
    lanes: tuple[Lane, ...]
    """A lane a worker."""
    cached: int
    """Fits that were there already."""
    num_workers: int
    """How many workers there were; more than lanes if some are left out."""
    colours: Mapping[str, str]
    """Group → colour."""

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Place (part of the span) and label of the marks of the time axis."""
        step = next((s for s in _TICK_S if self.span_s / s <= _MOST_TICKS), self.span_s / 5)
        if not self.span_s:
            return []
        number = int(self.span_s / step)
        return [(place * step / self.span_s, _mark(place * step)) for place in range(number + 1)]

    def percent(self, seconds: float) -> float:
        """Where a moment stands, in percent of the span."""
        return round(100 * seconds / self.span_s, 3) if self.span_s else 0.0


def timelines(events: Iterable[Event], attempts: Sequence[Attempt] = ()) -> list[Timeline]:
    """Draw up the timelines of a run's attempts; those without fits and phases are left out.

    Args:
        events: in their order.
        attempts: of the record: they say when the last phase of each was over.
    """
    parts: list[list[Event]] = []
    for event in events:
        if event["kind"] == "attempt" or not parts:
            parts.append([])
        parts[-1].append(event)
    ends = [one.finished_at for one in attempts] + [None] * len(parts)
    drawn = (_timeline(number, part, ends[number - 1]) for number, part in enumerate(parts, 1))
    return [timeline for timeline in drawn if timeline.lanes or timeline.phases]


def _timeline(number: int, events: Sequence[Event], finished_at: float | None) -> Timeline:
    zero = float(events[0]["t"])
    span_s = max(finished_at or zero, *(float(event["t"]) for event in events)) - zero
    bars = list(_bars(events, zero, span_s))
    colours = _colours([bar for _, bar in bars])
    by_worker = defaultdict(list)
    for worker, bar in bars:
        by_worker[worker].append(bar)
    begin = min((bar.handed_s for _, bar in bars), default=0.0)
    window_s = max((bar.end_s for _, bar in bars), default=0.0) - begin
    return Timeline(
        number=number,
        span_s=span_s,
        phases=tuple(_phases(events, zero, span_s)),
        lanes=tuple(_lanes(by_worker, window_s)),
        num_workers=len(by_worker),
        cached=sum(1 for event in events if event["kind"] == "unit_done" and event.get("cached")),
        colours=colours,
    )


def _phases(events: Sequence[Event], zero: float, span_s: float) -> Iterator[Bar]:
    begun = [(float(e["t"]) - zero, str(e["name"])) for e in events if e["kind"] == "phase"]
    ends = [start for start, _ in begun[1:]]
    for (start, name), end in zip(begun, [*ends, span_s], strict=False):
        told = f"{name}: {took(end - start)}"
        yield Bar(name=told, group=name, handed_s=start, start_s=start, end_s=end)


def _bars(events: Sequence[Event], zero: float, span_s: float) -> Iterator[tuple[str, Bar]]:
    """Worker and bar of each fit that began here."""
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


def _lanes(by_worker: Mapping[str, Sequence[Bar]], window_s: float) -> Iterator[Lane]:
    ordered = {name: sorted(bars, key=lambda bar: bar.start_s) for name, bars in by_worker.items()}
    chosen = sorted(ordered, key=lambda name: -_covered(ordered[name]))[:_MOST_LANES]
    for name in sorted(chosen):
        yield _lane(name, ordered[name], window_s, _MOST_BARS // len(chosen))


def _lane(name: str, ordered: Sequence[Bar], window_s: float, most: int) -> Lane:
    busy_s = _covered(ordered)
    return Lane(
        name=name,
        bars=tuple(_merged(ordered, most)),
        num_fits=len(ordered),
        busy_s=busy_s,
        busy=busy_s / window_s if window_s else None,
    )


def _covered(bars: Sequence[Bar]) -> float:
    """Seconds in which at least one of the bars was under way."""
    total, until = 0.0, float("-inf")
    for bar in bars:
        total += max(0.0, bar.end_s - max(until, bar.start_s))
        until = max(until, bar.end_s)
    return total


def _merged(bars: Sequence[Bar], most: int) -> Iterator[Bar]:
    """The bars, or neighbours as one where there are more than can be told apart."""
    step = -(-len(bars) // most)
    for place in range(0, len(bars), max(1, step)):
        some = bars[place : place + step]
        if len(some) == 1:
            yield some[0]
            continue
        failed = next((bar.state for bar in some if bar.state != "done"), "done")
        yield Bar(
            name=f"{figure(len(some))} fits, {took(some[-1].end_s - some[0].start_s)}",
            group=some[0].group,
            handed_s=some[0].handed_s,
            start_s=some[0].start_s,
            end_s=max(bar.end_s for bar in some),
            state=failed,
        )


def _group(member: str) -> str:
    """The members of a bagging are one group: their names differ by a number at the end."""
    return re.sub(r"[ _]?\d+$", "", member) or member or "unit"


def _colours(bars: Sequence[Bar]) -> dict[str, str]:
    """A colour for each group, the same in runs of the same members; grey beyond the palette."""
    seconds: dict[str, float] = defaultdict(float)
    for bar in bars:
        seconds[bar.group] += bar.end_s - bar.start_s
    ranked = sorted(seconds, key=lambda group: -seconds[group])
    first = sorted(ranked[: len(COLOURS)])
    return {**dict(zip(first, COLOURS, strict=False)), **dict.fromkeys(ranked[len(first) :], GREY)}


def _mark(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
