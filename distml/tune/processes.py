"""A crew of several processes: trials of a search over jobs that run at one time.

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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle

from distml import session
from distml.ensemble.parcel import WorkerLostError
from distml.errors import DistmlError, UserError
from distml.job import RunContext
from distml.runs.units import UnitStore, active_units
from distml.tune.children import Children
from distml.tune.crew import Answer
from distml.tune.orders import Order
from distml.tune.reports import Report

__all__ = ["Ended", "Post", "Processes"]

_PROCESS = "distml.tune.trial_process"
_GRACE_S = 20.0
"""Seconds that a process has to leave a checkpoint and its Ray."""


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
        self._whole = Post(
            context=replace(context, emit=_silent),
            num_cpus=_num_cpus(),
            memory_bytes=session.limits().memory_bytes,
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
        self._dismiss()
        os.close(self._here)
        os.close(self._there)

    def _hand_out(self) -> None:
        """Give orders to processes that have none."""
        while self._queue and (idle := self._idle(self._queue[0])) is not None:
            order = self._queue.popleft()
            idle.line.send_bytes(_packed(order))
            idle.order = order
            self._inboxes[order.child.number].member = idle

    def _idle(self, order: Order) -> _Member | None:
        """A process for an order; `None` as long as there is none."""
        if order.alone:
            # What the others hold, it is to have.
            self._dismiss()
            return self._start(1)
        for member in self._members:
            if member.order is None:
                return member
        return self._start(self._number) if len(self._members) < self._number else None

    def _dismiss(self) -> None:
        """End all processes."""
        for member in self._members:
            member.line.close()
        for member in self._members:
            with suppress(subprocess.TimeoutExpired):
                member.process.wait(_GRACE_S)
            member.process.kill()
            member.process.wait()
        self._members.clear()

    def _start(self, parts: int) -> _Member:
        """Start a process that has one of so many parts of the CPUs and of the memory."""
        memory = self._whole.memory_bytes
        post = replace(
            self._whole,
            num_cpus=max(1, self._whole.num_cpus // parts),
            memory_bytes=None if memory is None else memory // parts,
        )
        ours, theirs = socket.socketpair()
        environment = {"OMP_NUM_THREADS": str(post.num_cpus), **os.environ}
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
        member.line.send_bytes(cloudpickle.dumps(post))
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
            alone, member.order = member.order.alone, None
            if alone:
                # It has the part of all.
                self._dismiss()
            self._hand_out()

    def _bury(self, member: _Member) -> None:
        """A process has died: so has its trial, unless it had ended."""
        assert member.order is not None
        self._members.remove(member)
        member.line.close()
        code, order = member.process.wait(), member.order
        how = f"died of signal {-code}" if code < 0 else f"ended with {code}"
        # That is how the kernel ends what takes too much memory.
        kind = WorkerLostError if code == -signal.SIGKILL else DistmlError
        error = kind(f"its process {how}")
        self._children.give_up(order.child, error, may_put_off=order.may_put_off)

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
