"""Leases: at most one driver works on a run at a time, on any storage.

The one decision: no conditional writes, since not every store has them. Each claimant puts a file
of its own name into the lease folder, then lists it; whoever sees another living lease takes its
own back and refuses. Of two claimants at least the later one sees the other, so never both hold; at
worst neither does, which a few retries cure. Ages are compared between files, by the storage's
clock, so the clocks of the drivers' machines need not agree.
"""

import enum
import json
import os
import platform
import random
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from distml.errors import StorageError, UserError
from distml.runs.storage import Entry, Storage
from distml.runs.strict_json import dumps

__all__ = ["STALE_S", "Lease", "LeaseState", "lease_state"]

STALE_S = 15.0
"""A lease without a heartbeat for this many seconds belongs to a driver that is gone."""

_RETRIES = 3


class Lease:
    """The right to drive a run. As a context manager it is released at the end of the block.

    A thread renews it; when it cannot, or finds the lease taken over (this machine slept too long),
    it sets `lost` and calls `on_lost` once: the driver must stop writing then.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        *,
        stale_s: float = STALE_S,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.lost = False
        self._storage = storage
        self._folder = folder
        self._stale_s = stale_s
        self._on_lost = on_lost
        self._name = f"{secrets.token_hex(8)}.json"
        self._content = dumps(_this_process()).encode()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="distml-lease", daemon=True)

    def acquire(self) -> Self:
        """Take the lease and keep it alive.

        Returns:
            The lease itself.

        Raises:
            UserError: another driver holds it.
            StorageError: the storage refuses.
        """
        holder = self._claim()
        for _ in range(_RETRIES):
            if holder is None:
                break
            # Perhaps both came at once and both stepped back: do not meet again.
            time.sleep(random.uniform(0.02, 0.2))
            holder = self._claim()
        if holder is None:
            self._thread.start()
            return self
        raise UserError(
            f"run {self._folder.partition('/')[0]} is already being driven by process "
            f"{holder.get('pid')} on {holder.get('host')}; wait for it or stop it first"
        )

    def release(self) -> None:
        """Give the lease back; what is released already stays so.

        Raises:
            StorageError: the storage refuses; the lease goes stale by itself.
        """
        self._done.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()
        if not self.lost:
            self._storage.delete(self._path(self._name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _claim(self) -> dict[str, Any] | None:
        """Try once. Returns who holds the lease, or `None` if that is us now."""
        mine = self._path(self._name)
        self._storage.write(mine, self._content)
        try:
            holder = self._other_holder()
        except BaseException:
            self._storage.delete(mine)
            raise
        if holder is not None:
            self._storage.delete(mine)
        return holder

    def _other_holder(self) -> dict[str, Any] | None:
        """Look for another living driver; if there is none, clear away what dead ones left."""
        entries = self._storage.list(self._folder)
        now = max((e.modified_at for e in entries if e.name == self._name), default=time.time())
        others = [entry for entry in entries if entry.name != self._name]
        for entry in others:
            holder = _holder(self._storage, self._path(entry.name))
            if holder is not None and _is_alive(entry, holder, now, self._stale_s):
                return holder
        for entry in others:
            self._storage.delete(self._path(entry.name))
        return None

    def _beat(self) -> None:
        last = _awake_s()
        while not self._done.wait(self._stale_s / 4):
            try:
                slept = _awake_s() - last > self._stale_s
                if self._storage.stat(self._path(self._name)) is None or (
                    slept and self._claim() is not None
                ):
                    self._lose()
                    return
                self._storage.write(self._path(self._name), self._content)
                last = _awake_s()
            except StorageError:
                # A storage that is full or away for a moment is no reason to stop yet.
                if _awake_s() - last > self._stale_s:
                    self._lose()
                    return

    def _lose(self) -> None:
        self.lost = True
        if self._on_lost is not None:
            self._on_lost()


class LeaseState(enum.Enum):
    """What a lease folder says about the run's driver."""

    NONE = "no driver came yet, or the last one gave its lease back"
    HELD = "a driver lives"
    STALE = "a driver went away without a word"


def lease_state(storage: Storage, folder: str, *, stale_s: float = STALE_S) -> LeaseState:
    """Whether a driver lives, as far as this machine's clock can tell.

    Args:
        storage: where the run is.
        folder: the run's lease folder.
        stale_s: seconds without a heartbeat after which a driver counts as gone.

    Returns:
        The state, from one look at the folder.

    Raises:
        StorageError: the storage refuses.
    """
    state = LeaseState.NONE
    for entry in storage.list(folder):
        # A lease that is gone by now was given back.
        if holder := _holder(storage, f"{folder}/{entry.name}"):
            if _is_alive(entry, holder, time.time(), stale_s):
                return LeaseState.HELD
            state = LeaseState.STALE
    return state


def _holder(storage: Storage, path: str) -> dict[str, Any] | None:
    try:
        holder = json.loads(storage.read(path))
    except (FileNotFoundError, ValueError):
        return None
    return holder if isinstance(holder, dict) else None


def _is_alive(entry: Entry, holder: dict[str, Any], now: float, stale_s: float) -> bool:
    if now - entry.modified_at > stale_s:
        return False
    return holder.get("machine") != _machine() or _is_running(holder)


def _is_running(holder: dict[str, Any]) -> bool:
    import psutil

    try:
        process = psutil.Process(int(holder["pid"]))
        # A number may have been given to another process since; a zombie only waits to be reaped.
        same = abs(process.create_time() - float(holder["process_started"])) < 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return False


def _this_process() -> dict[str, Any]:
    import psutil

    return {
        "host": platform.node(),
        "machine": _machine(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
    }


def _machine() -> str:
    """What tells whether a process number means the same to us: machine, its boot, container."""
    facts = [platform.node()]
    try:
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        pass  # not Linux: the name has to do
    return " ".join(facts)


def _awake_s() -> float:
    """Seconds of a clock that does not stop while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
