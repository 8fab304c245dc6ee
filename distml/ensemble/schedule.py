"""One flat graph of fits: every ensemble is a plan, and a plan inside a plan joins the same queue.

A plan is a generator. It yields the units it can have fitted now and is sent their outcomes; a
stack yields all its folds and its members on all rows at once, and the final estimator when those
are there. A search yields a stream: it hears of each unit by itself, and adds others. Where a
unit's estimator is itself an ensemble, the schedule asks it for its plan instead of handing it to a
worker. Only leaves ever take a CPU, so nothing can wait for a CPU that its own parent holds, on one
CPU either.

What begins next is the queue's affair. A worker that dies is tried again with half as many beside
it.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sklearn.base import BaseEstimator

from distml import session
from distml.ensemble.cost import Costs, cpus_of_workers, gpus_of_fit
from distml.ensemble.execute import Executor
from distml.ensemble.keys import Keys
from distml.ensemble.members import Unit
from distml.ensemble.queue import Queue
from distml.ensemble.tickets import Arrival, Node, Plan, Stream, Ticket
from distml.ensemble.worker import Outcome, WorkerLostError
from distml.errors import StorageError
from distml.rehearsal import is_rehearsal
from distml.runs.events import emit
from distml.spread import workers_of

__all__ = ["Arrival", "Plan", "Schedule", "Stream"]

logger = logging.getLogger(__name__)

_MAX_ATTEMPTS = 4


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
        self._queue = Queue(executor)
        self._arrived: deque[tuple[Node, Arrival | None]] = deque()
        self._error: Exception | None = None

    def run(self, ensemble: BaseEstimator, plan: Plan) -> None:
        """Fit `ensemble` by carrying out its plan.

        Raises:
            StorageError: the run's store is full or refuses; finished units stay.
            Exception: what the plan raises when members of it failed.
        """
        self._advance(Node(ensemble, plan), None)
        self._hear()
        while self._queue:
            self._launch()
            ticket, outcome = self._executor.wait()
            self._settle(ticket, outcome)
            self._hear()
        if self._error is not None:
            raise self._error

    def _advance(self, node: Node, sent: list[Outcome] | Arrival | None) -> None:
        """Send a plan what it waits for, and take up the units it yields next."""
        try:
            step = node.plan.send(sent)
        except StopIteration:
            self._drop(node)
            self._complete(node, None)
        except Exception as error:
            self._drop(node)
            self._complete(node, error)
        else:
            if isinstance(step, Stream):
                self._extend(node, step)
            else:
                self._drop(node)
                self._begin(node, step)

    def _begin(self, node: Node, units: Sequence[Unit]) -> None:
        node.streams = False
        node.outcomes, node.missing = [None] * len(units), len(units)
        for slot, unit in enumerate(units):
            self._take_up(Ticket(unit, node, slot))
        if not units:
            self._advance(node, [])

    def _extend(self, node: Node, stream: Stream) -> None:
        node.streams = True
        if stream.withdraw:
            self._say_gone(self._queue.withdraw(node))
        node.missing += len(stream.units)
        for unit in stream.units:
            self._take_up(Ticket(unit, node))
        if not node.missing and not any(other is node for other, _ in self._arrived):
            self._arrived.append((node, None))

    def _hear(self) -> None:
        """Send plans with streams what has arrived.

        Not at once, where it arrives: what is in the store would lead from plan to unit to plan.
        """
        while self._arrived:
            node, arrival = self._arrived.popleft()
            self._advance(node, arrival)

    def _drop(self, node: Node) -> None:
        """A plan has moved on: what is left of its stream is nobody's concern any more."""
        if not node.streams:
            return
        self._say_gone(self._queue.drop(node))
        left = [pair for pair in self._arrived if node not in pair[0].line()]
        self._arrived = deque(left)

    @staticmethod
    def _say_gone(count: int) -> None:
        if count:
            emit("plan", units=-count, cached=0)

    def _complete(self, node: Node, error: Exception | None) -> None:
        ticket = node.parent
        if ticket is None:
            self._error = error
        elif error is not None:
            self._deliver(ticket, Outcome(error=error, seconds=node.seconds))
        elif ticket.unit.out_of_fold is None and ticket.unit.own is None:
            self._deliver(ticket, Outcome(value=node.ensemble, seconds=node.seconds))
        else:
            ticket.unit = replace(ticket.unit, estimator=node.ensemble, fitted=True)
            self._take_up(ticket)

    def _take_up(self, ticket: Ticket) -> None:
        """A unit is a plan of its own, or is in the store, or waits for a worker."""
        try:
            plan = None if ticket.unit.fitted else self._plan_of(ticket.unit)
        except Exception as error:
            self._deliver(ticket, Outcome(error=error))
            return
        if plan is None:
            self._enqueue(ticket)
        else:
            self._advance(Node(ticket.unit.estimator, plan, parent=ticket), None)

    def _enqueue(self, ticket: Ticket) -> None:
        ticket.key = self._keys.key(ticket.unit)
        members = [outer.unit.member for outer in ticket.outer()]
        task = "predict" if ticket.unit.fitted else "fit"
        ticket.kind = " > ".join([*members, ticket.unit.kind or ticket.unit.member, task])
        ticket.prior = Costs.prior(ticket.unit)
        # In this process nothing is started: what has workers learns in it, alone.
        alone = ticket.unit.fitted or session.is_in_process()
        if not alone:
            ticket.workers_cpus = cpus_of_workers(ticket.unit.estimator)
            ticket.gpus = self._gpus(ticket.unit.estimator)
        stored = self._keys.load(ticket.key)
        emit("plan", units=1, cached=int(stored is not None))
        if stored is not None:
            self._keep(ticket, stored)
            self._deliver(ticket, stored)
        elif error := ticket.too_wide(self._executor.num_cpus, self._executor.num_gpus):
            self._deliver(ticket, Outcome(error=error))
        else:
            self._queue.add(ticket)

    def _gpus(self, estimator: Any) -> float:
        needed, there = gpus_of_fit(estimator), self._executor.num_gpus
        # At toy size a network learns on CPUs where there are no GPUs.
        return 0.0 if is_rehearsal() and needed > there else needed

    def _launch(self) -> None:
        """Start what may run, until nothing may."""
        while tickets := self._queue.next():
            first = tickets[0]
            self._report("unit_started", first, cpus=first.cpus, **_asked(first))
            if len(tickets) > 1:
                small = [(ticket, ticket.unit, ticket.key) for ticket in tickets]
                self._executor.submit_together(small, memory_bytes=first.memory_bytes)
                continue
            self._executor.submit(
                first,
                first.unit,
                cpus=first.cpus,
                memory_bytes=first.memory_bytes,
                key=first.key,
                gpus=first.gpus,
                has_workers=bool(first.workers_cpus),
            )

    def _settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take a unit's outcome from the executor."""
        self._queue.settle(ticket, outcome.seconds)
        if not ticket.cpus:
            # Carried out behind another: it began when that was done, not when it was submitted.
            self._report("unit_started", ticket, cpus=0, t=time.time() - outcome.seconds)
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

    def _keep(self, ticket: Ticket, outcome: Outcome) -> None:
        """Learn from a unit that is done, now or in a former run."""
        self._queue.learn(ticket, outcome)
        self._report(
            "unit_done",
            ticket,
            seconds=outcome.seconds,
            peak_bytes=outcome.peak_bytes,
            worker=outcome.worker,
            cached=outcome.cached,
        )

    def _may_retry(self, ticket: Ticket) -> bool:
        ticket.attempts += 1
        return ticket.attempts < _MAX_ATTEMPTS and not ticket.dropped

    def _retry(self, ticket: Ticket, error: Exception) -> None:
        """Put the unit back, to run with half as many beside it."""
        width = self._queue.put_back(ticket)
        reason = f"{_describe(error)}; trying again with at most {width} at a time"
        logger.warning("%s: %s", ticket.name, reason)
        self._report("unit_retried", ticket, reason=reason)

    def _deliver(self, ticket: Ticket, outcome: Outcome) -> None:
        node = ticket.node
        if ticket.dropped:
            return
        node.missing -= 1
        if node.streams:
            self._arrived.append((node, Arrival(ticket.unit, outcome)))
            return
        node.outcomes[ticket.slot] = outcome
        if node.missing == 0:
            self._advance(node, [outcome for outcome in node.outcomes if outcome is not None])

    def _report(self, kind: str, ticket: Ticket, **fields: Any) -> None:
        unit = ticket.unit
        emit(kind, unit=ticket.name, member=unit.member, rows=unit.num_rows, **fields)


def _asked(ticket: Ticket) -> dict[str, Any]:
    """What a fit needs beside CPUs of its own, if anything."""
    workers = None if ticket.unit.fitted else workers_of(ticket.unit.estimator.get_params())
    return {} if workers is None else {"workers": workers}


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
