"""The trials of a search, as a table: a pure fold of the run's events.

The one decision: a table is computed from events alone, so a search that goes on shows as far as it
is. A driver that goes on with a search tells of its trials again; the last one counts. Where a
search is made several times (a cross-validation of it), it is the first that is shown.

Refuses to sort by a column that is not there, with the nearest.
"""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distml.errors import UserError
from distml.runs.reader import RunReader
from distml.runs.record import RunRecord, RunStatus

__all__ = ["sorted_rows", "trials_of", "with_trials"]

_STATES = {"scheduler": "stopped early"}
"""Why a trial ended → how that is said."""


def with_trials(
    store: RunReader, record: RunRecord, sort: str | None = None
) -> tuple[RunRecord, list[Mapping[str, Any]]]:
    """The trials of a run, if it is or holds a search, sorted.

    Args:
        store: where the run is.
        record: of the run.
        sort: a column; see `sorted_rows`.

    Returns:
        The record, whose table is sorted where it is that of the trials, and the trials where it
        is not.

    Raises:
        UserError: there are no trials to sort, or no such column.
        StorageError: the storage refuses.
    """
    by: str = sort or "trial"
    if record.table and all("trial" in row for row in record.table):
        return dataclasses.replace(record, table=sorted_rows(record.table, by)), []
    trials: list[dict[str, Any]] = []
    search = record.details.get("search")
    if search or record.status is not RunStatus.SUCCEEDED:
        metric = search["metric"] if search else "score"
        trials = trials_of(store.events(record.run_id), str(metric))
    if not trials and sort is not None:
        raise UserError(f"run {record.run_id} has no trials to sort; leave --sort out")
    return record, sorted_rows(trials, by) if trials else []


def trials_of(events: Iterable[Mapping[str, Any]], metric: str = "score") -> list[dict[str, Any]]:
    """Lay out the trials that a run tells of.

    Args:
        events: of the run, the earliest first.
        metric: name of the score.

    Returns:
        A row a trial, in the order in which they began: `trial` (from 1), the score, `state`,
        `step` (where it has steps), its parameters, `seconds`.

    Raises:
        Nothing.
    """
    trials: dict[int, dict[str, Any]] = {}
    for event in events:
        kind, number = event["kind"], event.get("trial")
        if kind == "attempt":
            trials = {}
        elif kind == "trial_started" and number not in trials:
            trials[event["trial"]] = {"begun": event["t"], "params": event["params"]}
        elif number in trials and "ended" not in trials[number]:
            told = trials[number]
            if kind in ("trial_reported", "trial_ended"):
                told |= {"step": event["step"], "score": event["score"]}
            if kind == "trial_ended":
                told |= {"ended": event["t"], "reason": event["reason"]}
                told["params"] = event["params"]
    return [_row(number, told, metric) for number, told in sorted(trials.items())]


def sorted_rows(rows: Sequence[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    """Sort a table.

    Args:
        rows: column → value.
        by: name of a column; with a minus before it, the greatest come first. What is blank comes
            last.

    Returns:
        The rows.

    Raises:
        UserError: there is no such column.
    """
    name = by.removeprefix("-")
    names = list(dict.fromkeys(column for row in rows for column in row))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UserError(f"--sort {by}: no column {name}; {hint}")
    blank = [row for row in rows if row.get(name) is None]
    full = [row for row in rows if row.get(name) is not None]
    full.sort(key=lambda row: _order(row[name]), reverse=by.startswith("-"))
    return [*full, *blank]


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers before words."""
    is_number = isinstance(value, int | float)
    return (not is_number, value if is_number else str(value))


def _row(number: int, told: Mapping[str, Any], metric: str) -> dict[str, Any]:
    reason = told.get("reason", "running")
    facts = {"trial": number + 1, metric: told.get("score"), "state": _STATES.get(reason, reason)}
    step = {"step": told["step"]} if told.get("step") else {}
    seconds = {"seconds": told["ended"] - told["begun"]} if "ended" in told else {}
    taken = {*facts, *step, *seconds}
    params = {f"{k}=" if k in taken else k: value for k, value in told["params"].items()}
    return {**facts, **step, **params, **seconds}
