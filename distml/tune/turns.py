"""The seam of a search: who proposes configurations, who stops them, and what both are told.

The one decision: the clock of a search is the order of turns. One turn is one step of one trial,
and proposers and deciders are told of turns in an order that does not depend on how long a fit
took. So a seeded search ends with the same configuration after a kill, and on any number of CPUs
where as many trials take turns.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

__all__ = [
    "GO_ON",
    "PAUSE",
    "STOP",
    "Config",
    "Decider",
    "Decision",
    "Exploit",
    "NeverStops",
    "Proposer",
    "Verdict",
]

Config = Mapping[str, Any]
"""One point of a search: parameter → value."""


class Verdict(Enum):
    """What becomes of a trial after a step."""

    GO_ON = "go on"
    STOP = "stop"
    PAUSE = "pause"
    """Wait until `Decider.resume` names it."""


GO_ON, STOP, PAUSE = Verdict.GO_ON, Verdict.STOP, Verdict.PAUSE


@dataclass(frozen=True, kw_only=True, slots=True)
class Exploit:
    """Go on from where another trial stands, with another configuration."""

    donor: int
    """The trial whose learners are taken over; it may be the trial itself."""
    step: int
    """As they were after this step of the donor; the trial counts on from there."""
    config: Config
    """What the trial goes on with; parameters that are not in it stay as they are."""


Decision = Verdict | Exploit


class Proposer(Protocol):
    """Proposes configurations. Used by one thread, in the order of turns."""

    looks_at_results: bool
    """Whether what it proposes depends on what it is told. `False`: all may be asked at once."""

    def suggest(self, trial: int) -> Config | None:
        """The configuration of a trial; called for trial 0, 1, 2, … in this order.

        Returns:
            `None`: there is nothing more to propose as long as no running trial ends.
        """

    def tell(self, trial: int, step: int, value: float) -> None:
        """Learn an intermediate score, as the user sees it; after `Decider.decide` of the turn.

        Args:
            trial: Which.
            step: How far it is: amount of the resource so far, or without one, folds done.
            value: Mean score over the folds. Which direction is better, the proposer knows.
        """

    def end(self, trial: int, value: float | None) -> None:
        """Learn the last score of a trial that ended or was stopped; `None`: it failed."""


class Decider(Protocol):
    """Decides after each step if a trial goes on. Used by one thread, in the order of turns."""

    side_by_side: bool
    """Whether it compares a population: all trials begin at once and take turns. Such a decider
    goes with proposers that do not look at results."""

    def add(self, trial: int, config: Config) -> Config:
        """A trial begins.

        Returns:
            What it begins with: the configuration, and parameters that the decider draws itself.
        """

    def next_step(self, trial: int, step: int) -> int:
        """The step at which it next has something to decide about the trial.

        Args:
            trial: Which.
            step: How far it is; 0 at its beginning.

        Returns:
            More than `step`; what is beyond the largest step is taken as that. Halving says its
            next rung, so that a trial is not interrupted where nothing is decided.
        """

    def decide(self, trial: int, step: int, value: float) -> Decision:
        """What becomes of the trial after a step, its last one too; arguments as of `tell`."""

    def resume(self, *, waiting: bool) -> Sequence[int]:
        """Paused trials that go on now, each named once; empty where none does.

        Args:
            waiting: No trial runs and none can begin. A decider that holds trials until others
                come has to let some go; those it does not name then were stopped.
        """

    def end(self, trial: int, value: float | None) -> None:
        """A trial ended by itself or failed (`None`); not called for one that `decide` stopped."""


class NeverStops:
    """The decider of a search without a scheduler."""

    side_by_side = False

    def add(self, trial: int, config: Config) -> Config:
        """See `Decider`."""
        return config

    def next_step(self, trial: int, step: int) -> int:
        """See `Decider`."""
        return sys.maxsize

    def decide(self, trial: int, step: int, value: float) -> Decision:
        """See `Decider`."""
        return GO_ON

    def resume(self, *, waiting: bool) -> Sequence[int]:
        """See `Decider`."""
        return ()

    def end(self, trial: int, value: float | None) -> None:
        """See `Decider`."""
