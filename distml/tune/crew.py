"""Who carries out the trials of a search over jobs: this process, or several beside it.

One decision: a trial at a time has a process, with its part of the CPUs, its part of the memory and
a Ray of its own if it needs one. So no trial waits for CPUs that another holds, whatever its job
starts, and what is left of one that was killed is ended by the kernel. Processes are kept for
further trials; they end with the search, and with the driver, however it ends.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import cloudpickle

from distml import session
from distml.errors import UserError
from distml.job import RunContext
from distml.runs.units import UnitStore, active_units
from distml.tune.children import Children
from distml.tune.orders import Listener, Order
from distml.tune.reports import Report

__all__ = ["Alone", "Answer", "Crew", "Ended", "Post", "Processes"]

_PROCESS = "distml.tune.trial_process"
_GRACE_S = 20.0
"""Seconds that a process has to leave a checkpoint and its Ray."""

Answer = Callable[[Report], int]
"""Is told a report: the epochs after which the training asks again, or 0: it ends."""


class Crew(Protocol):
    """Carries orders out. Used by one thread."""

    def begin(self, order: Order) -> None:
        """Carry an order out, now or when there is room."""

    def hear(self, trial: int, answer: Answer) -> bool:
        """Listen to a trial until it has been answered where it waited, or its order is done.

        Returns:
            Whether it is done; what became of it stands in its record.

        Raises:
            StorageError: the storage is full or refuses.
            KeyboardInterrupt: the search was stopped.
        """

    def first_done(self, trials: Sequence[int]) -> int:
        """Wait until the order of one of these trials is done: which."""

    def close(self) -> None:
        """End what still runs, so that it can be gone on with."""


class Alone:
    """Carries one order out after another, in this process.

    Args:
        children: The trials.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._orders: dict[int, Order] = {}

    def begin(self, order: Order) -> None:
        """See `Crew`."""
        self._orders[order.child.number] = order

    def hear(self, trial: int, answer: Answer) -> bool:
        """See `Crew`."""
        order = self._orders.pop(trial)
        listener = Listener(order, lambda report, waits: answer(report))
        self._children.carry_out(order.child, order.make, listener)
        return True

    def first_done(self, trials: Sequence[int]) -> int:
        """See `Crew`."""
        return trials[0]

    def close(self) -> None:
        """See `Crew`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """What a process of a crew is told when it begins."""

    context: RunContext
    """Of the search's run; whoever has it emits nothing."""
    num_cpus: int
    """Its part of the CPUs."""
    memory_bytes: int | None
    """Its part of the memory."""
    units: UnitStore | None
    """Where fits are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """An order is done."""

    error: BaseException | None = None
    """Why the search cannot go on, if so."""


@dataclass(slots=True, eq=False)
class _Member:
    """A process."""

    process: "subprocess.Popen[bytes]"
    line: "Connection[Any, Any]"
    order: Order | None = None


@dataclass(slots=True, eq=False)
class _Inbox:
    """What has been heard of a trial."""

    member: _Member | None = None
    letters: deque[tuple[Report, bool] | Ended] = field(default_factory=deque)


class Processes:
    """Carries several orders out at one time, each in a process of its own.

    Args:
        context: Of the search's run.
        children: The trials.
        number: Processes at most.
    """

    def __init__(self, context: RunContext, children: Children, number: int) -> None:
        memory = session.limits().memory_bytes
        self._post = Post(
            context=replace(context, emit=_silent),
            num_cpus=max(1, _num_cpus() // number),
            memory_bytes=None if memory is None else memory // number,
            units=active_units(),
        )
        self._children, self._number = children, number
        self._members: list[_Member] = []
        self._queue: deque[Order] = deque()
        self._inboxes: dict[int, _Inbox] = {}
        # Ends the processes when this one ends, even if nothing is left that could tell them.
        self._there, self._here = os.pipe()

    def begin(self, order: Order) -> None:
        """See `Crew`.

        Raises:
            UserError: the job cannot be sent to another process.
        """
        self._inboxes[order.child.number] = _Inbox()
        self._queue.append(order)
        self._hand_out()

    def hear(self, trial: int, answer: Answer) -> bool:
        """See `Crew`."""
        inbox = self._inboxes[trial]
        while True:
            while not inbox.letters:
                self._receive()
            letter = inbox.letters.popleft()
            if isinstance(letter, Ended):
                if letter.error is not None:
                    raise letter.error
                return True
            report, waits = letter
            said = answer(report)
            if waits:
                self._reply(inbox, said)
                if said:
                    return False

    def first_done(self, trials: Sequence[int]) -> int:
        """See `Crew`."""
        while True:
            for trial in trials:
                if any(isinstance(letter, Ended) for letter in self._inboxes[trial].letters):
                    return trial
            self._receive()

    def close(self) -> None:
        """See `Crew`."""
        for member in self._members:
            if member.order is not None:
                member.process.send_signal(signal.SIGINT)
            member.line.close()
        for member in self._members:
            with suppress(subprocess.TimeoutExpired):
                member.process.wait(_GRACE_S)
            member.process.kill()
            member.process.wait()
        self._members.clear()
        os.close(self._here)
        os.close(self._there)

    def _hand_out(self) -> None:
        """Give orders to processes that have none."""
        while self._queue:
            idle = next((member for member in self._members if member.order is None), None)
            if idle is None and len(self._members) < self._number:
                idle = self._start()
            if idle is None:
                return
            order = self._queue.popleft()
            idle.line.send_bytes(_packed(order))
            idle.order = order
            self._inboxes[order.child.number].member = idle

    def _start(self) -> _Member:
        ours, theirs = socket.socketpair()
        environment = {"OMP_NUM_THREADS": str(self._post.num_cpus), **os.environ}
        process = subprocess.Popen(
            [sys.executable, "-m", _PROCESS, str(theirs.fileno()), str(self._there)],
            pass_fds=(theirs.fileno(), self._there),
            env=environment,
            # What interrupts this process is its own business, and that of `close`.
            process_group=0,
        )
        theirs.close()
        member = _Member(process, Connection(ours.detach()))
        member.line.send(list(sys.path))
        member.line.send_bytes(cloudpickle.dumps(self._post))
        self._members.append(member)
        return member

    def _receive(self) -> None:
        """Wait for a letter from any process."""
        busy = {member.line: member for member in self._members if member.order is not None}
        for line in wait(list(busy)):
            self._read(busy[line])  # type: ignore[index]

    def _read(self, member: _Member) -> None:
        assert member.order is not None
        letters = self._inboxes[member.order.child.number].letters
        try:
            letter = member.line.recv()
        except (EOFError, ConnectionError):
            self._bury(member)
            letter = Ended()
        letters.append(letter)
        if isinstance(letter, Ended):
            member.order = None
            self._hand_out()

    def _bury(self, member: _Member) -> None:
        """A process has died: so has its trial, unless it had ended."""
        assert member.order is not None
        self._members.remove(member)
        member.line.close()
        code = member.process.wait()
        how = f"died of signal {-code}" if code < 0 else f"ended with {code}"
        self._children.give_up(member.order.child, f"its process {how}")

    @staticmethod
    def _reply(inbox: _Inbox, said: int) -> None:
        assert inbox.member is not None
        # That it has died is heard next.
        with suppress(OSError):
            inbox.member.line.send(said)


def _packed(order: Order) -> bytes:
    try:
        return cloudpickle.dumps(order)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"max_concurrent_trials: the job function cannot be sent to another process ({said}); "
            "define it in a module, or leave max_concurrent_trials at 1"
        ) from error


def _num_cpus() -> int:
    """CPUs that all trials may use together."""
    allowed = session.limits().num_cpus
    if allowed is not None or "RAY_ADDRESS" not in os.environ:
        return allowed or os.cpu_count() or 1
    session.connect()
    return int(session.resources().get("CPU", 1))


def _silent(kind: str, **fields: Any) -> None:
    """Emit nothing: what a trial reports stands in its own run."""
