"""Plans of jobs, kept beside the runs so that a run can say what had been expected of it.

The one decision: a plan belongs to the job file's text and its parameters, not to a name; a job
that was changed has no plan. The last plan replaces the former one.
"""

import itertools
import json
import statistics
from collections.abc import Mapping
from typing import Any

from distml.runs.digest import digest
from distml.runs.reader import RunReader
from distml.runs.record import RunRecord, RunStatus
from distml.runs.storage import Storage
from distml.runs.strict_json import dumps, to_json

__all__ = [
    "earlier_runs",
    "load_expectation",
    "load_plan",
    "plan_key",
    "same_run",
    "save_expectation",
    "save_plan",
]

_FOLDER = "plans"
_SCALED = ("rows",)
"""Parameters that may differ in an earlier run: its time is scaled by its rows."""
_MOST = 5


def plan_key(source: str, parameters: Mapping[str, Any]) -> str:
    """Name a plan by what it is the plan of.

    Args:
        source: text of the job file.
        parameters: what `job()` is given, as JSON.

    Returns:
        64 hexadecimal characters.

    Raises:
        Nothing.
    """
    return digest([source, dumps(to_json(parameters))])


def save_plan(storage: Storage, key: str, plan: Mapping[str, Any]) -> None:
    """Keep a plan.

    Args:
        storage: of the runs.
        key: of `plan_key`.
        plan: JSON.

    Raises:
        StorageError: the storage refuses.
    """
    storage.write(f"{_FOLDER}/{key}.json", (dumps(plan, indent=2) + "\n").encode())


def load_plan(storage: Storage, key: str) -> dict[str, Any] | None:
    """The last plan of this key.

    Args:
        storage: of the runs.
        key: of `plan_key`.

    Returns:
        The plan; `None` if there is none, or it is damaged.

    Raises:
        StorageError: the storage refuses.
    """
    try:
        plan: dict[str, Any] = json.loads(storage.read(f"{_FOLDER}/{key}.json"))
        return plan if "seconds" in plan and "memory" in plan else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def save_expectation(
    storage: Storage, key: str, place: str, expectation: Mapping[str, Any]
) -> None:
    """Keep what is expected of a job in one place, for its run there.

    Args:
        storage: of the runs.
        key: of `plan_key`.
        place: as `--on` names it.
        expectation: JSON: `seconds`, `peak_bytes`, `cost`, `machines`.

    Raises:
        StorageError: the storage refuses.
    """
    text = dumps({"place": place, **expectation}, indent=2) + "\n"
    storage.write(_of_place(key, place), text.encode())


def load_expectation(storage: Storage, key: str, place: str) -> dict[str, Any] | None:
    """What was last expected of a job in one place.

    Args:
        storage: of the runs.
        key: of `plan_key`.
        place: as `--on` names it.

    Returns:
        What was saved; `None` if nothing was, or it is damaged.

    Raises:
        StorageError: the storage refuses.
    """
    try:
        found: dict[str, Any] = json.loads(storage.read(_of_place(key, place)))
        return found if "seconds" in found else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def same_run(
    store: RunReader, job_name: str, source: str, parameters: Mapping[str, Any]
) -> RunRecord | None:
    """The last run of the very same job, if one succeeded.

    Args:
        store: where to look.
        job_name: name of the job file without folder and suffix.
        source: its text.
        parameters: all that its `job()` was given.

    Returns:
        The record; `None` if there is none.

    Raises:
        StorageError: the storage refuses.
    """
    alike = (
        record
        for record in store.list()
        if record.status is RunStatus.SUCCEEDED
        and record.job_name == job_name
        and dict(record.parameters) == dict(parameters)
    )
    few = itertools.islice(alike, 4 * _MOST)
    return next((record for record in few if store.job_source(record.run_id) == source), None)


def earlier_runs(
    store: RunReader, job_name: str, source: str, parameters: Mapping[str, Any], rows: int
) -> dict[str, Any] | None:
    """What runs of the same job took, scaled to this many rows.

    Args:
        store: where to look.
        job_name: name of the job file without folder and suffix.
        source: its text; only runs of the same text count.
        parameters: only runs with the same count, but for `rows`.
        rows: rows of the run that is planned.

    Returns:
        `runs` (ids, the latest first, at most five), `seconds` (median, scaled by rows); `None`
        without such runs. A run that found stored units took less than it would anew.

    Raises:
        StorageError: the storage refuses.
    """
    alike = [
        record
        for record in store.list()
        if record.status is RunStatus.SUCCEEDED
        and record.job_name == job_name
        and _same(record.parameters, parameters)
        and _rows(record)
    ]
    found = [record for record in alike[: 4 * _MOST] if store.job_source(record.run_id) == source]
    if not found:
        return None
    seconds = [(record.seconds or 0.0) * rows / _rows(record) for record in found[:_MOST]]
    return {"runs": [r.run_id for r in found[:_MOST]], "seconds": statistics.median(seconds)}


def _of_place(key: str, place: str) -> str:
    return f"{_FOLDER}/{key}-{digest(place)[:16]}.json"


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {k: v for k, v in one.items() if k not in _SCALED} == {
        k: v for k, v in other.items() if k not in _SCALED
    }


def _rows(record: RunRecord) -> int:
    counts = record.details.get("rows")
    return sum(counts.values()) if isinstance(counts, Mapping) else 0
