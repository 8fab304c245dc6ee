"""The trials of a run as a table that can be sorted.

The one decision: they are those that the run told of, so a search that goes on shows as far as it
is. A search over jobs leaves them as its result table, with the name of each trial's run.

Refuses to sort by a column that is not there, with the nearest.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distml.errors import UserError
from distml.runs.reader import RunReader
from distml.runs.record import RunRecord, RunStatus
from distml.runs.searches import Search, Trial, main_searches, searches_of

__all__ = ["best_of", "rows_of", "sorted_rows", "with_trials"]

_MOST = 20
"""Trials of a search that are shown where nobody asks for all, by sorting them."""


def with_trials(
    store: RunReader, record: RunRecord, sort: str | None = None
) -> tuple[RunRecord, list[Mapping[str, Any]]]:
    """The trials of a run, if it is or holds a search, sorted; the best few of a search in a fit.

    Args:
        store: where the run is.
        record: of the run.
        sort: a column of all trials; see `sorted_rows`. `None`: the best few, by their numbers.

    Returns:
        The record, whose table is sorted where it is that of the trials, and the trials where it
        is not.

    Raises:
        UserError: there are no trials to sort, or no such column.
        StorageError: the storage refuses.
    """
    by: str = sort or "trial"
    most = _MOST if sort is None else None
    if record.table and all("trial" in row for row in record.table):
        return dataclasses.replace(record, table=sorted_rows(record.table, by)), []
    rows: list[dict[str, Any]] = []
    if "search" in record.details or record.status is not RunStatus.SUCCEEDED:
        searches = main_searches(searches_of(store.events(record.run_id)))
        rows = rows_of([best_of(search, most) for search in searches])
    if not rows and sort is not None:
        raise UserError(f"run {record.run_id} has no trials to sort; leave --sort out")
    return record, sorted_rows(rows, by) if rows else []


def best_of(search: Search, most: int | None) -> Search:
    """A search with no more than so many of its trials, the best.

    Args:
        search: it.
        most: `None`: all.
    """
    ranked = sorted(search.trials.values(), key=search.rank, reverse=True)[:most]
    return dataclasses.replace(search, trials={trial.number: trial for trial in ranked})


def rows_of(searches: Sequence[Search]) -> list[dict[str, Any]]:
    """Lay out the trials of searches.

    Args:
        searches: as `searches_of` gives them.

    Returns:
        A row a trial: `search` (from 1) if there are several, `trial`, the score, its spread over
        folds, `state`, `step` if trials have steps, its parameters, `seconds`, `reason`.

    Raises:
        Nothing.
    """
    return [
        {**({"search": number} if len(searches) > 1 else {}), **dict(_row(search, trial))}
        for number, search in enumerate(searches, start=1)
        for trial in search.trials.values()
    ]


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


def _row(search: Search, trial: Trial) -> Iterator[tuple[str, Any]]:
    yield "trial", trial.number
    yield search.metric, trial.score
    if trial.spread is not None or trial.error is not None:
        yield "±", trial.spread
    yield "state", trial.state
    if search.resource is not None:
        yield "step", trial.step
    taken = {"trial", search.metric, "±", "state", "step", "seconds", "reason"}
    for name, value in trial.params.items():
        yield f"{name}=" if name in taken else name, value
    if trial.seconds is not None:
        yield "seconds", trial.seconds
    if trial.error is not None:
        yield "reason", trial.error
