"""What ran when on which worker, from the events of a run.

The one decision: a bar ends when the driver heard that the fit was done and is as long as the fit
took on the worker; from when it was handed out until then there is a thin line, for that is waiting
and not work. Each attempt has a timeline of its own, so a pause between two takes no room.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.report.bars import Bar, epochs, fits, phases
from distml.report.numbers import figure, took
from distml.report.vega import COLOURS, GREY
from distml.runs.events import Event
from distml.runs.record import Attempt

__all__ = ["Lane", "Timeline", "timelines"]

_MOST_BARS = 2_500
"""Bars of a timeline, spread over its lanes; beyond that, neighbours are drawn as one."""

_MOST_LANES = 100
"""Lanes of a timeline; beyond that, those of the workers that did most."""

_TICK_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """What one worker did."""

    name: str
    """The worker."""
    bars: tuple[Bar, ...]
    """In the order of their start."""
    num_fits: int
    """How many fits it did, or epochs."""
    noun: str
    """What they are: `fit` or `epoch`."""
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
    def nouns(self) -> set[str]:
        """What its bars are."""
        return {lane.noun for lane in self.lanes}

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
    fitted, trained = list(fits(events, zero, span_s)), list(epochs(events, zero, span_s))
    begin = min((bar.handed_s for _, bar in fitted), default=0.0)
    window_s = max((bar.end_s for _, bar in fitted), default=0.0) - begin
    return Timeline(
        number=number,
        span_s=span_s,
        phases=tuple(phases(events, zero, span_s)),
        lanes=(*_lanes(fitted, "fit", window_s), *_lanes(trained, "epoch")),
        num_workers=len({worker for worker, _ in fitted}) + len({worker for worker, _ in trained}),
        cached=sum(1 for event in events if event["kind"] == "unit_done" and event.get("cached")),
        colours=_colours([bar for _, bar in (*fitted, *trained)]),
    )


def _lanes(
    bars: Iterable[tuple[str, Bar]], noun: str, window_s: float | None = None
) -> Iterator[Lane]:
    by_worker = defaultdict(list)
    for worker, bar in bars:
        by_worker[worker].append(bar)
    ordered = {name: sorted(bars, key=lambda bar: bar.start_s) for name, bars in by_worker.items()}
    chosen = sorted(ordered, key=lambda name: -_covered(ordered[name]))[:_MOST_LANES]
    for name in sorted(chosen, key=_by_number):
        yield _lane(name, ordered[name], noun, window_s, _MOST_BARS // len(chosen))


def _lane(name: str, ordered: Sequence[Bar], noun: str, window_s: float | None, most: int) -> Lane:
    busy_s = _covered(ordered)
    whole = [bar for bar in ordered if noun == "fit" or bar.state == "done"]
    return Lane(
        name=name,
        bars=tuple(_merged(ordered, noun, most)),
        num_fits=len(whole),
        noun=noun,
        busy_s=busy_s,
        busy=busy_s / window_s if window_s else None,
    )


def _by_number(name: str) -> list[Any]:
    """Worker 10 comes behind worker 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _covered(bars: Sequence[Bar]) -> float:
    """Seconds in which at least one of the bars was under way."""
    total, until = 0.0, float("-inf")
    for bar in bars:
        total += max(0.0, bar.end_s - max(until, bar.start_s))
        until = max(until, bar.end_s)
    return total


def _merged(bars: Sequence[Bar], noun: str, most: int) -> Iterator[Bar]:
    """The bars, or neighbours as one where there are more than can be told apart."""
    step = -(-len(bars) // most)
    for place in range(0, len(bars), max(1, step)):
        some = bars[place : place + step]
        if len(some) == 1:
            yield some[0]
            continue
        failed = next((bar.state for bar in some if bar.state != "done"), "done")
        yield Bar(
            name=f"{figure(len(some))} {noun}s, {took(some[-1].end_s - some[0].start_s)}",
            group=some[0].group,
            handed_s=some[0].handed_s,
            start_s=some[0].start_s,
            end_s=max(bar.end_s for bar in some),
            state=failed,
        )


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
