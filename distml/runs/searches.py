"""The trials of a run's searches: a pure fold of its events.

The one decision: what a search has tried is read from what it reported, so it is known while it
searches, and if it never came to its end, and for searches of estimators and of jobs alike. A
search that is resumed plays its former trials again; when each ended is known from the first time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = [
    "Exploit",
    "Search",
    "Trial",
    "advance_searches",
    "main_searches",
    "searches_of",
]

_STATES = {
    "scheduler": "stopped early",
    "time_budget_s": "out of time",
    "early_stop_patience": "out of patience",
}
"""Reason of an end → how people call it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration, and what has come of it so far."""

    number: int
    """From 1, in the order in which they were proposed."""
    params: Mapping[str, Any]
    """Its configuration now."""
    state: str = "running"
    """`running`, `completed`, `stopped early`, `failed`, `out of time` or `out of patience`."""
    error: str | None = None
    """Why it failed, in a line; `None` where it did not, or nobody said."""
    score: float | None = None
    """Mean over the folds, after its last step."""
    spread: float | None = None
    """Standard deviation over the folds."""
    step: int = 0
    """How far it is."""
    seconds: float | None = None
    """What its fits took together."""
    ended_s: float | None = None
    """Seconds of work into the run at which it ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exploit:
    """A trial went on from where another one stood."""

    trial: int
    """Which, from 1."""
    donor: int
    """From which, from 1."""
    step: int | None
    """How far the other one was; `None` where nobody said."""
    before: Mapping[str, Any]
    """Its configuration until then."""
    after: Mapping[str, Any]
    """Its configuration from then on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """A search, as far as it has come."""

    metric: str = "score"
    """What trials are compared by."""
    mode: str = "max"
    """Whether more of it is better, `max`, or less, `min`."""
    total: int | None = None
    """Trials there will be at most; `None` where nobody said."""
    rows: int | None = None
    """Rows it searches on."""
    resource: str | None = None
    """What trials have more of from step to step."""
    max_step: int | None = None
    """The last step of a trial."""
    logarithmic: tuple[str, ...] = ()
    """Parameters that are drawn evenly from logarithms."""
    exploits: tuple[Exploit, ...] = ()
    """Which trials went on from others, in their order."""
    begun_at: float | None = None
    """When it began, or went on, in Unix seconds."""
    is_over: bool = False
    """Whether it has ended."""
    trials: Mapping[int, Trial] = field(default_factory=dict)
    """Number → trial."""

    @property
    def ended(self) -> list[Trial]:
        """Trials that nothing more happens to, though their search may still wait for others."""
        return [t for t in self.trials.values() if t.state != "running" or self._is_whole(t)]

    def units_waiting(self, planned: int, running: int, settled: int) -> float | None:
        """Units that have not begun, each as long as those so far; `None`: nobody can know yet.

        Trials that go on have units that nobody has planned, longer ones the further they come: so
        what is left is told from what all took for each that ended, and not before one has.

        Args:
            planned: Units that wait already.
            running: Units that run.
            settled: Units that are done.
        """
        if self.total is None or self.is_over:
            return planned
        if self.resource is None and self.max_step is not None:
            return planned + self.max_step * max(0, self.total - len(self.trials))
        done = len(self.ended)
        left = settled * max(0, self.total - done) / max(1, done) - running
        return max(planned, left) if done else None

    @property
    def best(self) -> Trial | None:
        """The best so far: of those that came to their end, else of those that came furthest."""
        scored = [trial for trial in self.trials.values() if trial.score is not None]
        return max(scored, key=self.rank, default=None)

    def rank(self, trial: Trial) -> tuple[bool, bool, int, float]:
        """What trials are ordered by, the worst first."""
        whole, score = self._is_whole(trial), trial.score or 0.0
        step = 0 if whole else trial.step
        return trial.score is not None, whole, step, score if self.mode == "max" else -score

    def is_better(self, one: float, other: float) -> bool:
        """Whether a score is better than another."""
        return one > other if self.mode == "max" else one < other

    def eta_s(self, now: float) -> float | None:
        """Seconds until the last trial, from how long those so far took; `None`: not known.

        Trials of a former attempt took none of this one's time: their own is what counts.
        """
        done, told = self.ended, [t.seconds for t in self.ended if t.seconds is not None]
        if self.is_over or self.total is None or self.begun_at is None or not done:
            return None
        left, at_once = max(0, self.total - len(done)), len(self.trials) - len(done)
        if told:
            return sum(told) / len(told) * left / max(1, at_once)
        return (now - self.begun_at) / len(done) * left

    def _is_whole(self, trial: Trial) -> bool:
        reached = self.max_step is not None and trial.step >= self.max_step
        return trial.state == "completed" or (trial.state == "running" and reached)

    def count(self, state: str) -> int:
        """Trials in a state."""
        return sum(trial.state == state for trial in self.trials.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Course:
    """The searches, and the clock of their run."""

    searches: Mapping[Any, Search] = field(default_factory=dict)
    ends: Mapping[tuple[Any, int], float] = field(default_factory=dict)
    """Search and trial → when it first ended."""
    before_s: float = 0.0
    """Seconds that former attempts worked."""
    begun: float | None = None
    """When this attempt began, in Unix seconds."""
    last: float = 0.0


def searches_of(events: Iterable[Mapping[str, Any]]) -> tuple[Search, ...]:
    """The searches of a run, in the order in which they began.

    Args:
        events: what it reported, in their order.

    Returns:
        They; those of the last attempt.

    Raises:
        KeyError: a known kind lacks a field.
    """
    course = _Course()
    for event in events:
        if event["kind"] == "attempt":
            spent = 0.0 if course.begun is None else course.last - course.begun
            course = _Course(ends=course.ends, before_s=course.before_s + spent, begun=event["t"])
        course = replace(course, last=event["t"], begun=_else(course.begun, event["t"]))
        if event["kind"] == "trial_ended":
            key, now = (event.get("search"), event["trial"]), course.last - (course.begun or 0.0)
            course = replace(course, ends={key: course.before_s + now, **course.ends})
        course = replace(course, searches=advance_searches(course.searches, event))
    return tuple(_with_ends(name, found, course.ends) for name, found in course.searches.items())


def main_searches(searches: Iterable[Search]) -> list[Search]:
    """Those over most rows: not what an ensemble around them repeats on its folds."""
    tried = [search for search in searches if search.trials]
    most = max((search.rows or 0 for search in tried), default=0)
    return [search for search in tried if (search.rows or 0) == most]


def advance_searches(
    searches: Mapping[Any, Search], event: Mapping[str, Any]
) -> Mapping[Any, Search]:
    """Take one more event into account.

    Args:
        searches: name → search, as they stood.
        event: an event with `t` and `kind`; other kinds leave all as it is.

    Returns:
        Where they stand now.

    Raises:
        KeyError: a known kind lacks a field.
    """
    kind, name = event["kind"], event.get("search")
    if kind == "search_started":
        return {**searches, name: _started(event)}
    if kind == "search_ended":
        return {**searches, name: replace(searches.get(name, Search()), is_over=True)}
    if kind not in ("trial_started", "trial_reported", "trial_exploits", "trial_ended"):
        return searches
    search, number = searches.get(name, Search()), int(event["trial"]) + 1
    former = search.trials.get(number, Trial(number=number, params={}))
    trial = replace(
        former,
        params=_else(event.get("params"), former.params),
        error=_else(event.get("error"), former.error),
        score=_else(event.get("score"), former.score),
        step=_else(event.get("step"), former.step),
        spread=_else(event.get("spread"), former.spread),
        seconds=_else(event.get("seconds"), former.seconds),
        state=_STATES.get(event["reason"], event["reason"]) if kind == "trial_ended" else "running",
    )
    if trial.state == "failed":
        trial = replace(trial, score=None)
    if kind == "trial_exploits":
        search = replace(search, exploits=(*search.exploits, _exploit(event, former, trial)))
    return {**searches, name: replace(search, trials={**search.trials, number: trial})}


def _exploit(event: Mapping[str, Any], former: Trial, trial: Trial) -> Exploit:
    return Exploit(
        trial=trial.number,
        donor=int(event["donor"]) + 1,
        step=event.get("step"),
        before=former.params,
        after=trial.params,
    )


def _started(event: Mapping[str, Any]) -> Search:
    return Search(
        metric=event["metric"],
        mode=event["mode"],
        total=event.get("trials"),
        rows=event.get("rows"),
        resource=event.get("resource"),
        max_step=event.get("max_step"),
        logarithmic=tuple(event.get("logarithmic", ())),
        begun_at=float(event["t"]),
    )


def _with_ends(name: Any, search: Search, ends: Mapping[tuple[Any, int], float]) -> Search:
    trials = {
        number: replace(trial, ended_s=ends.get((name, number - 1)))
        for number, trial in search.trials.items()
    }
    return replace(search, trials=trials)


def _else(value: Any, former: Any) -> Any:
    return former if value is None else value
