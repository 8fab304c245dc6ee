"""Which model of a job is the one to use, and why a newer one took its place or did not.

The one decision: a job's chosen model is a pointer, one small file that is replaced whole, so a
reader sees the former or the new one and never none. It moves only for a gain of more than a stated
margin on the main score, which is the first metric on the first test set.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distml.errors import StorageError
from distml.runs.paths import RunPaths
from distml.runs.record import RunRecord
from distml.runs.storage import Storage
from distml.runs.strict_json import dumps

__all__ = ["Decision", "chain", "decide", "descent", "promote", "promoted"]

_FOLDER = "promoted"
_FORMER = "former"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Whether a retrained model takes the former one's place, and by which figures."""

    promoted: bool
    """Whether it does."""
    test: str
    """The test set that decides."""
    metric: str
    """The score that decides; more is better."""
    former: float | None
    """The former model's score on the new data."""
    new: float | None
    """The new model's score."""
    margin: float
    """What it had to be better by."""
    interval: Mapping[str, Any] | None
    """`value`, `low`, `high` of new less former over the same rows, if they are known."""
    scores: Mapping[str, Any]
    """Test set → metric → `former` and `new`."""

    def __str__(self) -> str:
        verdict = "promoted" if self.promoted else "not promoted"
        if self.former is None or self.new is None:
            return f"{verdict}: {self.metric} on {self.test} is not known of both models"
        gain = f"{self.new - self.former:+.4g}"
        if self.interval and self.interval.get("low") is not None:
            gain += f", {self.interval['low']:+.4g} to {self.interval['high']:+.4g} by chance"
        return (
            f"{verdict}: {self.metric} on {self.test} is {self.new:.4f}, it was {self.former:.4f} "
            f"({gain}); asked for more than {self.margin:+g}"
        )


def decide(record: RunRecord, evaluation: Mapping[str, Any], margin: float) -> Decision:
    """Hold a retrained model against the former one.

    Args:
        record: of the run that retrained; its table has a row of kind `former`.
        evaluation: its `evaluation.json`; may be empty.
        margin: what the gain has to exceed.

    Returns:
        The decision.

    Raises:
        StorageError: the record has no scores of both.
    """
    rows = [row for row in record.table if row.get("kind") == _FORMER]
    test = next(iter(record.metrics), None)
    metric = next(iter(record.metrics[test]), None) if test is not None else None
    if not rows or test is None or metric is None:
        raise StorageError(f"run {record.run_id} has no scores of the former model beside its own")
    scores = {
        name: {m: {"former": rows[0].get(name, {}).get(m), "new": own[m]} for m in own}
        for name, own in record.metrics.items()
    }
    former, new = scores[test][metric]["former"], scores[test][metric]["new"]
    return Decision(
        promoted=former is not None and new is not None and new - former > margin,
        test=test,
        metric=metric,
        former=former,
        new=new,
        margin=margin,
        interval=_interval(evaluation, test, rows[0]["model"], metric),
        scores=scores,
    )


def promote(storage: Storage, record: RunRecord, decision: Decision) -> None:
    """Make a run's model the one to use for its job.

    Args:
        storage: of the runs.
        record: of the run.
        decision: why.

    Raises:
        StorageError: the storage refuses.
    """
    pointer = {
        "run": record.run_id,
        "bundle": RunPaths(record.run_id).bundle,
        "at": time.time(),
        "decision": asdict(decision),
    }
    storage.write(_name(record.job_name), (dumps(pointer, indent=2) + "\n").encode())


def promoted(storage: Storage, job_name: str) -> dict[str, Any] | None:
    """The model that was promoted last.

    Args:
        storage: of the runs.
        job_name: name of the job file without folder and suffix.

    Returns:
        `run`, `bundle` (relative to the storage), `at` (Unix seconds), `decision`; `None` if none
        was promoted yet.

    Raises:
        StorageError: the storage refuses, or the pointer is damaged.
    """
    try:
        pointer: dict[str, Any] = json.loads(storage.read(_name(job_name)))
        return pointer
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StorageError(
            f"{_name(job_name)} is damaged ({error}); promote a run again"
        ) from error


def chain(former: RunRecord) -> Sequence[str]:
    """The runs that led to a retraining of `former`, the latest first.

    Args:
        former: the run that is retrained.

    Returns:
        Names of runs.

    Raises:
        Nothing.
    """
    return [former.run_id, *former.details.get("retraining", {}).get("chain", ())]


def descent(details: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which run a run did again, and what came of it.

    Args:
        details: of the run's record.

    Returns:
        `retraining` or `reproduction`, and name → value of what is to be said of it: the former
        run, the bundle it was held against (relative to the storage), the outcome and the runs
        before; both empty where it did none again.

    Raises:
        Nothing.
    """
    parent = details.get("parent")
    if not parent:
        return "", {}
    margin, former = parent.get("margin"), parent.get("former")
    kind, outcome = ("reproduction", "outcome") if margin is None else ("retraining", "decision")
    told = details.get(kind) or {}
    asked = "" if margin is None else f": asked for more than {margin:+g}"
    facts = {"of": parent["run"]}
    if former is not None:
        begun = ", and begun from it" if parent.get("warm") else ""
        facts["held against"] = f"{RunPaths(former).bundle}{begun}"
    facts[outcome] = told.get("said") or f"not yet{asked}"
    return kind, {**facts, "chain": told.get("chain")}


def _name(job_name: str) -> str:
    return f"{_FOLDER}/{job_name}.json"


def _interval(
    evaluation: Mapping[str, Any], test: str, model: str, metric: str
) -> Mapping[str, Any] | None:
    differences = evaluation.get("sets", {}).get(test, {}).get("differences", {})
    found: Mapping[str, Any] | None = differences.get(model, {}).get(metric)
    return found
