"""What a search over jobs leaves: a table of its trials, and the best one's model as its own.

One decision: the search's run becomes what its best trial is. Model, evaluation and scores are
copied into its folder, so that `predict`, `evaluate` and the report find them where any run has
them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.job import Result, RunContext
from distml.runs.record import RunRecord, RunStatus
from distml.runs.storage import Storage, open_storage
from distml.runs.strict_json import to_json
from distml.tune.children import TRIALS, Child

__all__ = ["Finished", "best_of", "copy_all", "deliver"]

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A trial that has ended."""

    child: Child
    """Which it was."""
    record: RunRecord
    """Of its run."""
    score: float | None
    """By the search's metric; `None`: it failed."""
    before_s: float = 0.0
    """Seconds of the runs that it was before it went on from others."""

    @property
    def seconds(self) -> float:
        """What it took in all."""
        return self.before_s + (self.record.seconds or 0.0)

    @property
    def state(self) -> str:
        """How it ended, in a word."""
        if self.score is None:
            return "failed"
        return "stopped early" if self.record.status is RunStatus.STOPPED else "completed"


def best_of(trials: Sequence[Finished], mode: str) -> Finished | None:
    """The best of the trials that were not stopped early, the first of several; else of those.

    Args:
        trials: All that ended.
        mode: `max` or `min`.
    """
    sign = 1 if mode == "max" else -1
    scored = [trial for trial in trials if trial.score is not None]
    ended = [trial for trial in scored if trial.record.status is RunStatus.SUCCEEDED] or scored
    return max(ended, key=lambda trial: sign * (trial.score or 0.0), default=None)


def deliver(
    context: RunContext,
    trials: Sequence[Finished],
    *,
    metric: str,
    mode: str,
    why_ended: str,
) -> Result:
    """Make the best trial's artifacts the run's own, and lay the trials out as its table.

    Args:
        context: Of the search's run.
        trials: All that ended, at least one of them with a score.
        metric: What the search went by.
        mode: `max` or `min`.
        why_ended: Why there are no further trials.

    Raises:
        StorageError: the storage is full or refuses.
    """
    best = best_of(trials, mode)
    assert best is not None
    artifacts = {name: str(item["path"]) for name, item in best.record.artifacts.items()}
    storage = open_storage(context.run_uri)
    for path in artifacts.values():
        copy_all(storage, f"{TRIALS}/{best.child.run_id}/{path.strip('/')}", path.strip("/"))
    search = {
        "metric": metric,
        "mode": mode,
        "best": best.child.number + 1,
        "params": to_json(dict(best.child.config)),
        "score": best.score,
        "trials": len(trials),
        "failed": sum(trial.score is None for trial in trials),
        "stopped_early": sum(trial.state == "stopped early" for trial in trials),
        "ended": why_ended,
    }
    return Result(
        metrics=_metrics(best.record),
        table=[_row(trial, metric) for trial in trials],
        artifacts=artifacts,
        details={**best.record.details, "search": search},
    )


def _row(trial: Finished, metric: str) -> dict[str, Any]:
    """A trial in the table; parameters may have the names of other columns."""
    facts = {"trial": trial.child.number + 1, metric: trial.score, "state": trial.state}
    ends: dict[str, Any] = {"seconds": trial.seconds, "run": trial.child.run_id}
    if trial.score is None:
        ends["error"] = trial.record.reason
    given = to_json(dict(trial.child.config))
    params = {name if name not in {*facts, *ends} else f"{name}=": given[name] for name in given}
    return {**facts, **params, **ends}


def _metrics(record: RunRecord) -> Mapping[str, Mapping[str, float]]:
    return {
        of: {name: score for name, score in scores.items() if score is not None}
        for of, scores in record.metrics.items()
    }


def copy_all(storage: Storage, source: str, target: str) -> None:
    """Copy a file, or a folder with all that is in it, within one storage."""
    for name in _files(storage, source):
        with storage.open(name) as file, storage.create(target + name[len(source) :]) as copy:
            while block := file.read(_BLOCK_BYTES):
                copy.write(block)


def _files(storage: Storage, path: str) -> Iterator[str]:
    entry = storage.stat(path)
    if entry is not None and not entry.is_dir:
        yield path
        return
    for inner in storage.list(path):
        yield from _files(storage, f"{path}/{inner.name}")
