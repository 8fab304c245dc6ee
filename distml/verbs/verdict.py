"""What is said of a run that did another again, once it has succeeded: does it agree, is it better?

One decision: what is to be said stands in the run's own record, from its start. So whoever sees the
run through says it, the command that began it or a `distml resume`, and the run's report is drawn
again with it.
"""

import dataclasses
from typing import Any

import click

from distml.runs.agreement import agreement
from distml.runs.paths import RunPaths
from distml.runs.promotion import chain, decide, promote
from distml.runs.record import RunRecord, RunStatus
from distml.runs.store import RunStore
from distml.verbs.finished import evaluation, golden_predictions

__all__ = ["is_due", "say_verdict"]


def is_due(record: RunRecord) -> bool:
    """Whether a run has succeeded, and something is to be said of it that has not been."""
    parent = record.details.get("parent", {})
    said = record.details.keys() & {"reproduction", "retraining"}
    is_asked = parent.get("fresh", False) or parent.get("margin") is not None
    return record.status is RunStatus.SUCCEEDED and is_asked and not said


def say_verdict(store: RunStore, run_id: str) -> int:
    """Say what is due, note it in the record, and draw the report again.

    Args:
        store: Where the run is.
        run_id: The run.

    Returns:
        The exit code: 1 for a reproduction that does not agree, else 0.

    Raises:
        UserError: the run it did again is gone.
        StorageError: the storage refuses.
    """
    record = store.load(run_id)
    if not is_due(record):
        return 0
    former = store.load(record.details["parent"]["run"])
    fresh = record.details["parent"]["fresh"]
    said, details, code = (
        _agreed(store, former, record) if fresh else _decided(store, former, record)
    )
    store.annotate(run_id, **details)
    _redraw(store, run_id)
    click.echo(f"\n{run_id} {said}")
    return code


def _agreed(
    store: RunStore, former: RunRecord, record: RunRecord
) -> tuple[str, dict[str, Any], int]:
    both = (former.run_id, record.run_id)
    found = agreement(
        former,
        record,
        [evaluation(store, run_id) for run_id in both],
        [golden_predictions(store, run_id) for run_id in both],
    )
    told = {**dataclasses.asdict(found), "agrees": found.agrees, "said": str(found)}
    details = {"reproduces": former.run_id, "reproduction": told}
    return str(found), details, 0 if found.agrees else 1


def _decided(
    store: RunStore, former: RunRecord, record: RunRecord
) -> tuple[str, dict[str, Any], int]:
    margin = float(record.details["parent"]["margin"])
    decision = decide(record, evaluation(store, record.run_id), margin)
    if decision.promoted:
        promote(store.storage, record, decision)
    told = {
        "former": former.run_id,
        "chain": chain(former),
        "decision": dataclasses.asdict(decision),
        "said": str(decision),
    }
    return str(decision), {"retraining": told}, 0


def _redraw(store: RunStore, run_id: str) -> None:
    """Where there is a report, it was drawn before anything was said."""
    if store.storage.stat(RunPaths(run_id).report) is not None:
        # Only here: drawing takes longer to import than the rest.
        from distml.report import write_report

        write_report(store, run_id)
