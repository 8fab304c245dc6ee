"""The schedule of a job's units on a cluster that need not exist: when it would end.

One decision: it does what the ensembles' queue does, event by event. The driver hands units out one
after another, longest first; a machine takes what it has room for; stages wait for each other. What
a unit costs beside its own work are constants, measured by `benchmarks/bench_cluster.py`.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Constants", "Load", "Machine", "Simulated", "room", "simulate"]

_SLACK = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Units that are alike."""

    name: str
    seconds: float
    """Of one, on as many workers as it has."""
    count: int = 1
    num_workers: int = 1
    """Processes that one unit needs at the same time, on any machines."""
    cpus: float = 1.0
    """CPUs of each."""
    gpus: float = 0.0
    """GPUs of each."""
    memory_bytes: float = 0.0
    """Memory that each adds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine of a cluster."""

    cpus: float
    gpus: float = 0.0
    memory_bytes: float = math.inf
    """What units may take of its memory."""
    ready_s: float = 0.0
    """When it joins."""
    is_head: bool = False
    """Whether the driver runs on it, which has the data already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Constants:
    """What distml and Ray take beside the work itself, in seconds."""

    unit_s: float = 0.0
    """A unit on its worker, beside its fit: fetching, storing, reporting."""
    dispatch_s: float = 0.0
    """A unit in the driver, which does one after another."""
    worker_start_s: float = 0.0
    """The first unit of a worker: a process that loads the libraries."""
    bytes_per_s: float = math.inf
    """What one machine sends to another."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it."""

    seconds: float
    """From the first machine's beginning to the last unit's end."""
    stage_ends: tuple[float, ...]
    most_at_once: int
    """Units that ran at the same time at most."""
    busy_s: float
    """Seconds of work, over all CPUs."""


def room(cpus: float, gpus: float, memory_bytes: float, load: Load) -> int:
    """How many workers of such a unit have room in so much.

    Args:
        cpus: CPUs that are free.
        gpus: GPUs that are free.
        memory_bytes: Memory that is free.
        load: The unit.
    """
    there = ((cpus, load.cpus), (gpus, load.gpus), (memory_bytes, load.memory_bytes))
    bounds = [free / asked for free, asked in there if asked > 0]
    return max(0, math.floor(min([*bounds, 1e9]) + _SLACK))


@dataclass(slots=True, eq=False)
class _Place:
    """What is free on a machine."""

    machine: Machine
    cpus: float
    gpus: float
    memory_bytes: float
    data_at: float | None
    is_open: bool = True
    running: int = 0
    started: int = 0
    """Workers that have loaded their libraries."""

    def room(self, load: Load) -> int:
        """How many workers of such a unit it takes now."""
        return room(self.cpus, self.gpus, self.memory_bytes, load)

    def take(self, load: Load, num: int) -> None:
        self.cpus -= num * load.cpus
        self.gpus -= num * load.gpus
        self.memory_bytes -= num * load.memory_bytes
        self.running += num


class _Clock:
    """The cluster while time goes by."""

    def __init__(self, constants: Constants, shared_bytes: float) -> None:
        self.now = self.driver_free = self.busy_s = 0.0
        self.at_once = self.most_at_once = 0
        self._constants, self._shared_bytes = constants, shared_bytes
        # Machines that may have room for the unit whose turn it is, the last to be tried first; and
        # those that had none for it.
        self._open, self._shut = list[_Place](), list[_Place]()
        self._events: list[tuple[float, int, list[tuple[_Place, int]], Load | None]] = []
        self._senders, self._number = 1, 0

    def join(self, machine: Machine) -> None:
        """A machine joins when it is ready."""
        at = 0.0 if machine.is_head else None
        place = _Place(machine, machine.cpus, machine.gpus, machine.memory_bytes, at, False)
        self._push(machine.ready_s, [(place, 0)], None)

    def begin(self, load: Load) -> bool:
        """Start one unit now; whether there was room."""
        shares = self._find(load)
        if shares is None:
            return False
        self.driver_free = max(self.now, self.driver_free) + self._constants.dispatch_s
        ready = max(self._ready(place, num) for place, num in shares)
        for place, num in shares:
            place.take(load, num)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.busy_s += load.seconds * load.num_workers * load.cpus
        self._push(ready + self._constants.unit_s + load.seconds, shares, load)
        return True

    def next_event(self) -> bool:
        """Go on to the next end of a unit, or machine that joins; False where there is none."""
        if not self._events:
            return False
        self.now, _, shares, load = heapq.heappop(self._events)
        for place, num in shares:
            if load is not None:
                place.take(load, -num)
            if not place.is_open:
                place.is_open = True
                self._open.append(place)
        self.at_once -= load is not None
        return True

    def reopen(self) -> None:
        """Another kind of unit has its turn."""
        for place in self._shut:
            if not place.is_open:
                place.is_open = True
                self._open.append(place)
        self._shut = []

    def _find(self, load: Load) -> list[tuple[_Place, int]] | None:
        """Machines for all workers of a unit, as many on each as have room."""
        shares, missing = list[tuple[_Place, int]](), load.num_workers
        while self._open and missing:
            place = self._open.pop()
            num = min(place.room(load), missing)
            if num:
                shares.append((place, num))
                missing -= num
            else:
                place.is_open = False
                self._shut.append(place)
        self._open += [place for place, _ in reversed(shares)]
        return None if missing else shares

    def _ready(self, place: _Place, num: int) -> float:
        """When the data and the processes are there."""
        at = self.driver_free
        if place.data_at is None:
            # Who has it sends it on, so the number of senders doubles with each round.
            rounds = math.ceil(math.log2(self._senders + 1))
            place.data_at = at + rounds * self._shared_bytes / self._constants.bytes_per_s
            self._senders += 1
        at = max(at, place.data_at)
        if place.running + num > place.started:
            place.started = place.running + num
            at += self._constants.worker_start_s
        return at

    def _push(self, at: float, shares: list[tuple[_Place, int]], load: Load | None) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, shares, load))


def simulate(
    stages: Sequence[Sequence[Load]],
    machines: Sequence[Machine],
    constants: Constants | None = None,
    *,
    shared_bytes: float = 0.0,
) -> Simulated:
    """Lay units out over machines.

    Args:
        stages: Loads of each stage; a stage begins when all of the former one has ended.
        machines: The cluster.
        constants: What a unit costs beside its work; nothing if left out.
        shared_bytes: What a machine needs of the data before its first unit begins.

    Returns:
        When it ends, and how it went.

    Raises:
        ValueError: a unit has room nowhere, however long it waits.
    """
    clock = _Clock(constants or Constants(), shared_bytes)
    for machine in machines:
        clock.join(machine)
    ends = []
    for stage in stages:
        for load, is_first in _in_turn(stage):
            if is_first:
                clock.reopen()
            while not clock.begin(load):
                if not clock.next_event():
                    raise ValueError(f"{load.name} has room on none of the machines")
        while clock.at_once:
            clock.next_event()
        ends.append(max(clock.now, clock.driver_free))
        clock.now = ends[-1]
    return Simulated(
        seconds=ends[-1] if ends else 0.0,
        stage_ends=tuple(ends),
        most_at_once=clock.most_at_once,
        busy_s=clock.busy_s,
    )


def _in_turn(stage: Sequence[Load]) -> Iterator[tuple[Load, bool]]:
    """The units of a stage, the longest first, and whether each is the first of its kind."""
    for load in sorted(stage, key=lambda load: -load.seconds):
        for number in range(load.count):
            yield load, number == 0
