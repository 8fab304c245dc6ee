"""What a job would take, said before it runs, and put beside what it took.

One decision: a task that can be planned has a `plan(context)` method and gives JSON; the driver
adds what earlier runs of the same job took. A plan for another place may be one that is stored, or
be read off a run of the very same job. A run of a job that has a plan watches its memory.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from distml.errors import UserError
from distml.job import Result, RunContext
from distml.machine import MemoryWatch
from distml.rehearsal import is_rehearsal
from distml.runs.measured import plan_from_run
from distml.runs.plans import earlier_runs, load_plan, plan_key, same_run, save_plan
from distml.runs.strict_json import dumps
from distml.runs.units import use_units
from distml.start import Start

__all__ = ["SAMPLE", "observed", "write_plan"]

SAMPLE = ("always", "needed", "never")
"""When to run samples for a plan; else what is stored of the job is taken."""

_FORMAT = 2


def write_plan(start: Start, path: str, *, sample: str = "always") -> None:
    """Plan a job, and keep the plan for the run that may follow.

    Args:
        start: What would run.
        path: File of this machine that the plan is written to, as JSON.
        sample: One of `SAMPLE`.

    Raises:
        UserError: it cannot run here, its task cannot be planned, or nothing is stored of it.
        StorageError: the storage refuses.
    """
    plan = None if sample == "always" else _stored(start)
    if plan is None and sample == "never":
        raise UserError(
            f"nothing is known of this job in {start.store.uri}: no plan and no run of it with "
            "these parameters; say --measure instead of --no-measure"
        )
    plan = _measured(start) if plan is None else plan
    key = plan_key(start.source, start.record.parameters)
    plan = {**plan, "key": key, "resources": asdict(start.job.resources)}
    if plan["used"]["what"] == "samples":
        save_plan(start.store.storage, key, plan)
    Path(path).write_text(dumps(plan), encoding="utf-8")


def _stored(start: Start) -> dict[str, Any] | None:
    """What is known without a sample: by the last run of the same job, or its last plan."""
    store, record = start.store, start.record
    former = same_run(store, record.job_name, start.source, record.parameters)
    if former is not None:
        plan = plan_from_run(former, store.events(former.run_id))
        used = {"what": "run", "run": former.run_id}
        workers = None if plan["members"] else _workers(start.job.task)
        return {"format": _FORMAT, "job": record.job_name, **plan, "workers": workers, "used": used}
    found = load_plan(store.storage, plan_key(start.source, record.parameters))
    if found is None or found.get("format") != _FORMAT:
        return None
    return {**found, "used": {"what": "plan", "at": found.get("made_at")}}


def _measured(start: Start) -> dict[str, Any]:
    """What samples say; of a task that takes none, what it asks for, if that is enough."""
    store, record, task = start.store, start.record, start.job.task
    head = {"format": _FORMAT, "job": record.job_name, "made_at": time.time()}
    make_plan = getattr(task, "plan", None)
    if not callable(make_plan):
        if is_rehearsal():
            return {**head, **_asked(task)}
        former = _stored(start)
        if former is not None:
            return {**former, "used": {**former["used"], "takes_samples": False}}
        raise UserError(
            f"{type(task).__name__} cannot be planned on samples, for it is code of your own; run "
            "it once with these parameters, then plan again: the plan is what the run took"
        )
    context = RunContext(
        run_id=record.run_id,
        run_uri=store.paths(record.run_id).root,
        seed=start.job.seed,
        resources=start.job.resources,
        emit=lambda kind, **fields: None,
    )
    with use_units(start.units or store.units):
        plan: dict[str, Any] = {"used": {"what": "samples"}, **head, **make_plan(context)}
    if plan["used"]["what"] != "samples":
        return plan
    plan["earlier"] = earlier_runs(
        store, record.job_name, start.source, record.parameters, plan["rows"]
    )
    return plan


def _asked(task: Any) -> dict[str, Any]:
    """What a task says it needs, with no word of how long."""
    memory = dict.fromkeys(("peak_bytes", "driver_bytes", "matrix_bytes"))
    nothing: dict[str, Any] = {"rows": None, "columns": None, "members": [], "stages": []}
    return {
        **nothing,
        "left": [],
        "workers": _workers(task),
        "phases": {},
        "seconds": None,
        "memory": memory,
        "used": {"what": "nothing", "task": type(task).__name__},
    }


def _workers(task: Any) -> dict[str, Any] | None:
    """Workers of a task whose only fit has some."""
    # Only here: what it needs is loaded when there is a plan.
    from distml.spread import workers_of

    estimator = getattr(task, "estimator", None)
    names = ("num_workers", "cpus_per_worker", "gpus_per_worker")
    own = {name: getattr(task, name) for name in names if hasattr(task, name)}
    return workers_of(own if estimator is None else estimator.get_params())


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
