"""A trial of a search over jobs while it is under way: how far it is, and what is decided of it.

One decision: what it reported in former attempts is told again before it goes on, one turn after
the other, so that searcher and scheduler hear in the same order what they heard then.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from distml.errors import UserError
from distml.runs.record import RunRecord
from distml.tune.children import Child, EndedEarly
from distml.tune.reports import Count, Report
from distml.tune.turns import GO_ON, STOP, Decision

__all__ = ["UnderWay"]

Decide = Callable[[Child, int, Mapping[str, float]], Decision]
"""What becomes of a trial after an epoch, by what it reported."""


@dataclass(kw_only=True, slots=True, eq=False)
class UnderWay:
    """One trial."""

    child: Child
    """Its run now."""
    metric: str
    """What trials are compared by."""
    sign: int
    """1 where more of it is better, -1 where less is."""
    count: Count = field(default_factory=Count)
    """How far it is."""
    told: deque[Report] = field(default_factory=deque)
    """What its run reported in former attempts and is not played yet."""
    record: RunRecord | None = None
    """Of a run that has ended."""
    until: int = 0
    """Epochs at which its next turn is."""
    decision: Decision = GO_ON
    """What became of it at its last turn."""
    best: float | None = None
    """The best value of the metric that an epoch of its run reported."""
    mistake: UserError | None = None
    """Why the search makes no sense, as it has shown."""
    is_ordered: bool = False
    """Whether somebody is to carry it out, or does."""
    is_put_off: bool = False
    """Whether it ran out of memory beside others, and waits until it is alone."""
    is_alone: bool = False
    """Whether it is run again, alone."""
    before_s: float = 0.0
    """Seconds of the runs that it was before."""
    _scores: Mapping[str, float] = field(default_factory=dict)

    def take(self, report: Report, decide: Decide) -> None:
        """Count a report, and decide."""
        # What was told before the trial was cut off may be told again.
        if self.decision is not GO_ON or not self.count.take(report):
            return
        self._scores = report.scores
        value = report.scores.get(self.metric)
        if value is not None and (self.best is None or self.sign * value > self.sign * self.best):
            self.best = value
        try:
            self.decision = decide(self.child, self.count.epochs, report.scores)
        except UserError as mistake:
            self.mistake, self.decision = mistake, STOP

    @property
    def has_turn(self) -> bool:
        """Whether it has come to its next turn, or to its end."""
        return self.decision is not GO_ON or self.count.epochs >= self.until

    def ended_early(self, why: str = "stopped by the scheduler") -> EndedEarly:
        """What ends it here."""
        return EndedEarly(self.count.epochs, self._scores, why)

    def begin_anew(self, child: Child, count: Count, seconds: float) -> None:
        """Go on as another run, which begins in its middle.

        Args:
            child: The run.
            count: How far it is.
            seconds: What the run before took.
        """
        self.child, self.count = child, count
        self.told.clear()
        self.record = self.best = None
        self.decision, self._scores = GO_ON, {}
        self.before_s += seconds
