"""How far a run is: a pure fold of its events.

The one decision: it is computed from events alone, so a terminal and a notebook show the same.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distml.runs.search_words import best_so_far, standing
from distml.runs.searches import Search, advance_searches
from distml.runs.training import Training, advance_training, figures, whereabouts

__all__ = ["Progress", "advance", "describe", "lines", "progress_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a run stands after some of its events."""

    total: int = 0
    """Units planned so far."""
    cached: int = 0
    """Units of them that were there already."""
    done: int = 0
    """Units that were fitted."""
    failed: int = 0
    """Units that failed for good."""
    retried: int = 0
    """How often a unit was tried again."""
    running: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """Unit → member and start (Unix seconds), of the units being fitted."""
    phase: str = ""
    """What the run is doing."""
    message: str = ""
    """The last thing it had to say."""
    seconds: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Member → number of fits and their seconds together."""
    most_running: int = 0
    """The most units that were fitted at once."""
    training: Training | None = None
    """The network that is trained, or was last, outside of units or in this process."""
    trainings: Mapping[str, Training] = field(default_factory=dict)
    """Unit → its network, of the units being fitted elsewhere."""
    searches: Mapping[Any, Search] = field(default_factory=dict)
    """Name → search."""

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.total or self.searches) or self.training is not None

    @property
    def search(self) -> Search | None:
        """The search that goes on, if there is one and no other beside it."""
        open_ones = [search for search in self.searches.values() if not search.is_over]
        return open_ones[0] if len(open_ones) == 1 else None

    @property
    def share(self) -> tuple[int, int | None]:
        """How much is done and of how much: trials, else units, else steps of a training."""
        if self.search is not None:
            return len(self.search.ended), self.search.total
        if self.total or self.training is None:
            return self.settled, self.total
        steps = self.training.steps
        return (steps or 0 if self.training.done else self.training.step), steps

    @property
    def settled(self) -> int:
        """Units that nothing more happens to."""
        return self.cached + self.done + self.failed

    @property
    def waiting(self) -> int:
        """Units that have not begun."""
        return max(0, self.total - self.settled - len(self.running))

    def eta_s(self, now: float) -> float | None:
        """Estimate how long the rest takes.

        Args:
            now: Unix seconds.

        Returns:
            Seconds, from the mean time of fits so far and how many run at once; `None` before the
            first fit is done, or, where trials have further steps, the first trial.
        """
        num_fits = sum(count for count, _ in self.seconds.values())
        if not num_fits:
            return None if self.search is None else self.search.eta_s(now)
        mean = sum(seconds for _, seconds in self.seconds.values()) / num_fits
        left = [
            max(0.0, self._expected(member, mean) - (now - started))
            for member, started in self.running.values()
        ]
        waiting: float | None = self.waiting
        if self.search is not None:
            waiting = self.search.units_waiting(self.waiting, len(self.running), self.settled)
        if waiting is None:
            return None
        work = sum(left) + waiting * mean
        return max(work / max(1, self.most_running), max(left, default=0.0))

    def _expected(self, member: str, mean: float) -> float:
        count, seconds = self.seconds.get(member, (0, 0.0))
        return seconds / count if count else mean


_NOTHING = Progress()
_SHOWN = 3
"""Networks in units that have a line each."""


def advance(progress: Progress, event: Mapping[str, Any]) -> Progress:
    """Take one more event into account.

    Args:
        progress: where the run stood.
        event: an event with `t` and `kind`; kinds that say nothing about progress are passed over.

    Returns:
        Where it stands now.

    Raises:
        KeyError: a known kind lacks a field.
    """
    step = _STEPS.get(event["kind"])
    if step is not None:
        return dataclasses.replace(progress, **step(progress, event))
    searches = advance_searches(progress.searches, event)
    if searches is not progress.searches:
        return dataclasses.replace(progress, searches=searches)
    unit = event.get("unit")
    before = progress.training if unit is None else progress.trainings.get(unit)
    training = advance_training(before, event)
    if training is None or training is before:
        return progress
    if unit is None:
        return dataclasses.replace(progress, training=training)
    return dataclasses.replace(progress, trainings={**progress.trainings, unit: training})


def progress_of(events: Iterable[Mapping[str, Any]]) -> Progress:
    """Fold events from the start.

    Args:
        events: a run's events in their order.

    Returns:
        Where the run stands.

    Raises:
        KeyError: a known kind lacks a field.
    """
    return functools.reduce(advance, events, _NOTHING)


def _plan(progress: Progress, event: Mapping[str, Any]) -> dict[str, Any]:
    """Units that join the queue; an inner ensemble's join while the outer's are under way."""
    return {
        "total": progress.total + event["units"],
        "cached": progress.cached + event.get("cached", 0),
    }


def _started(progress: Progress, event: Mapping[str, Any]) -> dict[str, Any]:
    begun = (str(event.get("member", "")), float(event["t"]))
    running = {**progress.running, event["unit"]: begun}
    return {"running": running, "most_running": max(progress.most_running, len(running))}


def _done(progress: Progress, event: Mapping[str, Any]) -> dict[str, Any]:
    if event.get("cached"):
        return {}
    member = str(event.get("member", ""))
    count, seconds = progress.seconds.get(member, (0, 0.0))
    spent = (count + 1, seconds + (event.get("seconds") or 0.0))
    return {
        "done": progress.done + 1,
        "running": _without(progress.running, event["unit"]),
        "trainings": _without(progress.trainings, event["unit"]),
        "seconds": {**progress.seconds, member: spent},
    }


def _failed(progress: Progress, event: Mapping[str, Any]) -> dict[str, Any]:
    running = _without(progress.running, event["unit"])
    message = f"{event.get('member', event['unit'])} failed: {event.get('error', '')}"
    trainings = _without(progress.trainings, event["unit"])
    failed = progress.failed + 1
    return {"failed": failed, "running": running, "trainings": trainings, "message": message}


def _retried(progress: Progress, event: Mapping[str, Any]) -> dict[str, Any]:
    running = _without(progress.running, event["unit"])
    message = f"{event.get('member', event['unit'])} again: {event.get('reason', '')}"
    trainings = _without(progress.trainings, event["unit"])
    retried = progress.retried + 1
    return {"retried": retried, "running": running, "trainings": trainings, "message": message}


def _restarted(progress: Progress, event: Mapping[str, Any]) -> dict[str, Any]:
    """A new attempt plans anew: what former ones fitted will be in its `cached`."""
    return {item.name: getattr(_NOTHING, item.name) for item in dataclasses.fields(Progress)}


_STEPS: dict[str, Callable[[Progress, Mapping[str, Any]], dict[str, Any]]] = {
    "attempt": _restarted,
    "plan": _plan,
    "unit_started": _started,
    "unit_done": _done,
    "unit_failed": _failed,
    "unit_retried": _retried,
    "phase": lambda _, event: {"phase": str(event["name"])},
    "log": lambda _, event: {"message": str(event["message"])},
}
"""Kind of event → what it changes."""


def _without(running: Mapping[str, Any], unit: str) -> dict[str, Any]:
    return {name: begun for name, begun in running.items() if name != unit}


def describe(progress: Progress, now: float) -> str:
    """Say where a run stands, in one line.

    Args:
        progress: where it stands.
        now: Unix seconds.

    Returns:
        For instance `fit: 12 of 25 done, 5 cached, 2 running, about 40 s left`,
        `fit: 12 of 30 trials done, 2 running, 8 stopped early, about 40 s left`, or
        `fit: epoch 3 of 20, step 1,234 of 8,000, about 40 s left`.

    Raises:
        Nothing.
    """
    if progress.search is not None:
        members = {member for member, _ in progress.running.values()}
        where = standing(progress.search, len(members) if progress.total else None)
        return f"{progress.phase or 'search'}: {where}{_rest(progress.eta_s(now))}"
    if not progress.total and progress.training is not None:
        return f"{progress.phase or 'training'}: {_training(progress.training, now)}"
    counts = [f"{progress.cached + progress.done} of {progress.total} done"]
    for name in ("cached", "running", "failed"):
        value = getattr(progress, name)
        number = len(value) if name == "running" else value
        counts += [f"{number} {name}"] if number else []
    rest = _rest(progress.eta_s(now)) if progress.settled < progress.total else ""
    return f"{progress.phase or 'units'}: {', '.join(counts)}{rest}"


def lines(progress: Progress, now: float) -> list[str]:
    """All that is worth a look: where a run stands, how its network does, the last message.

    Args:
        progress: where it stands.
        now: Unix seconds.

    Returns:
        One to four lines, and one for each of the first networks in units.

    Raises:
        Nothing.
    """
    training, said = progress.training, [describe(progress, now)]
    if progress.search is not None:
        said += best_so_far(progress.search)
    if training is not None:
        where = f"{_training(training, now)}, " if progress.total and not training.done else ""
        shown = not progress.total or not training.done
        said.append(f"{where}{figures(training)}".removesuffix(", ") if shown else "")
    for unit, one in list(progress.trainings.items())[:_SHOWN]:
        named = f"{unit}: {whereabouts(one)}, {figures(one)}"
        said.append(named.removesuffix(", "))
    return [line for line in (*said, progress.message) if line]


def _training(training: Training, now: float) -> str:
    if training.seconds is not None:
        return f"{whereabouts(training)} in {_duration(training.seconds)}"
    rest = _rest(training.eta_s(now), "at most" if training.may_stop else "about")
    return f"{whereabouts(training)}{rest}"


def _rest(eta_s: float | None, words: str = "about") -> str:
    return "" if eta_s is None else f", {words} {_duration(eta_s)} left"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
