"""The runs in one storage: create, claim, start, finish.

The one decision: a run is a folder named by its id, its state is one file that is replaced whole by
the driver that holds its lease, and nothing is ever deleted but leases.
"""

import dataclasses
import functools
import os
import platform
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distml.errors import StorageError, UserError
from distml.job import Result
from distml.runs.artifacts import fingerprint
from distml.runs.events import EventLog, open_event_log
from distml.runs.lease import STALE_S, Lease
from distml.runs.paths import RunPaths
from distml.runs.reader import UNITS, RunReader
from distml.runs.record import DRIVER_DIED, Attempt, RunRecord, RunStatus
from distml.runs.storage import join_uri, shown

if TYPE_CHECKING:
    from distml.runs.units import UnitStore

__all__ = ["DRIVER_DIED", "RunPaths", "RunStore"]


class RunStore(RunReader):
    """All runs under one URI, and the units they share.

    Any number of processes may read; one driver at a time writes to a run, the one that holds its
    lease.
    """

    @functools.cached_property
    def units(self) -> "UnitStore":
        """The units of all runs here: a plain re-run finds what an earlier run has fitted."""
        from distml.runs.units import UnitStore

        return UnitStore(join_uri(self.uri, UNITS))

    def check(self) -> None:
        """Make sure that the storage can be written and read, before anything is computed.

        Raises:
            StorageError: it cannot.
        """
        name, content = f"check-{secrets.token_hex(8)}", secrets.token_bytes(64)
        self.storage.write(name, content)
        try:
            same = self.storage.read(name) == content
        except FileNotFoundError:
            same = False
        self.storage.delete(name)
        if not same:
            raise StorageError(
                f"storage {shown(self.uri)} does not give back what was written; choose another"
            )

    def create(self, record: RunRecord, job_source: str) -> RunPaths:
        """Write a new run down.

        Args:
            record: its record, usually pending.
            job_source: text of the job file.

        Returns:
            The full names of its files.

        Raises:
            UserError: there is a run of that name.
            StorageError: the storage refuses.
        """
        here = RunPaths(record.run_id)
        if self.storage.stat(here.record) is not None:
            raise UserError(f"run {record.run_id} exists in {shown(self.uri)}; choose another name")
        self.storage.write(here.job_source, job_source.encode())
        # The record comes last: without it there is no run.
        self._write(record)
        return self.paths(record.run_id)

    def claim(
        self,
        run_id: str,
        *,
        on_lost: Callable[[], None] | None = None,
        stale_s: float = STALE_S,
    ) -> Lease:
        """Take the right to drive a run; `with store.claim(run_id): …` gives it back.

        Args:
            run_id: the run.
            on_lost: called from another thread if another driver took the run over, because this
                machine slept or was cut off.
            stale_s: seconds without a heartbeat after which another driver counts as gone.

        Returns:
            The lease, held.

        Raises:
            UserError: another driver works on it.
            StorageError: the storage refuses.
        """
        lease = Lease(self.storage, RunPaths(run_id).lease, stale_s=stale_s, on_lost=on_lost)
        return lease.acquire()

    def start(self, run_id: str, **changes: Any) -> RunRecord:
        """Note that an attempt begins. The caller holds the lease.

        Args:
            run_id: the run.
            **changes: fields of the record that are known only now, such as `seed`.

        Returns:
            The record, running.

        Raises:
            UserError: the run has succeeded already.
            StorageError: the storage refuses.
        """
        record = dataclasses.replace(self._read(run_id), **changes)
        if record.status is RunStatus.SUCCEEDED:
            raise UserError(f"run {run_id} has succeeded: nothing to resume; start a new run")
        attempt = Attempt(
            started_at=time.time(),
            host=platform.node(),
            pid=os.getpid(),
            launcher=record.launcher,
        )
        return self._write(
            dataclasses.replace(
                record,
                status=RunStatus.RUNNING,
                reason=None,
                started_at=record.started_at or attempt.started_at,
                finished_at=None,
                attempts=(*map(_given_up, record.attempts), attempt),
            )
        )

    def finish(
        self,
        run_id: str,
        *,
        status: RunStatus,
        reason: str | None = None,
        result: Result | None = None,
    ) -> RunRecord:
        """Note how an attempt ended. The caller holds the lease.

        Args:
            run_id: the run.
            status: SUCCEEDED, FAILED or STOPPED.
            reason: why, in one line.
            result: what the task gave back, if it came to that.

        Returns:
            The record, with sizes and hashes of the artifacts.

        Raises:
            StorageError: the storage refuses, or an artifact is not there.
        """
        record, now = self._read(run_id), time.time()
        outcome: dict[str, Any] = {} if result is None else self._outcome(run_id, result)
        ended: dict[str, Any] = {"status": status, "reason": reason, "finished_at": now}
        last = [dataclasses.replace(attempt, **ended) for attempt in record.attempts[-1:]]
        ended["attempts"] = (*record.attempts[:-1], *last)
        return self._write(dataclasses.replace(record, **outcome, **ended))

    def annotate(self, run_id: str, **details: Any) -> RunRecord:
        """Add to the details of a run that has ended.

        Args:
            run_id: the run.
            **details: what to add; what is there under the same name is replaced.

        Returns:
            The record.

        Raises:
            UserError: a driver works on it.
            StorageError: the storage refuses.
        """
        with self.claim(run_id):
            record = self._read(run_id)
            return self._write(dataclasses.replace(record, details={**record.details, **details}))

    def event_log(self, run_id: str) -> EventLog:
        """Open the events of a run to add to them, and note that an attempt begins.

        The caller holds the lease, and closes the log.

        Args:
            run_id: the run.

        Returns:
            The log; `.append` is what `use_events` and `RunContext.emit` want.

        Raises:
            StorageError: the storage refuses.
        """
        log = open_event_log(self.storage, RunPaths(run_id).events)
        log.append("attempt", number=len(self._read(run_id).attempts))
        return log

    def _write(self, record: RunRecord) -> RunRecord:
        text = record.to_json()
        self.storage.write(RunPaths(record.run_id).record, text.encode())
        return RunRecord.from_json(text)

    def _outcome(self, run_id: str, result: Result) -> dict[str, Any]:
        artifacts = {
            name: {"path": path, **self._fingerprint(run_id, path)}
            for name, path in result.artifacts.items()
        }
        return {
            "metrics": result.metrics,
            "table": result.table,
            "artifacts": artifacts,
            "details": result.details,
        }

    def _fingerprint(self, run_id: str, path: str) -> dict[str, Any]:
        try:
            return fingerprint(self.storage, f"{run_id}/{path.strip('/')}")
        except FileNotFoundError:
            raise StorageError(
                f"run {run_id}: artifact {path!r} is not in {shown(self.uri)}"
            ) from None


def _given_up(attempt: Attempt) -> Attempt:
    """An attempt that a dead driver left open."""
    if attempt.status.is_final:
        return attempt
    return dataclasses.replace(attempt, status=RunStatus.FAILED, reason=DRIVER_DIED)
