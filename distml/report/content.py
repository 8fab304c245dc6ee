"""What a report is made of: all that a run has left so far, read once.

The one decision: what is missing or damaged is left out and named, and never stops the report; only
a run that does not exist does.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distml.errors import StorageError
from distml.report.numbers import figure
from distml.runs.events import Event
from distml.runs.paths import RunPaths
from distml.runs.record import RunRecord
from distml.runs.store import RunStore

__all__ = ["FORMAT", "Content", "gather"]

FORMAT = 1
"""The form of `evaluation.json` that is understood here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A run as it stands."""

    record: RunRecord
    """What it is and how it ended."""
    paths: RunPaths
    """Full names of its files."""
    evaluation: Mapping[str, Any]
    """Its `evaluation.json`; empty without one."""
    events: tuple[Event, ...] = ()
    """What it reported."""
    job_source: str = ""
    """The job file as it was."""
    remarks: tuple[str, ...] = ()
    """What could not be read, a sentence each."""

    @property
    def sets(self) -> Mapping[str, Mapping[str, Any]]:
        """Test set → its evaluation; of a run without one, its scores without intervals."""
        if self.evaluation.get("sets"):
            return self.evaluation["sets"]
        names = [n for row in self.record.table for n in row if isinstance(row[n], Mapping)]
        return {
            name: {"scores": _plain(self.record, name)}
            for name in dict.fromkeys(names)
            if name != "validation"
        }

    @property
    def label(self) -> str:
        """The label with its unit, as charts call it."""
        name, units = self.evaluation.get("label") or "label", self.evaluation.get("units")
        return f"{name} ({units})" if units else str(name)

    @property
    def model(self) -> str | None:
        """Name of the final model."""
        first = next(iter(self.record.table), {})
        return self.evaluation.get("model") or first.get("model")

    @property
    def purpose(self) -> str:
        """The job's own words: the first paragraph of its file."""
        try:
            text = ast.get_docstring(ast.parse(self.job_source)) or ""
        except (SyntaxError, ValueError):
            return ""
        return " ".join(text.split("\n\n")[0].split())


def gather(store: RunStore, run: str) -> Content:
    """Read a run.

    Args:
        store: where it is.
        run: its id, an unmistakable part of it, or `last`.

    Returns:
        All that is there.

    Raises:
        UserError: there is no such run.
        StorageError: the storage refuses, or the record is damaged.
    """
    record = store.load(run)
    evaluation, remark = _evaluation(store, record.run_id)
    try:
        job_source = store.job_source(record.run_id)
    except (StorageError, UnicodeDecodeError):
        job_source = ""
    return Content(
        record=record,
        paths=store.paths(record.run_id),
        evaluation=evaluation,
        events=tuple(store.events(record.run_id)),
        job_source=job_source,
        remarks=(remark,) if remark else (),
    )


def _evaluation(store: RunStore, run_id: str) -> tuple[Mapping[str, Any], str]:
    """The evaluation, and what is wrong with it."""
    try:
        told = json.loads(store.storage.read(RunPaths(run_id).evaluation))
    except FileNotFoundError:
        return {}, ""
    except ValueError:
        return {}, "evaluation.json is damaged: its figures are left out."
    if not isinstance(told, Mapping) or told.get("format") != FORMAT:
        form = told.get("format") if isinstance(told, Mapping) else None
        return {}, f"evaluation.json has form {figure(form)}, which this version cannot read."
    return told, ""


def _plain(record: RunRecord, test: str) -> dict[str, dict[str, dict[str, Any]]]:
    rows = (row for row in record.table if isinstance(row.get(test), Mapping))
    return {
        str(row.get("model")): {metric: {"value": score} for metric, score in row[test].items()}
        for row in rows
    }
