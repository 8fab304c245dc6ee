"""What a fit would take, before it runs: units, rows, bytes, memory and time, each with its range.

One decision: the task itself is run on a few sizes of sample, and each kind of fit and each phase
gets a growth curve of its own (see `growth`); the fits are then laid out over the CPUs as the
schedule would. What is asked of more rows than were measured is a range, not a number. Fits that
the storage has already are named, and take no time.

Refuses what cannot run here: data or a peak that this machine's memory cannot hold.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

from distml import spread
from distml.data import ShardedDataset
from distml.errors import DataError, UserError
from distml.fit.few_trials import Ahead
from distml.fit.growth import Estimate, expect, makespan, total
from distml.fit.samples import measure_samples
from distml.fit.sampling import Sample, standing_bytes
from distml.fit.tables import column_names
from distml.job import RunContext
from distml.rehearsal import is_rehearsal
from distml.runs.provenance import host_facts

__all__ = ["draw_up", "plan_fit"]

_START = Estimate(7.0, 4.0, 12.0)
"""Seconds until Ray and its workers are there, on a laptop."""
_LINEAR = (1.0,)
_KEPT_BYTES = Estimate(32.0, 16.0, 96.0)
"""Of each row that is read while training: its number, its label and what is predicted for it."""


class Stored(Protocol):
    """Counts fits that need not be done."""

    def __call__(self, *, has_members: bool) -> Mapping[str, int]:
        """Kind of fit → how many are stored."""


def plan_fit(
    task: Any, context: RunContext, *, stored: Stored | None = None, budget_s: float = 30.0
) -> dict[str, Any]:
    """Measure a `Fit` on samples and say what all of it would take.

    Args:
        task: The `Fit`.
        context: Of the run that is planned; nothing is written there.
        stored: Counts the fits of each kind that need not be done; told whether the estimator has
            members. `None`: there are none.
        budget_s: Seconds the samples may take; those of the first three sizes may exceed it.

    Returns:
        The plan as JSON: `rows`, `columns`, `stored_bytes`, `table_bytes`, `num_cpus`, `members`,
        `stages`, `left` (kind → number, a stage), `phases`, `seconds`, `memory`, `measured`, …

    Raises:
        UserError: it cannot run here; the message names the shortfall.
        DataError: the data lacks a column or rows, or cannot be learnt from.
    """
    given = isinstance(task.data, ShardedDataset)
    dataset = task.data if given else ShardedDataset.open(task.data)
    columns = dataset.select([*column_names(dataset, task.label, task.features), task.label])
    rows = dataset.num_rows if task.rows is None else min(task.rows, dataset.num_rows)
    table_bytes = _table_bytes(dataset, columns.schema.names)
    host = host_facts()
    memory_bytes = min(host["memory_bytes"], context.resources.memory_bytes or 2**63)
    streams = task.streams(columns)
    if not streams:
        _check_memory("the rows alone take", table_bytes, memory_bytes)
    own_bytes, shared_bytes = standing_bytes()
    samples = measure_samples(replace(task, data=dataset), rows, context, budget_s)
    num_cpus = context.resources.num_cpus or host["cpus"]
    draw = partial(
        draw_up,
        samples,
        rows,
        num_cpus,
        buffer_bytes=task.estimator.memory_bytes if streams else None,
        own_bytes=own_bytes,
        shared_bytes=shared_bytes,
    )
    plan = draw()
    _check_memory("it takes at least", plan["memory"]["peak_bytes"]["low"], memory_bytes)
    if stored is not None and samples[-1].fits:
        plan = draw(stored=stored(has_members=samples[-1].has_members))
    return {
        "rows": rows,
        "columns": len(columns.schema.names) - 1,
        "stored_bytes": dataset.num_bytes,
        "table_bytes": table_bytes,
        "available_bytes": memory_bytes,
        **plan,
    }


def draw_up(
    samples: Sequence[Sample],
    rows: int,
    num_cpus: int,
    *,
    buffer_bytes: int | None = None,
    stored: Mapping[str, int] = MappingProxyType({}),
    own_bytes: int = 0,
    shared_bytes: int = 0,
) -> dict[str, Any]:
    """Extend samples to all rows.

    Args:
        samples: What was measured, the smallest first; at least one.
        rows: Rows of the run.
        num_cpus: CPUs the fits are spread over.
        buffer_bytes: What rows may take that are read while training. `None`: all are in memory.
        stored: Kind of fit → how many need not be done.
        own_bytes: Memory of a process that has the libraries loaded and no data.
        shared_bytes: What the driver holds and other processes are counted for.

    Returns:
        The part of the plan that follows from samples; see `plan_fit`.
    """
    last = samples[-1]
    kinds = list(dict.fromkeys(fit.kind for fit in last.fits))
    seconds = {kind: _of_kind(samples, rows, kind, "seconds", None) for kind in kinds}
    peaks = {kind: _of_kind(samples, rows, kind, "peak_bytes", _LINEAR) for kind in kinds}
    phases = {name: _of_phase(samples, rows, name) for name in last.phases}
    ahead = Ahead(last.trials, [(fit.stage, fit.kind) for fit in last.fits], seconds, num_cpus)
    stages = ahead.stages()
    counts = Counter(kind for stage in stages for kind in stage)
    left = list(_without(stages, stored))
    fits = ahead.with_stops(_laid_out(left, seconds, num_cpus))
    start = _START if _needs_ray(last, fits) else Estimate(0.0, 0.0, 0.0)
    beside = _beside(samples, rows, stages, peaks, num_cpus=num_cpus, own_bytes=own_bytes)
    held = rows if buffer_bytes is None else 0  # samples are small enough to be in memory
    driver = _expect(samples, held, lambda sample: sample.driver_bytes - shared_bytes, _LINEAR)
    if buffer_bytes is not None:
        driver = total([driver, _exactly(buffer_bytes), _KEPT_BYTES.times(rows)])
    memory = total([driver, *beside])
    matrix = _expect(samples, rows, lambda sample: sample.matrix_bytes, _LINEAR)
    workers = {fit.kind: fit.workers for fit in last.fits}
    return {
        "num_cpus": num_cpus,
        "members": [
            {
                "fit": kind,
                "units": counts[kind],
                "stored": min(counts[kind], stored.get(kind, 0)),
                "rows": round(_mean_rows(last, kind) * rows / last.rows),
                "seconds": asdict(seconds[kind]),
                "peak_bytes": asdict(peaks[kind]),
                "workers": workers[kind],
            }
            for kind in kinds
        ],
        "stages": [len(stage) for stage in stages],
        "left": [dict(Counter(stage)) for stage in left],
        "workers": last.workers if not last.has_members else None,
        "phases": {name: asdict(phase) for name, phase in phases.items()},
        "fits_seconds": asdict(fits),
        "seconds": asdict(_with_early_ends(total([start, fits, *phases.values()]), last)),
        "trials": ahead.described(),
        "early_share": last.open_s / last.seconds if last.open_s else 0.0,
        "memory": {
            "peak_bytes": asdict(memory),
            "driver_bytes": asdict(driver),
            "matrix_bytes": asdict(matrix),
            "process_bytes": own_bytes,
        },
        "epochs": {
            "counted": any(sample.spared_s > 0 for sample in samples),
            "may_stop": any(sample.open_s > 0 for sample in samples),
        },
        "measured": [
            {"rows": s.rows, "seconds": s.spent_s, "cpu_share": s.cpu_share} for s in samples
        ],
    }


def _expect(
    samples: Sequence[Sample],
    rows: int,
    cost: Callable[[Sample], float],
    exponents: Sequence[float] | None = None,
) -> Estimate:
    measured = [sample.rows for sample in samples]
    return expect(measured, [cost(sample) for sample in samples], rows, exponents=exponents)


def _of_phase(samples: Sequence[Sample], rows: int, name: str) -> Estimate:
    """Seconds of a phase beside its members' fits; all but learning grows in proportion."""
    exponents = None if name == "fit" else _LINEAR
    return _expect(samples, rows, lambda sample: sample.phases.get(name, 0.0), exponents)


def _of_kind(
    samples: Sequence[Sample], rows: int, kind: str, what: str, exponents: Sequence[float] | None
) -> Estimate:
    """The mean cost of a fit of one kind."""

    def mean(sample: Sample) -> float:
        costs = [getattr(fit, what) for fit in sample.fits if fit.kind == kind]
        return sum(costs) / max(len(costs), 1)

    return _expect(samples, rows, mean, exponents)


def _mean_rows(sample: Sample, kind: str) -> float:
    rows = [fit.rows for fit in sample.fits if fit.kind == kind]
    return sum(rows) / len(rows)


def _without(stages: Sequence[Sequence[str]], stored: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """Kinds of the fits of each stage that are left to do."""
    left = Counter(stored)
    for stage in stages:
        done = Counter(stage) & left
        left -= done
        yield list((Counter(stage) - done).elements())


def _with_early_ends(seconds: Estimate, sample: Sample) -> Estimate:
    """The range reaches down to where networks end as early as they may."""
    share = sample.open_s / sample.seconds if sample.open_s else 0.0
    return replace(seconds, low=seconds.low * (1 - share))


def _needs_ray(sample: Sample, fits: Estimate) -> bool:
    """Refits alone are done in the driver where that is sooner."""
    return sample.has_members or fits.value >= spread.BRIEF_S


def _laid_out(
    stages: Sequence[Sequence[str]], seconds: Mapping[str, Estimate], num_cpus: int
) -> Estimate:
    """Wall time of all fits on the CPUs, stage after stage."""

    def wall(bound: str) -> float:
        return sum(
            makespan([getattr(seconds[kind], bound) for kind in stage], num_cpus)
            for stage in stages
        )

    return Estimate(wall("value"), wall("low"), wall("high"))


def _beside(
    samples: Sequence[Sample],
    rows: int,
    stages: Sequence[Sequence[str]],
    peaks: Mapping[str, Estimate],
    *,
    num_cpus: int,
    own_bytes: int,
) -> Iterator[Estimate]:
    """Memory beside the driver's: the matrix that workers share, and the largest fits in them."""
    if not stages:
        return
    yield _expect(samples, rows, lambda sample: sample.matrix_bytes, _LINEAR)
    num_workers = min(num_cpus, max(map(len, stages)))
    yield _exactly(num_workers * own_bytes)
    kinds = (peaks[kind] for stage in stages for kind in stage)
    yield from sorted(kinds, key=lambda peak: peak.value, reverse=True)[:num_workers]


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def _table_bytes(dataset: ShardedDataset, names: Sequence[str]) -> int:
    """Bytes of all rows as Arrow, told from the first shard."""
    if not dataset.num_rows:
        raise DataError(f"{dataset.uri} has no rows; there is nothing to learn")
    first = next(index for index, shard in enumerate(dataset.shards) if shard.num_rows)
    table = dataset.read_shard(first, list(names))
    return round(table.nbytes / table.num_rows * dataset.num_rows)


def _check_memory(what: str, needed: float, there: int) -> None:
    if needed > there and not is_rehearsal():
        short = needed - there
        raise UserError(
            f"this cannot run here: {what} {_gib(needed)}, this machine has {_gib(there)} of "
            f"memory, {_gib(short)} too little; use fewer rows or a larger machine"
        )


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
