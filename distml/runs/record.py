"""What is known of a run: one immutable value, one JSON file.

The one decision: a record says what the run *is* (parameters, seed, code, versions, outcome), and
is replaced whole when its state changes, by the one driver that holds the run's lease; what happens
meanwhile goes into events. Fields of later versions are ignored when read.
"""

import dataclasses
import enum
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from distml.errors import StorageError
from distml.runs.strict_json import dumps

__all__ = ["DRIVER_DIED", "Attempt", "RunRecord", "RunStatus", "new_run_id"]


DRIVER_DIED = "driver died"
"""Reason of a run whose driver went away without a word."""


class RunStatus(enum.StrEnum):
    """The states of a run: Ray's five."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens unless the run is resumed."""
        return self not in (RunStatus.PENDING, RunStatus.RUNNING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One driver's go at a run: the first start, or a resume."""

    started_at: float
    """Unix seconds."""
    host: str
    """Name of the machine."""
    pid: int
    """Process number of the driver there."""
    launcher: str = ""
    """Where it ran: `debug`, `local`, …"""
    finished_at: float | None = None
    """Unix seconds; `None` while it goes on, or if the driver died."""
    status: RunStatus = RunStatus.RUNNING
    """How it ended."""
    reason: str | None = None
    """Why it ended so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """Everything about a run that is not an event, a unit or an artifact."""

    run_id: str
    """Name of the run, unique in its storage."""
    job_file: str
    """Path of the job file, as the user gave it."""
    folder: str | None = None
    """Working directory it was begun in; `None` where that was a tree that was sent, or before."""
    job_source: str = "job.py"
    """Name of the copy of the job file in the run's directory."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the `job()` function."""
    launcher: str = ""
    """Where it was started: `debug`, `local`, …"""
    seed: int | None = None
    """The job's seed; `None` until the job is built."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """What the job may use."""
    git: Mapping[str, Any] | None = None
    """`commit` and `dirty` of the job file's repository; `None` without one."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library → version, of those that are installed."""
    host: Mapping[str, Any] = field(default_factory=dict)
    """`name`, `cpus`, `memory_bytes`, `platform` of the machine that made the record."""
    created_at: float = 0.0
    """Unix seconds."""
    started_at: float | None = None
    """Unix seconds of the first start."""
    finished_at: float | None = None
    """Unix seconds of the last end."""
    status: RunStatus = RunStatus.PENDING
    """State of the run."""
    reason: str | None = None
    """Why it is in this state, in one line."""
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Test set → scorer name → score; `None` where the score is not a number."""
    table: Sequence[Mapping[str, Any]] = ()
    """The result table, a row per model."""
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name → `path` (in the run's directory), `sha256`, `bytes`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Data fingerprint, split, features, times."""
    attempts: tuple[Attempt, ...] = ()
    """One per start, the first first."""

    @property
    def is_written_off(self) -> bool:
        """Whether its driver has gone without a word: it may be started again, where it was."""
        return self.status is RunStatus.FAILED and self.reason == DRIVER_DIED

    @property
    def job_name(self) -> str:
        """The job file's name without folder and suffix."""
        return PurePath(self.job_file).stem

    @property
    def seconds(self) -> float | None:
        """How long the attempts took together; one that is not finished counts until now."""
        if not self.attempts:
            return None
        ongoing = time.time() if self.status is RunStatus.RUNNING else None
        return sum(
            (attempt.finished_at or ongoing or attempt.started_at) - attempt.started_at
            for attempt in self.attempts
        )

    def to_json(self) -> str:
        """Write the record as JSON.

        Returns:
            Strict JSON, indented, with a newline at its end.

        Raises:
            RecursionError: `details` contains itself.
        """
        fields = {name.name: getattr(self, name.name) for name in dataclasses.fields(self)}
        fields["attempts"] = [dataclasses.asdict(attempt) for attempt in self.attempts]
        return dumps(fields, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "RunRecord":
        """Read a record.

        Args:
            text: what `to_json` gave, now or in another version.

        Returns:
            The record.

        Raises:
            StorageError: the text is no record.
        """
        try:
            fields = _known(cls, json.loads(text))
            fields["status"] = RunStatus(fields["status"])
            fields["attempts"] = tuple(map(_attempt, fields.get("attempts", ())))
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(
                f"not a run record ({error}); it was changed or cut short"
            ) from error

    def as_stored(self) -> "RunRecord":
        """The record as it will be read back: tuples are lists, NaN is `None`.

        Returns:
            An equal record, but for what JSON lacks.

        Raises:
            RecursionError: `details` contains itself.
        """
        return RunRecord.from_json(self.to_json())


def new_run_id(job_file: str) -> str:
    """Make up a name for a run: time (UTC), job, and what makes it unique.

    Args:
        job_file: path of the job file.

    Returns:
        For instance `20260719-143012-flights_stacking-3f2a`; names sort by time.

    Raises:
        Nothing.
    """
    stem = "".join(c if c.isalnum() or c in "_-" else "_" for c in PurePath(job_file).stem)
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{stem}-{secrets.token_hex(2)}"


def _known(cls: type, values: Any) -> dict[str, Any]:
    names = {item.name for item in dataclasses.fields(cls)}
    return {name: value for name, value in values.items() if name in names}


def _attempt(values: Any) -> Attempt:
    fields = _known(Attempt, values)
    fields["status"] = RunStatus(fields["status"])
    return Attempt(**fields)
