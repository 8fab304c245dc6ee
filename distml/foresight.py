"""What a job would take, said before it runs, and put beside what it took.

One decision: a task that can be planned has a `plan(context)` method and gives JSON; the driver
adds what earlier runs of the same job took. A run of a job that has a plan watches its memory.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distml.errors import UserError
from distml.job import Result, RunContext
from distml.machine import MemoryWatch
from distml.runs.plans import earlier_runs, plan_key, save_plan
from distml.runs.strict_json import dumps
from distml.runs.units import use_units
from distml.start import Start

__all__ = ["observed", "write_plan"]


def write_plan(start: Start, path: str) -> None:
    """Plan a job, and keep the plan for the run that may follow.

    Args:
        start: What would run.
        path: File of this machine that the plan is written to, as JSON.

    Raises:
        UserError: it cannot run here, or its task cannot be planned.
        StorageError: the storage refuses.
    """
    store, record, task = start.store, start.record, start.job.task
    make_plan = getattr(task, "plan", None)
    if not callable(make_plan):
        raise UserError(
            f"{type(task).__name__} cannot be planned: it has no plan(context) method; run it"
        )
    context = RunContext(
        run_id=record.run_id,
        run_uri=store.paths(record.run_id).root,
        seed=start.job.seed,
        resources=start.job.resources,
        emit=lambda kind, **fields: None,
    )
    with use_units(start.units or store.units):
        plan: dict[str, Any] = {"format": 1, "job": record.job_name, **make_plan(context)}
    plan["earlier"] = earlier_runs(
        store, record.job_name, start.source, record.parameters, plan["rows"]
    )
    save_plan(store.storage, plan_key(start.source, record.parameters), plan)
    Path(path).write_text(dumps(plan), encoding="utf-8")


def observed(start: Start, run: Callable[[], Result]) -> Result:
    """Do the work, and put what it took beside what was predicted, if anything was.

    Args:
        start: The run.
        run: Does the work.

    Returns:
        Its result with the run's notes in the details.

    Raises:
        Exception: whatever the task raises.
    """
    if "predicted" not in start.notes:
        return _noted(run(), start.notes)
    watch, started = MemoryWatch(), time.perf_counter()
    with watch.watching():
        result = run()
    actual = {"seconds": time.perf_counter() - started, "peak_bytes": watch.peak_bytes}
    return _noted(result, {**start.notes, "actual": actual})


def _noted(result: Result, notes: Any) -> Result:
    return replace(result, details={**result.details, **notes}) if notes else result
