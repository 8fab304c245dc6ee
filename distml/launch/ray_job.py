"""A run as a job of a Ray cluster: what is handed over, and handing it over, wherever that is.

One decision: the job's id is the run's name, so a lost reply starts nothing twice; the driver's
working tree is the job's own working directory.
"""

import json
import os
import shlex
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from distml.errors import UserError
from distml.launch.files.nodes import TASKS_SHARE, ClusterShape
from distml.launch.fitting.fleet import most_of
from distml.launch.jobs_api import JobsApi
from distml.launch.launcher import LaunchPlan, LaunchRequest, PlacedJob
from distml.launch.remote import note, ship
from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from distml.runs.submissions import load_submission

__all__ = [
    "MAY_START",
    "STOP_WAIT_S",
    "hand_over",
    "may_have",
    "may_start",
    "placed_jobs",
    "plan_job",
]

MAY_START = "DISTML_MAY_START"
"""Environment variable by which a driver knows what its cluster may yet start; see `session`."""

STOP_WAIT_S = 40
"""Ray kills a job three seconds after it is asked to stop; a driver may have to save its work."""

_TAKEN = ("submission_id", "entrypoint", "runtime_env", "metadata")


def plan_job(
    place: str,
    address: str,
    request: LaunchRequest,
    *,
    python: str = "python",
    environment: Mapping[str, str] | None = None,
) -> LaunchPlan:
    """What is handed to a cluster, without asking it.

    Args:
        place: As `--on` names it.
        address: Of its dashboard.
        request: What to run.
        python: The interpreter of its nodes.
        environment: Further variables of the job's processes.

    Raises:
        UserError: the job file cannot travel, or the tree is too large.
    """
    shipment = ship(place, request, python=python)
    variables = {
        "RAY_JOB_STOP_SIGNAL": "SIGINT",
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
        "PYTHONUNBUFFERED": "1",
        # `ray up` starts Ray, and so all jobs, with warnings hidden; here they are one's own.
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", ""),
    }
    runtime_env: dict[str, Any] = {"env_vars": {**variables, **(environment or {})}}
    if not shipment.through_storage:
        runtime_env["working_dir"] = f"gcs://_ray_pkg_{shipment.name}.zip"
    return LaunchPlan(
        launcher=place,
        request=request,
        command=shipment.command,
        owns_terminal=False,
        shipment=shipment,
        submission={
            "address": address,
            "submission_id": shipment.submission_id,
            "entrypoint": shlex.join(shipment.command),
            "runtime_env": runtime_env,
            "metadata": {"distml_run": request.run_id, "distml_storage": request.storage},
        },
    )


def may_start(shape: ClusterShape) -> str:
    """The workers that a cluster may have at once, as `MAY_START` has them: a list of resources.

    Where not all kinds fit into its `max_workers`, those without GPUs count first, and of these the
    first that its file names.
    """
    kinds = sorted((t for t in shape.node_types if not t.is_head), key=lambda t: t.num_gpus > 0)
    workers: list[dict[str, float]] = []
    for kind in kinds:
        has = {"CPU": kind.num_cpus, "GPU": kind.num_gpus, **kind.resources}
        if kind.task_memory_bytes is not None:
            has["memory"] = kind.task_memory_bytes
        elif kind.memory_bytes is not None:
            has["memory"] = kind.memory_bytes * TASKS_SHARE
        told = {name: float(amount) for name, amount in has.items() if amount}
        workers += [told] * min(kind.max_count, shape.max_workers - len(workers))
    return json.dumps(workers)


def may_have(shape: ClusterShape) -> dict[str, Any]:
    """What a cluster can have at most, for a submission's details: beyond it a job would wait.

    Where the memory of a kind of machine is not known, that of all is not.
    """
    known = all(kind.memory_bytes is not None for kind in shape.node_types)
    return {
        "has": {
            "cpus": most_of(shape, "num_cpus"),
            "gpus": most_of(shape, "num_gpus"),
            "memory_bytes": most_of(shape, "memory_bytes") if known else None,
        }
    }


def hand_over(
    api: JobsApi,
    plan: LaunchPlan,
    *,
    prices: Mapping[str, float] | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Carry out what `plan_job` has planned.

    Args:
        api: The cluster.
        plan: What to hand over.
        prices: Node type → US dollars an hour.
        details: What the place wants to remember of it.

    Raises:
        UserError: no such cluster answers, it wants a token, or its Ray is another version.
        LaunchError: it refuses the job.
    """
    shipment, submission = plan.shipment, plan.submission
    if shipment is None or submission is None:
        raise ValueError("the plan of another launcher")
    _check_version(api)
    _check_alone(api, plan)
    shipment.put(plan.request.storage)
    if not shipment.through_storage:
        api.upload(shipment.name, shipment.package)
    about = {**_resources(api), **(details or {})}
    note(plan.launcher, plan.request, shipment, prices=prices, details=about)
    api.submit({k: v for k, v in submission.items() if k in _TAKEN})


def placed_jobs(api: JobsApi) -> list[PlacedJob]:
    """The jobs that a cluster knows.

    Args:
        api: The cluster.

    Raises:
        UserError: no such cluster answers, or it wants a token.
    """
    # A driver that joined by itself has no name to ask for it by.
    return [_placed(job) for job in api.jobs() if job.get("submission_id")]


def _placed(job: Mapping[str, Any]) -> PlacedJob:
    about = job.get("metadata") or {}
    started, ended = job.get("start_time"), job.get("end_time")
    return PlacedJob(
        job_id=str(job["submission_id"]),
        run_id=about.get("distml_run"),
        status=str(job["status"]),
        started_at=started / 1000 if started else None,
        ended_at=ended / 1000 if ended else None,
        storage=about.get("distml_storage"),
    )


def _check_alone(api: JobsApi, plan: LaunchPlan) -> None:
    """Refuse to resume what still runs here: its note would be lost with the job to stop."""
    run_id = plan.request.run_id
    former = load_submission(RunStore(plan.request.storage).storage, run_id)
    if former is None or former.launcher != plan.launcher:
        return
    info = api.info(former.submission_id)
    if info is not None and not RunStatus(info["status"]).is_final:
        raise UserError(
            f"run {run_id} is already being driven by job {former.submission_id} of "
            f"{api.address}; wait for it or stop it first"
        )


def _resources(api: JobsApi) -> dict[str, Any]:
    """What there is at most: a request beyond that would wait for ever."""
    if api.may_grow():
        return {}
    total = Counter[str]()
    for node in api.nodes():
        if node["state"] == "ALIVE":
            total.update(node["resources_total"])
    has = {"cpus": total["CPU"], "gpus": total["GPU"], "memory_bytes": total["memory"]}
    return {"has": has}


def _check_version(api: JobsApi) -> None:
    here, there = metadata.version("ray"), api.version()
    if here != there:
        raise UserError(
            f"{api.address} runs Ray {there}, here is Ray {here}; install ray=={there} "
            f"here, or start the cluster with {here}"
        )
