"""Run the driver as a job of a Ray cluster that is there, by Ray's Jobs API.

One decision: the job's id is the run's name, and what happens is read from the run's storage; so a
lost reply starts nothing twice, and closing the laptop changes nothing. The cluster is asked only
whether the job still lives, and to stop it.
"""

import json
import os
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from distml.errors import LaunchError, UserError
from distml.launch.handle import EXIT_CODES, JobHandle
from distml.launch.jobs_api import JobsApi
from distml.launch.launcher import LaunchPlan, LaunchRequest, PlacedJob
from distml.launch.ray_job import MAY_START, STOP_WAIT_S, hand_over, placed_jobs, plan_job
from distml.runs.record import RunStatus
from distml.runs.storage import carries_keys, shown
from distml.runs.submissions import load_submission

__all__ = ["ClusterAddress", "ClusterHandle", "ClusterLauncher", "find_cluster"]

_POLL_S = 0.25
_PENDING_LIMIT_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterAddress:
    """Where a cluster's dashboard is, and how to come in."""

    address: str
    """`http://HOST:PORT`."""
    token_file: str | None = None
    """File of its token; `None`: where Ray looks for it."""
    python: str = "python"
    """The interpreter of its nodes."""
    workers: tuple[Mapping[str, float], ...] = ()
    """What an autoscaler of its own may start: each kind of worker by its resources, and its
    `count`. No cluster tells it, and a run that knows of none waits for none."""

    def may_start(self) -> list[dict[str, float]]:
        """The resources of each worker that may come."""
        each = [(dict(kind), int(kind.get("count", 1))) for kind in self.workers]
        return [{k: v for k, v in has.items() if k != "count"} for has, n in each for _ in range(n)]


class ClusterLauncher:
    """An existing Ray cluster: `cluster:http://HOST:8265`, `cluster:NAME`, or by RAY_ADDRESS."""

    def __init__(self, target: str | None = None) -> None:
        self._found = find_cluster(target)
        self._place = "cluster" if target is None else f"cluster:{target}"
        self._api = JobsApi(self._found.address, token_file=self._found.token_file)

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """See `Launcher`."""
        if request.limits.max_cost is not None or request.limits.down is not None:
            raise UserError(
                "--max-cost and --down are for clusters that distml starts (--on cloud:FILE); "
                "an existing cluster takes --max-hours"
            )
        found = self._found
        environment = {MAY_START: json.dumps(found.may_start())} if found.workers else {}
        return plan_job(
            self._place, found.address, request, python=found.python, environment=environment
        )

    def submit(self, plan: LaunchPlan) -> JobHandle:
        """See `Launcher`.

        Raises:
            UserError: no such cluster answers, it wants a token, or its Ray is another version.
            LaunchError: it refuses the job.
        """
        hand_over(self._api, plan)
        return self.attach(plan.request.storage, plan.request.run_id)

    def attach(self, storage: str, run_id: str) -> JobHandle:
        """See `Launcher`."""
        return ClusterHandle(storage, run_id, self._api)

    def jobs(self) -> list[PlacedJob]:
        """See `Launcher`."""
        return placed_jobs(self._api)


class ClusterHandle(JobHandle):
    """A run whose driver is a job of a Ray cluster."""

    _gone_limit_s = 30.0

    def __init__(self, storage: str, run_id: str, api: JobsApi) -> None:
        super().__init__(storage, run_id)
        self._api = api
        self._submission_id: str | None = None
        self._last_words = ""
        self._pending_since: float | None = None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """See `JobHandle`.

        Raises:
            LaunchError: the job stays pending, or the cluster is gone and the run has not ended.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        gone_since: float | None = None
        while True:
            try:
                info = self._info()
                gone_since = None
            except UserError as error:
                info = None
                gone_since = gone_since or time.monotonic()
                if (code := self._code_of_record()) is not None:
                    return code
                if time.monotonic() - gone_since > self._gone_limit_s:
                    raise LaunchError(
                        f"{error}; run {self.run_id} had not ended when last seen: go on with "
                        f"distml resume {self.run_id} --on …"
                    ) from None
            if info is not None and RunStatus(info["status"]).is_final:
                return self._ended(info)
            if end is not None and time.monotonic() > end:
                return None
            self._give_up_pending(info)
            time.sleep(_POLL_S if end is None else min(_POLL_S, max(0.0, end - time.monotonic())))

    def stop(self, grace_s: float = float(STOP_WAIT_S)) -> None:
        """See `JobHandle`. The cluster kills the job itself after 40 s, whatever `grace_s`."""
        info = self._info()
        if info is None or RunStatus(info["status"]).is_final:
            status = "not known" if info is None else self.status()
            raise UserError(f"run {self.run_id} is {status}: there is nothing to stop")
        self._api.stop(self._id())
        self.wait()

    def last_words(self) -> str:
        """See `JobHandle`; known when `wait` has seen the end."""
        return self._last_words

    def why_pending(self) -> str | None:
        """See `JobHandle`."""
        info = self._info()
        if info is None or info["status"] != "PENDING":
            return None
        return " ".join(str(info.get("message") or "").split()) or None

    def _id(self) -> str:
        if self._submission_id is None:
            note = load_submission(self.store.storage, self.run_id)
            self._submission_id = self.run_id if note is None else note.submission_id
        return self._submission_id

    def _info(self) -> dict[str, Any] | None:
        return self._api.info(self._id())

    def _code_of_record(self) -> int | None:
        record = self.record()
        # Of a driver that has gone without a word there is more to say than an exit code.
        if record is None or not record.status.is_final or record.is_written_off:
            return None
        return EXIT_CODES.get(record.status, 1)

    def _ended(self, info: dict[str, Any]) -> int:
        lines = self._api.output(self._id()).splitlines()
        words = [line for line in lines if line.startswith("distml: error:")]
        code = info.get("driver_exit_code")
        if info["status"] == "STOPPED":
            return 130
        if code is None or (code and not words and self.record() is None):
            said = (lines or [str(info.get("message") or "")])[-1]
            words = [f"distml: error: the job did not come as far as the driver: {said.strip()}"]
        self._last_words = "".join(f"{line}\n" for line in words[-1:])
        return 1 if code is None else int(code)

    def _give_up_pending(self, info: dict[str, Any] | None) -> None:
        if info is None or info["status"] != "PENDING":
            return
        # By one clock: that of the cluster may be another.
        self._pending_since = self._pending_since or time.monotonic()
        waited = time.monotonic() - self._pending_since
        if waited > _PENDING_LIMIT_S:
            why = self.why_pending() or "the cluster does not say why"
            self._api.stop(self._id())
            raise LaunchError(
                f"run {self.run_id} was still waiting after {waited:.0f} s and is withdrawn: {why}"
            )


def find_cluster(target: str | None) -> ClusterAddress:
    """Where the cluster is that is meant.

    Args:
        target: `http://HOST:PORT`, a name of `~/.config/distml/clusters.toml`, or `None` for
            `RAY_API_SERVER_ADDRESS` or `RAY_ADDRESS`.

    Raises:
        UserError: none is meant, or it is no address of a dashboard.
    """
    if target is None:
        address = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
        if not address:
            raise UserError(
                "which cluster? say --on cluster:http://HOST:8265, or set RAY_ADDRESS to that"
            )
        return ClusterAddress(address=_checked(address))
    if "/" in target or ":" in target:
        return ClusterAddress(address=_checked(target))
    return _named(target)


def _checked(address: str) -> str:
    if carries_keys(address):
        raise UserError(
            f"{shown(address)} names a password, and a place is noted in each run: leave it out, "
            "and give the cluster's token by RAY_AUTH_TOKEN_PATH"
        )
    if address.startswith(("http://", "https://")):
        return address
    raise UserError(
        f"{address} is not the address of a dashboard, which is where jobs are submitted: "
        "http://HOST:8265"
    )


def _named(name: str) -> ClusterAddress:
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = folder / "distml" / "clusters.toml"
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    entry = known.get(name)
    if entry is None:
        there = ", ".join(known) or "none"
        raise UserError(
            f"unknown cluster {name!r}: {path} names {there}; say --on cluster:http://HOST:8265"
        )
    keys = [item.name for item in fields(ClusterAddress)]
    wrong = sorted(set(entry) - set(keys))
    if wrong or "address" not in entry:
        raise UserError(f"{path}: [{name}] has {', '.join(keys)}; not {', '.join(wrong)}")
    workers = entry.get("workers", [])
    if not _are_kinds(workers):
        raise UserError(
            f"{path}: [{name}] workers are tables of numbers: [[{name}.workers]] with CPU, and if "
            "wanted count, GPU, and memory in bytes"
        )
    address = _checked(entry["address"])
    return ClusterAddress(**{**entry, "address": address, "workers": tuple(workers)})


def _are_kinds(workers: Any) -> bool:
    return isinstance(workers, list) and all(
        isinstance(kind, dict)
        and "CPU" in kind
        and all(isinstance(amount, int | float) for amount in kind.values())
        and kind.get("count", 1) >= 1
        for kind in workers
    )
