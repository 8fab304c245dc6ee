"""A run that was submitted: its status, its log, its end, and how to stop it.

One decision: status and log are read from the run's storage, so they are the same for the process
that submitted the run and for any later one; only waiting and stopping need the place it runs in.
"""

import platform
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from distml.errors import UserError
from distml.runs.paths import RunPaths
from distml.runs.record import RunRecord, RunStatus
from distml.runs.store import RunStore

if TYPE_CHECKING:
    from distml.launch.process import DriverProcess

__all__ = ["EXIT_CODES", "JobHandle", "ProcessHandle"]

_POLL_S = 0.2
EXIT_CODES = {RunStatus.SUCCEEDED: 0, RunStatus.STOPPED: 130}
"""What the end of a run that was not watched comes to; 1 for any other."""


class JobHandle(ABC):
    """A submitted run.

    May be used from several threads. Dropping it neither stops nor detaches the run.
    """

    def __init__(self, storage: str, run_id: str) -> None:
        self.store = RunStore(storage)
        self.run_id = run_id

    def record(self) -> RunRecord | None:
        """The run's record, `None` before there is one."""
        if self.store.storage.stat(RunPaths(self.run_id).record) is None:
            return None
        return self.store.load(self.run_id)

    def status(self) -> RunStatus:
        """Where the run stands; PENDING before it has a record."""
        record = self.record()
        return RunStatus.PENDING if record is None else record.status

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Pieces of the run's log as they are there.

        Args:
            follow: Go on until the run has ended.
        """
        path, position = RunPaths(self.run_id).log, 0
        while True:
            # Asked before reading, so that the last words are not missed.
            ended = not follow or self.status().is_final
            if self.store.storage.stat(path) is not None:
                with self.store.storage.open(path) as file:
                    file.seek(position)
                    piece = file.read()
                position += len(piece)
                if piece:
                    yield piece.decode(errors="replace")
            if ended:
                return
            time.sleep(_POLL_S)

    @abstractmethod
    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; the driver's exit code, `None` if it goes on after `timeout_s`."""

    @abstractmethod
    def stop(self, grace_s: float = 30.0) -> None:
        """Interrupt the run, and after `grace_s` seconds kill it; returns when nothing is left.

        Raises:
            UserError: the run does not run, or not where it can be reached from here.
        """

    def last_words(self) -> str:
        """What the driver wrote to stderr beside the log: an error in one line, or nothing."""
        return ""

    def why_pending(self) -> str | None:
        """Why the place has not begun with it; `None` if it has, or does not say."""
        return None


class ProcessHandle(JobHandle):
    """A run whose driver is a process of this host: started here, or found by its record."""

    def __init__(
        self,
        storage: str,
        run_id: str,
        *,
        child: "subprocess.Popen[bytes] | None" = None,
        words: IO[bytes] | None = None,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(storage, run_id)
        self._child = child
        self._words = words
        self._last_words = ""
        self._exit_code = exit_code

    def wait(self, timeout_s: float | None = None) -> int | None:
        """See `JobHandle`. Of a run that was not started here, the code that its status implies."""
        if self._exit_code is not None:
            return self._exit_code
        if self._child is None:
            return self._wait_for_record(timeout_s)
        try:
            code = self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        # A signal's number is negative here, and 128 + number in every shell.
        self._exit_code = code if code >= 0 else 128 - code
        self._keep_words()
        if code < 0:
            self._sweep(self._child.pid)
        return self._exit_code

    def stop(self, grace_s: float = 30.0) -> None:
        """See `JobHandle`."""
        process = self._process()
        if process is not None:
            process.stop(grace_s)
        if self._child is not None:
            self.wait()

    def last_words(self) -> str:
        """See `JobHandle`; known when `wait` has seen the end."""
        return self._last_words

    @staticmethod
    def _sweep(pid: int) -> None:
        """Kill what a driver left behind that had no time to end it."""
        from distml.launch.process import DriverProcess

        DriverProcess(pid, 0.0).kill_family()

    def _keep_words(self) -> None:
        if self._words is not None:
            with self._words as words:
                words.seek(0)
                self._last_words = words.read().decode(errors="replace")

    def _wait_for_record(self, timeout_s: float | None) -> int | None:
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not (status := self.status()).is_final:
            if end is not None and time.monotonic() > end:
                return None
            time.sleep(_POLL_S)
        return EXIT_CODES.get(status, 1)

    def _process(self) -> "DriverProcess | None":
        from distml.launch.process import DriverProcess

        if self._child is not None:
            return DriverProcess.find(self._child.pid)
        record = self.record()
        if record is None or record.status is not RunStatus.RUNNING:
            status = "not known" if record is None else record.status
            raise UserError(f"run {self.run_id} is {status}: there is nothing to stop")
        driver = record.attempts[-1]
        if driver.host != platform.node():
            raise UserError(f"run {self.run_id} runs on {driver.host}; stop it there")
        found = DriverProcess.find(driver.pid)
        # A later process has been given the number of a driver that just ended.
        return found if found and found.started_at <= driver.started_at + 2 else None
