"""A driver's process and everything it started, watched and stopped as one.

One decision: a driver of its own leads a session (`setsid`), so "everything it started" is asked of
the kernel: Ray's servers and workers stay in that session, whatever their parent or process group.
A driver that leads none (debug, in somebody's shell) is taken with its descendants only.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass

import psutil

__all__ = ["DriverProcess"]

_POLL_S = 0.05
_KILL_S = 5.0
_CLOCK_SLACK_S = 2.0  # start times are counted from boot, and the clock may be set in between


@dataclass(frozen=True, slots=True)
class DriverProcess:
    """A process of this host by its id and start time, which together are never used twice."""

    pid: int
    started_at: float
    """Unix seconds, as psutil gives it."""

    @classmethod
    def find(cls, pid: int) -> "DriverProcess | None":
        """The process with this id, if there is one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return cls(pid, psutil.Process(pid).create_time())
        return None

    def is_alive(self) -> bool:
        """Whether it runs; a dead one that its parent has not collected does not."""
        return _lives(self.pid, self.started_at)

    def family(self) -> "list[DriverProcess]":
        """The process, its descendants, and what is in its session if it leads one."""
        pids = set(_session(self.pid)) if self._may_lead() else set()
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.is_alive():
                pids |= {self.pid}
                pids |= {child.pid for child in psutil.Process(self.pid).children(recursive=True)}
        pids.discard(os.getpid())
        return [found for pid in sorted(pids) if (found := DriverProcess.find(pid))]

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended, for at most `timeout_s` seconds; whether it has."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self.is_alive():
            if end is not None and time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
        return True

    def stop(self, grace_s: float) -> bool:
        """Interrupt it, wait `grace_s` seconds, then kill it and all that is left of its family.

        Returns:
            Whether it ended by itself.
        """
        family = self.family()
        _send(self, signal.SIGINT)
        by_itself = self.wait(grace_s)
        # What lost its parent may be found by the former list only.
        self.kill_family(*family)
        return by_itself

    def kill_family(self, *more: "DriverProcess") -> None:
        """Kill it, its family and `more`, and wait until they are gone."""
        family = {*more, *self.family()}
        for member in family:
            _send(member, signal.SIGKILL)
        for member in family:
            member.wait(_KILL_S)

    def _may_lead(self) -> bool:
        """Whether the session numbered `pid` can be its own: nobody else has that id by now."""
        return self.is_alive() or not psutil.pid_exists(self.pid) or _is_zombie(self.pid)


def _lives(pid: int, started_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started_at) < _CLOCK_SLACK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def _session(leader: int) -> list[int]:
    """Processes of the session that `leader` leads or led."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader:
                found.append(pid)
    return found


def _send(process: DriverProcess, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process.is_alive():
            os.kill(process.pid, signum)
