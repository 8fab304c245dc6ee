"""Where units run: in this process, or as Ray tasks over arrays put into the object store once.

Both executors keep one contract, so the schedule knows neither Ray nor whether there is any. This
file has the only remote functions of the ensembles and waits for them.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import psutil
import sklearn

from distml import session
from distml.ensemble.letters import Letters, run_heard
from distml.ensemble.matrices import for_trees, is_for_tree, is_large
from distml.ensemble.members import Unit
from distml.ensemble.worker import (
    Outcome,
    Settings,
    WorkerLostError,
    detach,
    perform,
    run_unit,
    run_units,
)
from distml.runs.units import UnitStore

__all__ = ["Executor", "InlineExecutor", "RayExecutor"]

_MOST_RENEWALS = 2
"""Where new processes fail as well, it is the unit that cannot be loaded."""


class Executor(Protocol):
    """Carries units out.

    `submit` does not block. `wait` gives each submitted ticket back once, with its outcome.
    Used by one thread.
    """

    num_cpus: int
    """CPUs over which units are spread."""
    num_gpus: float
    """GPUs over which units are spread."""
    cpus_per_node: int
    """The most one unit can have."""
    memory_bytes: int
    """Memory that the units running at one time may add together."""
    together: int
    """How many small units may be submitted together."""

    def submit(
        self,
        ticket: Any,
        unit: Unit,
        *,
        cpus: int,
        gpus: float,
        memory_bytes: int,
        key: str | None,
        has_workers: bool,
    ) -> None:
        """Begin a unit; its value is stored under `key` if it has one.

        One that has workers of its own is carried out beside them, and its `cpus` and `gpus` are
        theirs.
        """

    def submit_together(
        self, small: Sequence[tuple[Any, Unit, str | None]], *, memory_bytes: int
    ) -> None:
        """Begin units that are carried out one after another on one CPU: tickets, units, keys."""

    def wait(self) -> tuple[Any, Outcome]:
        """Block until a submitted unit is done."""

    def close(self) -> None:
        """Stop what still runs and let go of what was shared."""


class InlineExecutor:
    """One unit after another in this process, so that breakpoints in a member's `fit` work."""

    def __init__(self, units: UnitStore | None = None) -> None:
        self.num_cpus = self.cpus_per_node = self.together = 1
        self.num_gpus = math.inf
        self.memory_bytes = psutil.virtual_memory().available
        self._units = units
        self._queue: deque[tuple[Any, Unit, str | None]] = deque()

    def submit(
        self,
        ticket: Any,
        unit: Unit,
        *,
        cpus: int,
        gpus: float,
        memory_bytes: int,
        key: str | None,
        has_workers: bool,
    ) -> None:
        """Put the unit at the end of the queue."""
        self._queue.append((ticket, unit, key))

    def submit_together(
        self, small: Sequence[tuple[Any, Unit, str | None]], *, memory_bytes: int
    ) -> None:
        """Remember the units."""
        self._queue.extend(small)

    def wait(self) -> tuple[Any, Outcome]:
        """Carry out the first unit of the queue, on all threads of the machine."""
        ticket, unit, key = self._queue.popleft()
        return ticket, perform(unit, Settings(units=self._units, key=key))

    def close(self) -> None:
        """Empty the queue."""
        self._queue.clear()


class RayExecutor:
    """Units as Ray tasks; an array is put into the object store once, however many units name it.

    Raises:
        UserError: `RAY_ADDRESS` names no Ray that answers.
    """

    def __init__(self, units: UnitStore | None = None) -> None:
        session.connect()
        import ray

        self._ray: Any = ray
        self._remote, self._heard = ray.remote(run_unit), ray.remote(run_heard)
        self._several = ray.remote(run_units)
        self.together = 32
        self._letters, self._speaking = Letters(ray), set[Any]()
        self._units = units
        self._running: dict[Any, tuple[tuple[Any, ...], int]] = {}
        self._renewals = 0
        self._done: deque[tuple[Any, Outcome]] = deque()
        # Each value holds the array too, so that its id is not given to another object meanwhile.
        self._shared: dict[tuple[int, bool], tuple[Any, Any]] = {}
        nodes = session.nodes()
        limits = session.limits()
        cpus, memory = ([node.get(kind, 0) for node in nodes] for kind in ("CPU", "memory"))
        self.num_cpus = max(1, int(min(sum(cpus), limits.num_cpus or math.inf)))
        self.num_gpus = float(sum(node.get("GPU", 0) for node in nodes))
        self.cpus_per_node = max(1, int(min(max(cpus), self.num_cpus)))
        self.memory_bytes = int(min(sum(memory), limits.memory_bytes or math.inf))
        self._memory_per_node = int(max(memory))

    def submit(
        self,
        ticket: Any,
        unit: Unit,
        *,
        cpus: int,
        gpus: float,
        memory_bytes: int,
        key: str | None,
        has_workers: bool,
    ) -> None:
        """Hand the unit to Ray."""
        shell, (X, *arrays) = detach(unit)
        settings = Settings(
            cpus=1 if has_workers else cpus,
            config=sklearn.get_config(),
            units=self._units,
            key=key,
            has_workers=has_workers,
        )
        # WorkerLostError workers are the schedule's business: it tries again with fewer at a time.
        # A request that no node can meet would wait for ever.
        memory = min(memory_bytes, self._memory_per_node) or None
        letterbox = self._letters.letterbox_for(unit.estimator)
        task = (self._heard if letterbox else self._remote).options(
            num_cpus=0 if has_workers else cpus,
            num_gpus=None if has_workers else gpus or None,
            memory=memory,
            max_retries=0,
            name=f"fit {getattr(ticket, 'name', unit.name)}",
            **self._processes(),
        )
        shared = [self._share(X, is_for_tree(unit, X)), *map(self._share, arrays)]
        tag = {"unit": getattr(ticket, "name", unit.name), "member": unit.member}
        heard = (letterbox, tag) if letterbox else ()
        reference = task.remote(*heard, shell, settings, *shared)
        self._running[reference] = ((ticket,), self._renewals)
        if heard:
            self._speaking.add(reference)

    def submit_together(
        self, small: Sequence[tuple[Any, Unit, str | None]], *, memory_bytes: int
    ) -> None:
        """Hand the units to Ray as one task, each array once."""
        shells, settings, places, arrays = [], [], [], dict[int, tuple[int, Any]]()
        config = sklearn.get_config()
        for _, unit, key in small:
            shell, (X, *others) = detach(unit)
            shared = [self._share(X, is_for_tree(unit, X)), *map(self._share, others)]
            places.append([arrays.setdefault(id(each), (len(arrays), each))[0] for each in shared])
            shells.append(shell)
            settings.append(Settings(cpus=1, config=config, units=self._units, key=key))
        task = self._several.options(
            num_cpus=1,
            memory=min(memory_bytes, self._memory_per_node) or None,
            max_retries=0,
            name=f"fit {small[0][1].name} and {len(small) - 1} others",
            **self._processes(),
        )
        reference = task.remote(shells, settings, places, *(each for _, each in arrays.values()))
        self._running[reference] = (tuple(ticket for ticket, *_ in small), self._renewals)

    def wait(self) -> tuple[Any, Outcome]:
        """Block until Ray has one of them done, and pass on what is heard meanwhile."""
        if not self._done:
            self._done.extend(self._arrived())
        return self._done.popleft()

    def _arrived(self) -> list[tuple[Any, Outcome]]:
        found: list[Any] = []
        while not found:
            self._letters.pass_on(wait=False)
            found, _ = self._ray.wait(list(self._running), timeout=self._letters.poll_s())
        (done,) = found
        self._letters.pass_on(wait=done in self._speaking)
        self._speaking.discard(done)
        tickets, renewals = self._running.pop(done)
        try:
            packed = self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            # No error of the fit, which is an outcome: this process can carry nothing out.
            self._renewals = min(max(self._renewals, renewals + 1), _MOST_RENEWALS)
            return _lost(tickets, f"{type(error.cause).__name__}: {error.cause}")
        except self._ray.exceptions.RayError as error:
            return _lost(tickets, str(error))
        several = packed if isinstance(packed, list) else [packed]
        return [
            (ticket, each.open(getattr(ticket, "name", "")))
            for ticket, each in zip(tickets, several, strict=True)
        ]

    def _processes(self) -> dict[str, Any]:
        """New ones after one was broken: it never tries again to load what it could not."""
        renewed = {"env_vars": {"DISTML_RENEWALS": str(self._renewals)}}
        return {"runtime_env": renewed} if self._renewals else {}

    def close(self) -> None:
        """Cancel what runs; the object store frees the arrays when nothing refers to them."""
        self._letters.close()
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._shared.clear()

    def _share(self, array: Any, for_tree: bool = False) -> Any:
        """A small array itself; a large one as the reference to its one copy in the store."""
        if not is_large(array):
            return array
        name = (id(array), for_tree)
        if name not in self._shared:
            shared = for_trees(array) if for_tree else array
            self._shared[name] = (array, self._ray.put(shared))
        return self._shared[name][1]


def _lost(tickets: Sequence[Any], said: str) -> list[tuple[Any, Outcome]]:
    error = WorkerLostError(next(iter(said.strip().splitlines()), "the worker is gone"))
    return [(ticket, Outcome(error=error)) for ticket in tickets]
