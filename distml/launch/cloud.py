"""Run the driver on a cluster that a file describes: `--on cloud:cluster/aws.yaml`.

One decision: the cluster is brought up if it is not, and whatever ends it has been told to its own
head before the job is handed over: so it ends though this client dies. Everything else is a run on
a cluster that is there, through an SSH tunnel.
"""

import contextlib
import sys
from dataclasses import replace
from typing import Any

from distml.errors import DistmlError, LaunchError, UserError
from distml.launch.clouds.cloud_cluster import CloudCluster, Standing, open_cluster, path_of
from distml.launch.clouds.stopping import MARK
from distml.launch.clouds.take_down import bring_up, take_down
from distml.launch.cluster import ClusterHandle
from distml.launch.handle import JobHandle
from distml.launch.jobs_api import JobsApi
from distml.launch.launcher import LaunchPlan, LaunchRequest, PlacedJob
from distml.launch.ray_job import MAY_START, hand_over, may_have, may_start, placed_jobs, plan_job
from distml.runs.submissions import load_submission

__all__ = ["IDLE_MINUTES", "CloudHandle", "CloudLauncher"]

IDLE_MINUTES = 60.0
"""How long a cluster that was started here is left without a job."""

_NO_JOB_MINUTES = 15.0
"""The same, if it was started for a run that is never handed over."""


class CloudLauncher:
    """The cluster of a file: `cloud:cluster/aws.yaml`."""

    def __init__(self, target: str | None = None) -> None:
        if target is None:
            raise UserError("which cluster? say --on cloud:FILE, such as cloud:cluster/aws.yaml")
        self._path = str(path_of(target))
        # Whole, because the run may be taken up again from another folder.
        self._place = f"cloud:{self._path}"

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """See `Launcher`."""
        cluster, limits = open_cluster(self._path, to_start=True), request.limits
        if limits.max_cost is not None:
            cluster.check_cost_limit()
        if "://" not in request.storage and cluster.provider != "local":
            raise UserError(
                f"the machines of {cluster.name} cannot reach {request.storage}: keep runs in "
                "s3://, gs:// or abfs:// (--storage, or DISTML_STORAGE)"
            )
        plan = plan_job(
            self._place,
            f"the dashboard of cluster {cluster.name}, by SSH",
            request,
            environment={MARK: cluster.name, MAY_START: may_start(cluster.file.shape)},
        )
        submission = {**(plan.submission or {}), "cluster": _described(cluster, request)}
        return replace(plan, submission=submission)

    def submit(self, plan: LaunchPlan) -> JobHandle:
        """See `Launcher`. Brings the cluster up if it is not.

        Raises:
            UserError: something has to be put right first.
            LaunchError: the cluster does not come up, or refuses the job.
        """
        if plan.shipment is None:
            raise ValueError("the plan of another launcher")
        job, limits = plan.shipment.submission_id, plan.request.limits
        cluster = open_cluster(self._path, to_start=True)
        for warning in cluster.file.warnings:
            _say(f"warning: {warning}")
        standing = bring_up(cluster, _orders(plan.request, job), _say)
        down = not standing.was_up if limits.down is None else limits.down
        try:
            if standing.was_up:
                _tell_warden(cluster, standing, plan.request, job, down)
            api = _TunnelApi(cluster, standing)
            shape = cluster.file.shape
            details = {"cluster": cluster.name, "down": down, **may_have(shape)}
            hand_over(api, plan, prices=cluster.prices, details=details)
        except BaseException:
            if not standing.was_up and down:
                _say(f"taking {cluster.name} down again")
                take_down(cluster, "its run did not start", _say)
            raise
        storage, run_id = plan.request.storage, plan.request.run_id
        return CloudHandle(storage, run_id, self._path, api, down=down)

    def attach(self, storage: str, run_id: str) -> JobHandle:
        """See `Launcher`. Comes in when something is asked that the storage does not know."""
        return CloudHandle(storage, run_id, self._path)

    def jobs(self) -> list[PlacedJob]:
        """See `Launcher`."""
        return placed_jobs(_TunnelApi(self._path))


class CloudHandle(ClusterHandle):
    """A run whose driver is a job of a cluster behind an SSH tunnel."""

    # The tunnel itself needs 15 s to notice that a link is silent.
    _gone_limit_s = 120.0

    def __init__(
        self,
        storage: str,
        run_id: str,
        path: str,
        api: JobsApi | None = None,
        *,
        down: bool | None = None,
    ) -> None:
        super().__init__(storage, run_id, api or _TunnelApi(path))
        self._path, self._down = path, down

    def wait(self, timeout_s: float | None = None) -> int | None:
        """See `JobHandle`. Takes the cluster down with the end of the run, where that is wanted.

        Raises:
            LaunchError: as a run's of a cluster; or the cluster cannot be taken down.
        """
        try:
            code = super().wait(timeout_s)
        except LaunchError:
            with contextlib.suppress(DistmlError):
                if self._wants_down() and self._is_of_no_use():
                    self._take_down()
            raise
        if code is not None and self._wants_down():
            self._down = False
            self._take_down()
        return code

    def _is_of_no_use(self) -> bool:
        """Whether nothing can go on there: its head has gone, or it answers and the job is none.

        Where only the way there is lost, the run may well go on.
        """
        cluster = open_cluster(self._path)
        there = cluster.machines()
        if there and not any(one.is_head and one.runs for one in there):
            _say(f"{cluster.name} has lost its head")
            return True
        return cluster.stand() is not None and not self._is_active()

    def _is_active(self) -> bool:
        info = self._info()
        return info is not None and info["status"] in ("PENDING", "RUNNING")

    def _wants_down(self) -> bool:
        if self._down is None:
            noted = load_submission(self.store.storage, self.run_id)
            self._down = noted is not None and bool(noted.details.get("down"))
        return self._down

    def _take_down(self) -> None:
        try:
            jobs = self._api.jobs()
        except DistmlError:
            jobs = []
        # The run's own may still be about to end, where its record was faster than the cluster.
        active = [job for job in jobs if job["status"] in ("PENDING", "RUNNING")]
        others = [job for job in active if job.get("submission_id") != self._id()]
        cluster = open_cluster(self._path)
        if others:
            _say(f"{cluster.name} goes on until its other runs have ended")
            return
        _say(f"taking {cluster.name} down")
        take_down(cluster, "its run has ended", _say)


class _TunnelApi(JobsApi):
    """The dashboard of a cluster, to which a tunnel is made when something is asked of it."""

    def __init__(self, cluster: CloudCluster | str, standing: Standing | None = None) -> None:
        super().__init__("http://127.0.0.1")
        self._cluster, self._standing = cluster, standing

    def _request(self, method: str, path: str, **options: Any) -> bytes | None:
        if self._standing is None:
            if isinstance(self._cluster, str):
                self._cluster = open_cluster(self._cluster)
            self._standing = self._cluster.stand()
            if self._standing is None:
                raise UserError(f"cluster {self._cluster.name} is not up")
        self._standing.tunnel.keep()
        self.address = f"http://127.0.0.1:{self._standing.tunnel.port}"
        return super()._request(method, path, **options)


def _orders(request: LaunchRequest, job: str) -> dict[str, Any]:
    """What the warden of a cluster that is started for a run has to keep."""
    limits, down = request.limits, request.limits.down is not False
    return {
        "max_hours": limits.max_hours,
        "max_cost": limits.max_cost,
        "idle_s": 60 * (_NO_JOB_MINUTES if down else IDLE_MINUTES),
        "down_after": [job] if down else [],
    }


def _tell_warden(
    cluster: CloudCluster, standing: Standing, request: LaunchRequest, job: str, down: bool
) -> None:
    """Add a run to a cluster that is up; its hours are kept beside its driver."""
    added: dict[str, Any] = {"down_after": [job]} if down else {}
    if request.limits.max_cost is not None:
        added["job_costs"] = {job: request.limits.max_cost}
    cluster.tell_warden(standing.reach, added)


def _described(cluster: CloudCluster, request: LaunchRequest) -> dict[str, Any]:
    """The cluster and the limits, as a dry run prints them."""
    shape, limits = cluster.file.shape, request.limits
    return {
        "name": shape.name,
        "file": str(cluster.file.path),
        "provider": shape.provider,
        "region": shape.region,
        "max_workers": shape.max_workers,
        "usd_per_hour": cluster.prices,
        "max_hours": limits.max_hours,
        "max_cost": limits.max_cost,
        "down": "if it is started for this run" if limits.down is None else limits.down,
    }


def _say(words: str) -> None:
    sys.stderr.write(f"distml: {words}\n")
    sys.stderr.flush()
