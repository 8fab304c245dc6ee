"""Run the driver on a Ray cluster that Kubernetes makes for it and takes away: a RayJob of KubeRay.

One decision: everything that must hold when nobody is looking stands in the RayJob (deadlines,
that its pods go with it), so closing the laptop changes nothing; its name comes from the run's, so
a lost reply starts nothing twice. What happens is read from the run's storage.

Refuses a storage that is a folder of this machine: no pod would see it.
"""

import os
import shlex
import sys
from importlib import metadata
from pathlib import Path

from distml.errors import UserError
from distml.launch.files.nodes import ClusterShape
from distml.launch.handle import JobHandle
from distml.launch.kube.kube_api import KubeApi
from distml.launch.kube.kubeconfig import find_context
from distml.launch.kube.kuberay_handle import KuberayHandle
from distml.launch.kube.kuberay_job import (
    RunFacts,
    build_rayjob,
    placed_job,
    rayjob_name,
    read_manifest,
    read_state,
)
from distml.launch.launcher import LaunchPlan, LaunchRequest, PlacedJob
from distml.launch.ray_job import MAY_START, may_have, may_start
from distml.launch.remote import note, ship
from distml.runs.storage import shown
from distml.runs.store import RunStore
from distml.runs.submissions import load_submission

__all__ = ["MANIFEST", "KubernetesLauncher"]

MANIFEST = Path("cluster", "kuberay.yaml")
"""Which pods a job gets: in this folder, or in one above it."""


class KubernetesLauncher:
    """KubeRay: `kubernetes[:CONTEXT[/NAMESPACE]]` of the kubeconfig."""

    def __init__(self, target: str | None = None) -> None:
        self._target = target

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """See `Launcher`. Reads the kubeconfig and the manifest, and asks nobody."""
        _check(request)
        context = find_context(self._target)
        # Whole, because the current context may be another one when the run is stopped.
        place = f"kubernetes:{context}"
        file = read_manifest(_find_manifest())
        _check_version(file.config["spec"]["rayClusterSpec"].get("rayVersion"))
        shipment = ship(place, request, max_request_bytes=0)
        rayjob = build_rayjob(
            file.config,
            RunFacts(
                run_id=request.run_id,
                submission_id=shipment.submission_id,
                storage=request.storage,
                entrypoint=shlex.join(shipment.command),
                namespace=context.namespace,
                max_hours=request.limits.max_hours,
                environment={MAY_START: may_start(file.shape)},
            ),
        )
        return LaunchPlan(
            launcher=place,
            request=request,
            command=shipment.command,
            owns_terminal=False,
            shipment=shipment,
            submission=rayjob,
        )

    def submit(self, plan: LaunchPlan) -> JobHandle:
        """See `Launcher`.

        Raises:
            UserError: the cluster does not answer or does not take the job.
            LaunchError: it cannot.
        """
        if plan.shipment is None or plan.submission is None:
            raise ValueError("the plan of another launcher")
        target = plan.launcher.partition(":")[2]
        api, storage = KubeApi(find_context(target)), plan.request.storage
        _check_alone(api, plan)
        # What is refused leaves nothing behind.
        api.create(plan.submission, dry_run=True)
        plan.shipment.put(storage)
        file = read_manifest(_find_manifest())
        for warning in file.warnings:
            sys.stderr.write(f"warning: {warning}\n")
        prices, details = _prices(file.shape), may_have(file.shape)
        note(plan.launcher, plan.request, plan.shipment, prices=prices, details=details)
        api.create(plan.submission)
        return KuberayHandle(storage, plan.request.run_id, target)

    def attach(self, storage: str, run_id: str) -> JobHandle:
        """See `Launcher`."""
        return KuberayHandle(storage, run_id, self._target)

    def jobs(self) -> list[PlacedJob]:
        """See `Launcher`."""
        return [placed_job(rayjob) for rayjob in KubeApi(find_context(self._target)).read_all()]


def _check(request: LaunchRequest) -> None:
    storage, limits = request.storage, request.limits
    if "://" not in storage or storage.startswith("file://"):
        raise UserError(
            f"storage {storage} is a folder of this machine, which pods do not see; give --storage "
            "a URI that both reach, such as s3://bucket/runs"
        )
    if shown(storage) != storage:
        raise UserError(
            f"storage {shown(storage)} has a key in it, which everybody who may see the job would "
            "read; leave it out and give the pods a service account, as cluster/kuberay.yaml says"
        )
    if limits.max_cost is not None:
        raise UserError("--max-cost: Kubernetes does not count what pods cost; say --max-hours")
    if limits.down is False:
        raise UserError("--no-down: on Kubernetes the cluster always goes with its job")


def _check_alone(api: KubeApi, plan: LaunchPlan) -> None:
    """Refuse to resume what still runs here: its note would be lost with the job to stop."""
    run_id = plan.request.run_id
    former = load_submission(RunStore(plan.request.storage).storage, run_id)
    if former is None or former.launcher != plan.launcher:
        return
    name = rayjob_name(former.submission_id)
    rayjob = api.read(name)
    if rayjob is not None and read_state(rayjob).phase != "ended":
        raise UserError(
            f"run {run_id} is already being driven by job {name} in {api.context}; wait for it "
            "or stop it first"
        )


def _find_manifest() -> Path:
    here = Path.cwd()
    found = (folder / MANIFEST for folder in (here, *here.parents))
    path = next((path for path in found if path.is_file()), here / MANIFEST)
    return Path(os.path.relpath(path, here))


def _prices(shape: ClusterShape) -> dict[str, float]:
    """Group of pods → US dollars an hour, as far as the price table knows."""
    types = shape.node_types
    return {node.name: price for node in types if (price := node.price_per_hour) is not None}


def _check_version(there: object) -> None:
    here = metadata.version("ray")
    if str(there) != here:
        raise UserError(
            f"{MANIFEST}: rayVersion is {there}, here is Ray {here}; build the image with "
            f"ray=={here} and say so there, or install ray=={there} here"
        )
