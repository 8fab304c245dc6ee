"""What a schedule carries about: plans that are being carried out, and units on their way.

The one decision: both are plain records. What happens to them, and in which order, stands in the
schedule alone.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import BaseEstimator

from distml.ensemble.members import Unit
from distml.ensemble.worker import Outcome
from distml.errors import UserError

__all__ = ["Arrival", "Node", "Plan", "Stream", "Ticket"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """Units that a plan hears of one by one, as they are done, instead of when all are.

    The plan is sent an `Arrival` for each, and answers with a further stream, which may be empty.
    Once none is left it is sent `None`. If it ends or yields a plain batch before that, units that
    have not begun are dropped, and those that run finish unheard.
    """

    units: Sequence[Unit] = ()
    """Further units."""
    withdraw: bool = False
    """Drop the plan's units that have not begun; those that have are heard of."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One unit of a stream, done."""

    unit: Unit
    """The unit; its estimator is fitted where it is an ensemble of its own."""
    outcome: Outcome
    """What came of it."""


Plan = Generator[Sequence[Unit] | Stream, Any, None]
"""Yields units, is sent their outcomes in the same order, and ends when its ensemble is fitted. Or
it yields a `Stream`, and is sent one `Arrival` after the other."""


@dataclass(slots=True, eq=False)
class Node:
    """A plan that is being carried out."""

    ensemble: BaseEstimator
    plan: Plan
    parent: "Ticket | None" = None
    """The unit of the surrounding plan that it stands for."""
    outcomes: list[Outcome | None] = field(default_factory=list)
    """Of its batch."""
    missing: int = 0
    """Units of its batch or stream that are not done."""
    streams: bool = False
    """Whether it hears of each unit by itself."""
    cpus_in_use: int = 0
    seconds: float = 0.0

    def line(self) -> list["Node"]:
        """This node and those around it."""
        return [self] if self.parent is None else [self, *self.parent.node.line()]


@dataclass(slots=True, eq=False)
class Ticket:
    """A unit on its way through the schedule."""

    unit: Unit
    node: Node
    slot: int = 0
    """Its place in its plan's batch."""
    key: str | None = None
    kind: str = ""
    """Members from the outermost ensemble inwards: units of one kind cost alike."""
    prior: float = 0.0
    attempts: int = 0
    workers_cpus: int = 0
    """CPUs that workers of its own need; 0 where a worker of the executor carries it out."""
    gpus: float = 0.0
    """GPUs that it, or its workers, need."""
    cpus: int = 0
    memory_bytes: int = 0
    dropped: bool = False
    """Nobody waits for it any more."""

    @property
    def name(self) -> str:
        """Members from the outermost ensemble inwards, and the part."""
        return " > ".join([*(outer.unit.name for outer in self.outer()), self.unit.name])

    def outer(self) -> list["Ticket"]:
        """The units of surrounding plans that this one is part of, outermost first."""
        tickets = [node.parent for node in self.node.line() if node.parent is not None]
        return tickets[::-1]

    def too_wide(self, num_cpus: int, num_gpus: float) -> UserError | None:
        """Why it can never begin, if it cannot."""
        for needed, there, unit in (
            (self.workers_cpus, num_cpus, "CPU"),
            (self.gpus, num_gpus, "GPU"),
        ):
            if needed > there:
                who = "its workers need" if self.workers_cpus else "it needs"
                return UserError(
                    f"{self.name}: {who} {needed:g} {unit}s, and there are {there:g}; lower "
                    f"num_workers or {unit.lower()}s_per_worker"
                )
        return None
