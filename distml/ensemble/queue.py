"""Units that wait and units that run: which begins next, with what, and with which others.

The one decision: what is expected of units decides order and width, never a result.

Order: longest first, by `Costs`. Width: one CPU a unit, and idle CPUs to units that can use threads
when fewer units wait than CPUs are idle. A unit whose fit has workers of its own begins when all
their CPUs are idle, and takes none itself. One that asks for GPUs begins when they are idle, and
lets others go before it meanwhile. Memory: the peak a member showed bounds how many run at
once. Small units, which would not pay for a journey each, are carried out several in one go.
"""

from distml.ensemble.cost import Costs, max_cpus, max_threads
from distml.ensemble.execute import Executor
from distml.ensemble.tickets import Node, Ticket
from distml.ensemble.worker import Outcome

__all__ = ["Queue"]

_SMALL_S, _TOGETHER_S = 0.05, 0.2
"""Seconds below which a unit is carried out with others, and how many they may take together."""


class Queue:
    """What waits for CPUs and what has them.

    Args:
        executor: How many CPUs and how much memory there are.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._costs = Costs()
        self._peaks: dict[str, int] = {}
        self._waiting: list[Ticket] = []
        self._running: set[Ticket] = set()
        self._width = executor.num_cpus

    def __bool__(self) -> bool:
        return bool(self._waiting or self._running)

    def add(self, ticket: Ticket) -> None:
        """A unit has to be carried out."""
        self._waiting.append(ticket)

    def next(self) -> list[Ticket]:
        """The units that begin now, in one go; none if none may."""
        first = self._next()
        if first is None:
            return []
        tickets = [first, *self._small_ones(first)]
        for ticket in tickets:
            self._waiting.remove(ticket)
            self._running.add(ticket)
            for node in ticket.node.line():
                node.cpus_in_use += ticket.cpus
        return tickets

    def settle(self, ticket: Ticket, seconds: float) -> None:
        """A unit does not run any more, after so many seconds."""
        self._running.remove(ticket)
        for node in ticket.node.line():
            node.cpus_in_use -= ticket.cpus
            node.seconds += seconds

    def learn(self, ticket: Ticket, outcome: Outcome) -> None:
        """Learn from a unit that is done, now or in a former run."""
        self._costs.observe(ticket.kind, ticket.unit, outcome.seconds, ticket.prior)
        self._peaks[ticket.kind] = max(self._peaks.get(ticket.kind, 0), outcome.peak_bytes)

    def put_back(self, ticket: Ticket) -> int:
        """Let a unit run again, with half as many beside it: how many at a time from now on."""
        self._width = max(1, (len(self._running) + 1) // 2)
        self._waiting.append(ticket)
        return self._width

    def withdraw(self, node: Node) -> int:
        """Take a plan's units out that have not begun: how many."""
        return self._forget([ticket for ticket in self._waiting if ticket.node is node])

    def drop(self, node: Node) -> int:
        """Take out what a plan and those within it wait for, and let what runs finish unheard."""
        for ticket in self._running:
            ticket.dropped = ticket.dropped or node in ticket.node.line()
        return self._forget([ticket for ticket in self._waiting if node in ticket.node.line()])

    def _forget(self, tickets: list[Ticket]) -> int:
        for ticket in tickets:
            self._waiting.remove(ticket)
            ticket.node.missing -= 1
        return len(tickets)

    def _next(self) -> Ticket | None:
        idle = self._executor.num_cpus - sum(ticket.cpus for ticket in self._running)
        if sum(bool(ticket.cpus) for ticket in self._running) >= self._width or idle < 1:
            return None
        gpus = self._executor.num_gpus - sum(ticket.gpus for ticket in self._running)
        allowed = [
            ticket
            for ticket in self._waiting
            if self._allowance(ticket.node) >= 1 and ticket.gpus <= gpus
        ]
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

    def _expected_seconds(self, ticket: Ticket) -> float:
        return self._costs.expect(ticket.kind, ticket.unit, ticket.prior)

    def _memory(self, ticket: Ticket) -> int:
        """The peak its kind has shown; before one did, a copy of its rows in double precision."""
        if ticket.kind in self._peaks:
            return self._peaks[ticket.kind]
        view = ticket.unit.view
        return 8 * int(getattr(view.X, "shape", (0, 1))[-1]) * view.num_rows

    def _allowance(self, node: Node) -> float:
        """CPUs a further unit of this plan may take by the `n_jobs` of ensembles around it."""
        total = self._executor.num_cpus
        return min(max_cpus(outer.ensemble, total) - outer.cpus_in_use for outer in node.line())

    def _small_ones(self, first: Ticket) -> list[Ticket]:
        """Units to be carried out with a small one, on its CPU, one after another.

        Half of what waits is left for the others, so that all CPUs end at about the same time.
        """
        together_s = self._expected_seconds(first)
        if first.cpus != 1 or not self._is_small(first, together_s):
            return []
        most = min(self._executor.together, len(self._waiting) // (2 * self._executor.num_cpus))
        small: list[Ticket] = []
        for ticket in self._waiting:
            if len(small) + 1 >= most or together_s >= _TOGETHER_S:
                break
            expected_s = self._expected_seconds(ticket)
            alike = ticket.node is first.node and self._memory(ticket) <= first.memory_bytes
            if alike and ticket is not first and self._is_small(ticket, expected_s):
                ticket.cpus = ticket.memory_bytes = 0
                small.append(ticket)
                together_s += expected_s
        return small

    def _is_small(self, ticket: Ticket, expected_s: float) -> bool:
        known = self._costs.knows(ticket.unit) and not ticket.attempts
        return known and not (ticket.workers_cpus or ticket.gpus) and expected_s < _SMALL_S
