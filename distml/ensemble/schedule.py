"""One flat graph of fits: every ensemble is a plan, and a plan inside a plan joins the same queue.

A plan is a generator. It yields the units it can have fitted now and is sent their outcomes; a
stack yields all its folds and its members on all rows at once, and the final estimator when those
are there. Where a unit's estimator is itself an ensemble, the schedule asks it for its plan instead
of handing it to a worker. Only leaves ever take a CPU, so nothing can wait for a CPU that its own
parent holds, on one CPU either.

Order: longest first, by `Costs`. Width: one CPU a unit, and idle CPUs to units that can use threads
when fewer units wait than CPUs are idle. A unit whose fit has workers of its own begins when all
their CPUs are idle, and takes none itself. Memory: the peak a member showed bounds how many run at
once; a worker that dies is tried again with half as many beside it.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sklearn.base import BaseEstimator

from distml.ensemble.cost import Costs, cpus_of_workers, max_cpus, max_threads
from distml.ensemble.execute import Executor
from distml.ensemble.keys import Keys
from distml.ensemble.members import Unit
from distml.ensemble.worker import Outcome, WorkerLostError
from distml.errors import StorageError, UserError
from distml.runs.events import emit

__all__ = ["Plan", "Schedule"]

logger = logging.getLogger(__name__)

Plan = Generator[Sequence[Unit], Sequence[Outcome], None]
"""Yields units, is sent their outcomes in the same order, and ends when its ensemble is fitted."""

_MAX_ATTEMPTS = 4


@dataclass(slots=True, eq=False)
class _Node:
    """A plan that is being carried out."""

    ensemble: BaseEstimator
    plan: Plan
    parent: "_Ticket | None" = None
    """The unit of the surrounding plan that it stands for."""
    outcomes: list[Outcome | None] = field(default_factory=list)
    missing: int = 0
    cpus_in_use: int = 0
    seconds: float = 0.0

    def line(self) -> list["_Node"]:
        """This node and those around it."""
        return [self] if self.parent is None else [self, *self.parent.node.line()]


@dataclass(slots=True, eq=False)
class _Ticket:
    """A unit on its way through the schedule."""

    unit: Unit
    node: _Node
    slot: int
    """Its place among the units its plan waits for."""
    key: str | None = None
    kind: str = ""
    """Members from the outermost ensemble inwards: units of one kind cost alike."""
    prior: float = 0.0
    attempts: int = 0
    workers_cpus: int = 0
    """CPUs that workers of its own need; 0 where a worker of the executor carries it out."""
    cpus: int = 0
    memory_bytes: int = 0

    @property
    def name(self) -> str:
        """Members from the outermost ensemble inwards, and the part."""
        return " > ".join([*(outer.unit.name for outer in self.outer()), self.unit.name])

    def outer(self) -> list["_Ticket"]:
        """The units of surrounding plans that this one is part of, outermost first."""
        tickets = [node.parent for node in self.node.line() if node.parent is not None]
        return tickets[::-1]


class Schedule:
    """Carries out one plan and the plans inside it.

    Args:
        executor: Where units run.
        keys: Names units in the run's store, if there is one.
        plan_of: The plan of a unit whose estimator is itself an ensemble; `None` for a leaf.
    """

    def __init__(
        self, executor: Executor, keys: Keys, plan_of: Callable[[Unit], Plan | None]
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._plan_of = plan_of
        self._costs = Costs()
        self._peaks: dict[str, int] = {}
        self._waiting: list[_Ticket] = []
        self._running: set[_Ticket] = set()
        self._width = executor.num_cpus
        self._error: Exception | None = None

    def run(self, ensemble: BaseEstimator, plan: Plan) -> None:
        """Fit `ensemble` by carrying out its plan.

        Raises:
            StorageError: the run's store is full or refuses; finished units stay.
            Exception: what the plan raises when members of it failed.
        """
        self._advance(_Node(ensemble, plan), None)
        while self._waiting or self._running:
            self._launch()
            ticket, outcome = self._executor.wait()
            self._settle(ticket, outcome)
        if self._error is not None:
            raise self._error

    def _advance(self, node: _Node, outcomes: list[Outcome] | None) -> None:
        """Send a plan what it waits for, and take up the units it yields next."""
        try:
            units = node.plan.send(outcomes)  # type: ignore[arg-type]
        except StopIteration:
            self._complete(node, None)
        except Exception as error:
            self._complete(node, error)
        else:
            node.outcomes, node.missing = [None] * len(units), len(units)
            for slot, unit in enumerate(units):
                self._take_up(_Ticket(unit, node, slot))
            if not units:
                self._advance(node, [])

    def _complete(self, node: _Node, error: Exception | None) -> None:
        ticket = node.parent
        if ticket is None:
            self._error = error
        elif error is not None:
            self._deliver(ticket, Outcome(error=error, seconds=node.seconds))
        elif ticket.unit.out_of_fold is None:
            self._deliver(ticket, Outcome(value=node.ensemble, seconds=node.seconds))
        else:
            ticket.unit = replace(ticket.unit, estimator=node.ensemble, fitted=True)
            self._take_up(ticket)

    def _take_up(self, ticket: _Ticket) -> None:
        """A unit is a plan of its own, or is in the store, or waits for a worker."""
        try:
            plan = None if ticket.unit.fitted else self._plan_of(ticket.unit)
        except Exception as error:
            self._deliver(ticket, Outcome(error=error))
            return
        if plan is None:
            self._queue(ticket)
        else:
            self._advance(_Node(ticket.unit.estimator, plan, parent=ticket), None)

    def _queue(self, ticket: _Ticket) -> None:
        ticket.key = self._keys.key(ticket.unit)
        members = [outer.unit.member for outer in ticket.outer()]
        task = "predict" if ticket.unit.fitted else "fit"
        ticket.kind = " > ".join([*members, ticket.unit.kind or ticket.unit.member, task])
        ticket.prior = self._costs.prior(ticket.unit)
        ticket.workers_cpus = 0 if ticket.unit.fitted else cpus_of_workers(ticket.unit.estimator)
        stored = self._keys.load(ticket.key)
        emit("plan", units=1, cached=int(stored is not None))
        if stored is None and ticket.workers_cpus > self._executor.num_cpus:
            self._deliver(ticket, Outcome(error=_too_wide(ticket, self._executor.num_cpus)))
        elif stored is None:
            self._waiting.append(ticket)
        else:
            self._keep(ticket, stored)
            self._deliver(ticket, stored)

    def _launch(self) -> None:
        """Start the longest unit that may run, until none may."""
        while ticket := self._next():
            self._waiting.remove(ticket)
            self._running.add(ticket)
            for node in ticket.node.line():
                node.cpus_in_use += ticket.cpus
            self._report("unit_started", ticket, cpus=ticket.cpus)
            self._executor.submit(
                ticket,
                ticket.unit,
                cpus=ticket.cpus,
                memory_bytes=ticket.memory_bytes,
                key=ticket.key,
                has_workers=bool(ticket.workers_cpus),
            )

    def _next(self) -> _Ticket | None:
        idle = self._executor.num_cpus - sum(ticket.cpus for ticket in self._running)
        if len(self._running) >= self._width or idle < 1:
            return None
        allowed = [ticket for ticket in self._waiting if self._allowance(ticket.node) >= 1]
        if not allowed:
            return None
        ticket = max(allowed, key=self._expected_seconds)
        ticket.memory_bytes = self._memory(ticket)
        in_use = sum(running.memory_bytes for running in self._running)
        if self._running and in_use + ticket.memory_bytes > self._executor.memory_bytes:
            return None
        if ticket.workers_cpus:
            # Until its workers have room nothing else begins, or it would wait for ever.
            ticket.cpus = ticket.workers_cpus
            return ticket if ticket.cpus <= idle else None
        share = min(
            idle // len(allowed), self._allowance(ticket.node), self._executor.cpus_per_node
        )
        ticket.cpus = max(1, int(min(share, max_threads(ticket.unit.estimator))))
        return ticket

    def _expected_seconds(self, ticket: _Ticket) -> float:
        return self._costs.expect(ticket.kind, ticket.unit, ticket.prior)

    def _memory(self, ticket: _Ticket) -> int:
        """The peak its kind has shown; before one did, a copy of its rows in double precision."""
        if ticket.kind in self._peaks:
            return self._peaks[ticket.kind]
        view = ticket.unit.view
        return 8 * int(getattr(view.X, "shape", (0, 1))[-1]) * view.num_rows

    def _allowance(self, node: _Node) -> float:
        """CPUs a further unit of this plan may take by the `n_jobs` of ensembles around it."""
        total = self._executor.num_cpus
        return min(max_cpus(outer.ensemble, total) - outer.cpus_in_use for outer in node.line())

    def _settle(self, ticket: _Ticket, outcome: Outcome) -> None:
        """Take a unit's outcome from the executor."""
        self._running.remove(ticket)
        for node in ticket.node.line():
            node.cpus_in_use -= ticket.cpus
            node.seconds += outcome.seconds
        if isinstance(outcome.error, StorageError):
            raise outcome.error
        if isinstance(outcome.error, WorkerLostError | MemoryError) and self._may_retry(ticket):
            self._retry(ticket, outcome.error)
            return
        if outcome.error is None:
            self._keep(ticket, outcome)
        else:
            self._report("unit_failed", ticket, error=_describe(outcome.error))
        self._deliver(ticket, outcome)

    def _keep(self, ticket: _Ticket, outcome: Outcome) -> None:
        """Learn from a unit that is done, now or in a former run."""
        self._costs.observe(ticket.kind, ticket.unit, outcome.seconds, ticket.prior)
        self._peaks[ticket.kind] = max(self._peaks.get(ticket.kind, 0), outcome.peak_bytes)
        self._report(
            "unit_done",
            ticket,
            seconds=outcome.seconds,
            peak_bytes=outcome.peak_bytes,
            worker=outcome.worker,
            cached=outcome.cached,
        )

    def _may_retry(self, ticket: _Ticket) -> bool:
        ticket.attempts += 1
        return ticket.attempts < _MAX_ATTEMPTS

    def _retry(self, ticket: _Ticket, error: Exception) -> None:
        """Put the unit back, to run with half as many beside it."""
        self._width = max(1, (len(self._running) + 1) // 2)
        reason = f"{_describe(error)}; trying again with at most {self._width} at a time"
        logger.warning("%s: %s", ticket.name, reason)
        self._report("unit_retried", ticket, reason=reason)
        self._waiting.append(ticket)

    def _deliver(self, ticket: _Ticket, outcome: Outcome) -> None:
        node = ticket.node
        node.outcomes[ticket.slot] = outcome
        node.missing -= 1
        if node.missing == 0:
            self._advance(node, [outcome for outcome in node.outcomes if outcome is not None])

    def _report(self, kind: str, ticket: _Ticket, **fields: Any) -> None:
        unit = ticket.unit
        emit(kind, unit=ticket.name, member=unit.member, rows=unit.num_rows, **fields)


def _too_wide(ticket: _Ticket, num_cpus: int) -> UserError:
    return UserError(
        f"{ticket.name}: its workers need {ticket.workers_cpus} CPUs, and there are {num_cpus}; "
        "lower num_workers or cpus_per_worker"
    )


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
