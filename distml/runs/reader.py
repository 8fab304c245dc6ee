"""Looking at the runs in one storage: list them, name one, read its record and events.

The one decision: looking needs no lease and changes nothing. Whether a driver lives is read from
its lease, so a run whose driver died shows as failed although nobody was left to write that down.
"""

import dataclasses
import difflib
import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from distml.errors import StorageError, UserError
from distml.runs.events import Event, read_events
from distml.runs.lease import LeaseState, lease_state
from distml.runs.paths import RunPaths
from distml.runs.record import DRIVER_DIED, RunRecord, RunStatus
from distml.runs.storage import Storage, absolute_uri, join_uri, open_storage, shown

__all__ = ["UNITS", "RunReader"]

UNITS = "units"
"""Folder of the units that all runs of a storage share."""

_NUM_READERS = 16
_LOOKS = 5


class RunReader:
    """All runs under one URI, to be read by any number of processes at once."""

    def __init__(self, uri: str | Path) -> None:
        self.uri = absolute_uri(uri)
        """Local path, or a URI as `open_storage` takes it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    @functools.cached_property
    def storage(self) -> Storage:
        """The storage itself, for what has no method here."""
        return open_storage(self.uri)

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

    def list(self) -> "list[RunRecord]":
        """All runs, the latest first.

        Returns:
            Records; a run whose driver died is FAILED, and so is one whose record is damaged.

        Raises:
            StorageError: the storage refuses.
        """
        folders = [
            entry.name for entry in self.storage.list() if entry.is_dir and entry.name != UNITS
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


def _unknown(run: str, run_ids: "list[str]", meant: "list[str]", uri: str) -> str:
    if len(meant) > 1:
        return f"run {run!r} could be {', '.join(meant[:4])}; give more of its name"
    if not run_ids:
        return f"no run {run!r}: there are no runs in {shown(uri)} yet; start one with `distml run`"
    near = difflib.get_close_matches(run, run_ids, n=1, cutoff=0.3) or run_ids[:1]
    return f"no run {run!r} in {shown(uri)}; did you mean {near[0]}? `distml list` shows all"
