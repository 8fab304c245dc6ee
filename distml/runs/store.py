"""The runs in one storage: create, claim, start, finish, list.

The one decision: a run is a folder named by its id, its state is one file that is replaced whole,
and nothing is ever deleted but leases. Whether a driver lives is read from its lease, so a run
whose driver died shows as failed although nobody was left to write that down.
"""

import dataclasses
import difflib
import functools
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distml.errors import StorageError, UserError
from distml.job import Result
from distml.runs.artifacts import fingerprint
from distml.runs.events import Event, EventLog, open_event_log, read_events
from distml.runs.lease import STALE_S, Lease, LeaseState, lease_state
from distml.runs.paths import RunPaths
from distml.runs.record import Attempt, RunRecord, RunStatus
from distml.runs.storage import Storage, absolute_uri, join_uri, open_storage, shown

if TYPE_CHECKING:
    from distml.runs.units import UnitStore

__all__ = ["DRIVER_DIED", "RunPaths", "RunStore"]

DRIVER_DIED = "driver died"
"""Reason of a run whose driver went away without a word."""

_NUM_READERS = 16
_LOOKS = 5
_UNITS = "units"


class RunStore:
    """All runs under one URI, and the units they share.

    Any number of processes may read; one driver at a time writes to a run, the one that holds its
    lease.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = absolute_uri(uri)
        """Local path, or a URI as `open_storage` takes it."""

    def __repr__(self) -> str:
        return f"RunStore({self.uri!r})"

    @functools.cached_property
    def storage(self) -> Storage:
        """The storage itself, for what has no method here."""
        return open_storage(self.uri)

    @functools.cached_property
    def units(self) -> "UnitStore":
        """The units of all runs here: a plain re-run finds what an earlier run has fitted."""
        from distml.runs.units import UnitStore

        return UnitStore(join_uri(self.uri, _UNITS))

    def paths(self, run_id: str) -> RunPaths:
        """The full names of a run's files.

        Args:
            run_id: the run.

        Returns:
            Paths or URIs that any process can open.

        Raises:
            Nothing.
        """
        return RunPaths(join_uri(self.uri, run_id))

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

    def list(self) -> "list[RunRecord]":
        """All runs, the latest first.

        Returns:
            Records; a run whose driver died is FAILED, and so is one whose record is damaged.

        Raises:
            StorageError: the storage refuses.
        """
        folders = [
            entry.name for entry in self.storage.list() if entry.is_dir and entry.name != _UNITS
        ]
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            records = [record for record in pool.map(self._seen, folders) if record is not None]
        return sorted(records, key=lambda record: (record.created_at, record.run_id), reverse=True)

    def resolve(self, run: str) -> str:
        """Find the run that is meant.

        Args:
            run: its id, an unmistakable part of it, or `last`.

        Returns:
            Its id.

        Raises:
            UserError: none is meant, or several.
            StorageError: the storage refuses.
        """
        if run and "/" not in run and self.storage.stat(RunPaths(run).record) is not None:
            return run
        run_ids = [record.run_id for record in self.list()]
        if run == "last" and run_ids:
            return run_ids[0]
        beginning = [run_id for run_id in run_ids if run_id.startswith(run)]
        meant = beginning or [run_id for run_id in run_ids if run in run_id]
        if run and len(meant) == 1:
            return meant[0]
        raise UserError(_unknown(run, run_ids, meant if run else [], self.uri))

    def load(self, run: str) -> RunRecord:
        """Read the record of a run.

        Args:
            run: its id, an unmistakable part of it, or `last`.

        Returns:
            The record; FAILED if the driver died.

        Raises:
            UserError: there is no such run.
            StorageError: the storage refuses, or the record is damaged.
        """
        return self._with_fate(self._read(self.resolve(run)))

    def job_source(self, run: str) -> str:
        """Read the job file of a run as it was.

        Args:
            run: its id, an unmistakable part of it, or `last`.

        Returns:
            Python source text.

        Raises:
            UserError: there is no such run.
            StorageError: the storage refuses.
        """
        run_id = self.resolve(run)
        try:
            return self.storage.read(RunPaths(run_id).job_source).decode()
        except FileNotFoundError:
            raise StorageError(f"run {run_id}: its copy of the job file is gone") from None

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

    def events(self, run: str, *, follow: bool = False) -> Iterator[Event]:
        """Read what a run reported.

        Args:
            run: its id, an unmistakable part of it, or `last`.
            follow: go on until the run has ended.

        Returns:
            Events, the earliest first.

        Raises:
            UserError: there is no such run.
            StorageError: the storage refuses.
        """
        run_id = self.resolve(run)
        return read_events(
            self.storage,
            RunPaths(run_id).events,
            follow=follow,
            finished=lambda: self.load(run_id).status.is_final,
        )

    def _read(self, run_id: str) -> RunRecord:
        try:
            return self._record(run_id)
        except FileNotFoundError:
            raise UserError(
                f"no run {run_id!r} in {shown(self.uri)}; `distml list` shows them"
            ) from None

    def _record(self, run_id: str) -> RunRecord:
        """The record as it is stored; `FileNotFoundError` without one."""
        path = RunPaths(run_id).record
        try:
            return RunRecord.from_json(self.storage.read(path))
        except StorageError:
            # An object replaced between pyarrow's two requests (size, content) reads cut short.
            again = self.storage.read(path)
        try:
            return RunRecord.from_json(again)
        except StorageError as error:
            raise StorageError(f"run {run_id} in {shown(self.uri)}: {error}") from error

    def _write(self, record: RunRecord) -> RunRecord:
        text = record.to_json()
        self.storage.write(RunPaths(record.run_id).record, text.encode())
        return RunRecord.from_json(text)

    def _seen(self, folder: str) -> RunRecord | None:
        """The run in a folder as `list` shows it; `None` if the folder holds something else."""
        try:
            return self._with_fate(self._record(folder))
        except FileNotFoundError:
            return None
        except StorageError as error:
            reason = f"its record cannot be read: {error}"
            return RunRecord(run_id=folder, job_file="", status=RunStatus.FAILED, reason=reason)

    def _with_fate(self, record: RunRecord) -> RunRecord:
        """The record, or what became of its run if the driver is gone."""
        for _ in range(_LOOKS):
            state = lease_state(self.storage, RunPaths(record.run_id).lease)
            waits = record.status is RunStatus.PENDING and state is LeaseState.NONE
            if record.status.is_final or state is LeaseState.HELD or waits:
                return record
            # The driver may have finished, or another begun, since we read: then it says so by now.
            again = self._record(record.run_id)
            if again == record:
                return dataclasses.replace(record, status=RunStatus.FAILED, reason=DRIVER_DIED)
            record = again
        return record

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


def _unknown(run: str, run_ids: "list[str]", meant: "list[str]", uri: str) -> str:
    if len(meant) > 1:
        return f"run {run!r} could be {', '.join(meant[:4])}; give more of its name"
    if not run_ids:
        return f"no run {run!r}: there are no runs in {shown(uri)} yet; start one with `distml run`"
    near = difflib.get_close_matches(run, run_ids, n=1, cutoff=0.3) or run_ids[:1]
    return f"no run {run!r} in {shown(uri)}; did you mean {near[0]}? `distml list` shows all"
