"""A run as a RayJob of Kubernetes: its manifest, and what its status says.

One decision: pure functions between values. The manifest is `cluster/kuberay.yaml` as the user has
it, with the run filled in and a few things that must not be otherwise. The job is handed over by
the operator itself (`HTTPMode`): the other way puts the command line through a shell twice and
takes one more pod. Refuses a file in which keys are written down: pods have a service account, or
refer to a Secret.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from distml.errors import UserError
from distml.launch.files.cluster_file import ClusterFile, read_cluster_file
from distml.launch.kube.kube_api import RUN
from distml.launch.launcher import PlacedJob
from distml.launch.ray_job import STOP_WAIT_S

__all__ = [
    "OVER_TIME",
    "JobState",
    "RunFacts",
    "build_rayjob",
    "placed_job",
    "rayjob_name",
    "read_manifest",
    "read_state",
]

OVER_TIME = 124
"""Exit code of a run that was ended at its limit, as `timeout` has it."""

# Names of RayJobs in KubeRay before 1.4; later ones allow 63.
_MAX_NAME = 47
_MAX_DEADLINE_S = 2**31 - 1
_STARTING_S = 1200
_SHOWN_S = 600
_FINAL = ("STOPPED", "SUCCEEDED", "FAILED")
_OVER = ("Complete", "Failed", "ValidationFailed")
_SECRET = re.compile(
    r"SECRET|PASSWORD|PASSWD|TOKEN|ACCESS_KEY|API_KEY|CREDENTIAL|CONNECTION_STRING"
)
_EXIT_CODE = re.compile(r"exit code (-?\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What of a run goes into its manifest."""

    run_id: str
    """The run."""
    submission_id: str
    """Its handing over."""
    storage: str
    """Where it is kept."""
    entrypoint: str
    """The command, quoted for a shell."""
    namespace: str
    """Where its pods are."""
    max_hours: float | None = None
    """How long all may take, with its cluster's start."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables of the job's processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """Where a RayJob stands."""

    phase: Literal["pending", "running", "ended"]
    """Whether the driver has begun, and ended."""
    code: int | None = None
    """Exit code of one that has ended."""
    reason: str = ""
    """KubeRay's word for what happened, such as `PreRunningDeadlineExceeded`."""
    message: str = ""
    """What it says about it; of a job that failed, the end of what it has printed."""
    doing: str = ""
    """What a pending one waits for, as far as its status tells."""
    cluster: str = ""
    """Name of its RayCluster, with which those of the pods begin."""
    is_deleted: bool = False
    """Whether somebody has asked for its end, and its pods are going."""
    deadline_s: float = float(_STARTING_S)
    """In which it has to begin."""

    def words(self) -> str:
        """The last line that distml has printed, or else the last one of all."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("distml: error:")]
        return (errors or lines or [""])[-1]


def rayjob_name(submission_id: str) -> str:
    """What a submission is called in Kubernetes: the same each time, and another for another.

    Args:
        submission_id: Any name.

    Returns:
        It, if it may be a name there (lower case, digits, hyphens, a letter first, at most 47);
        otherwise what can be kept of it, and eight digits of its hash.
    """
    if re.fullmatch(rf"[a-z](?:[-a-z0-9]{{0,{_MAX_NAME - 2}}}[a-z0-9])?", submission_id):
        return submission_id
    kept = re.sub(r"[^a-z0-9]+", "-", submission_id.lower()).strip("-")
    digits = hashlib.sha256(submission_id.encode()).hexdigest()[:8]
    return f"run-{kept[: _MAX_NAME - len('run--') - len(digits)].strip('-')}-{digits}"


def read_manifest(path: Path) -> ClusterFile:
    """The user's manifest.

    Args:
        path: Of a file like `cluster/kuberay.yaml`.

    Raises:
        UserError: it cannot be read, something in it is wrong, it is no RayJob with a cluster of
            its own, or it holds a key.
    """
    file = read_cluster_file(path)
    spec = file.config["spec"] if file.config.get("kind") == "RayJob" else {}
    if "rayClusterSpec" not in spec:
        raise UserError(f"{path} is no RayJob with a rayClusterSpec: there are no pods to run on")
    for name in _written_keys(spec["rayClusterSpec"]):
        raise UserError(
            f"{path}: {name} has its value written down, where all who may see the job can read "
            "it; use serviceAccountName, or valueFrom: secretKeyRef"
        )
    return file


def build_rayjob(template: Mapping[str, Any], run: RunFacts) -> dict[str, Any]:
    """Fill a run into the user's manifest.

    Args:
        template: What `read_manifest` has read.
        run: The run.

    Returns:
        The RayJob, of JSON values alone.
    """
    rayjob = copy.deepcopy(dict(template))
    name = rayjob_name(run.submission_id)
    metadata = rayjob["metadata"] = dict(rayjob.get("metadata") or {})
    metadata.update(name=name, namespace=run.namespace)
    ours = {RUN: run.run_id, "distml/submission": run.submission_id}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **ours}
    labels = metadata.get("labels") or {}
    metadata["labels"] = {**labels, "app.kubernetes.io/managed-by": "distml"}
    spec = rayjob["spec"]
    spec.pop("suspend", None)
    spec.pop("submitterPodTemplate", None)
    spec.update(
        entrypoint=run.entrypoint,
        submissionMode="HTTPMode",
        # Ray's own name of the job: what was submitted once is found, not started again.
        jobId=name,
        runtimeEnvYAML=_runtime_env(spec.get("runtimeEnvYAML"), run.environment),
        metadata={"distml_run": run.run_id, "distml_storage": run.storage},
        shutdownAfterJobFinishes=True,
        # A second cluster would cost as much as the first; a driver that dies is started again
        # within it.
        backoffLimit=0,
    )
    spec.setdefault("preRunningDeadlineSeconds", _STARTING_S)
    spec.setdefault("ttlSecondsAfterFinished", _SHOWN_S)
    if run.max_hours is not None:
        limit_s = max(1, round(run.max_hours * 3600))
        # The cluster stays for that time after a deadline too, with the job still running on it.
        spec.update(activeDeadlineSeconds=min(limit_s, _MAX_DEADLINE_S), ttlSecondsAfterFinished=0)
    return rayjob


def read_state(rayjob: Mapping[str, Any]) -> JobState:
    """What the status of a RayJob says."""
    status = rayjob.get("status") or {}
    deployment = str(status.get("jobDeploymentStatus") or "")
    job = str(status.get("jobStatus") or "")
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    phase: Literal["pending", "running", "ended"] = "running" if job == "RUNNING" else "pending"
    code = None
    if job in _FINAL or deployment in _OVER:
        phase, code = "ended", _code(job, reason, message)
    limit = rayjob.get("spec", {}).get("preRunningDeadlineSeconds", _STARTING_S)
    return JobState(
        phase=phase,
        code=code,
        reason=reason,
        message=message,
        doing=_doing(deployment, job),
        cluster=str(status.get("rayClusterName") or ""),
        is_deleted="deletionTimestamp" in rayjob["metadata"],
        deadline_s=float(limit),
    )


def placed_job(rayjob: Mapping[str, Any]) -> PlacedJob:
    """A RayJob, of distml or not, as a line of a list."""
    metadata, state = rayjob["metadata"], read_state(rayjob)
    ends = {0: "SUCCEEDED", 130: "STOPPED"}
    word = state.phase.upper() if state.code is None else ends.get(state.code, "FAILED")
    return PlacedJob(
        job_id=metadata["name"],
        run_id=(metadata.get("annotations") or {}).get(RUN),
        status=word,
        started_at=_unix(metadata.get("creationTimestamp")),
        ended_at=_unix((rayjob.get("status") or {}).get("endTime")),
        storage=(rayjob["spec"].get("metadata") or {}).get("distml_storage"),
    )


def _unix(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()


def _written_keys(cluster: Mapping[str, Any]) -> Iterator[str]:
    """Names of variables that look like keys and are not taken from a Secret."""
    for group in (cluster["headGroupSpec"], *(cluster.get("workerGroupSpecs") or [])):
        pod = group["template"]["spec"]
        for container in (*pod["containers"], *(pod.get("initContainers") or [])):
            for variable in container.get("env") or []:
                name = str(variable.get("name", ""))
                is_file = name.endswith(("_PATH", "_FILE"))
                if variable.get("value") and _SECRET.search(name) and not is_file:
                    yield name


def _runtime_env(given: str | None, more: Mapping[str, str]) -> str:
    """What the file says, and what a driver needs; JSON is YAML."""
    import yaml

    environment = yaml.safe_load(given or "") or {}
    ours = {
        # Ray signals the driver and what starts it: of two different signals the second may come
        # while the first is dealt with.
        "RAY_JOB_STOP_SIGNAL": "SIGINT",
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
        "PYTHONUNBUFFERED": "1",
    }
    environment["env_vars"] = {**ours, **(environment.get("env_vars") or {}), **more}
    return json.dumps(environment)


def _code(job: str, reason: str, message: str) -> int:
    if "DeadlineExceeded" in reason and not reason.startswith("PreRunning"):
        return OVER_TIME
    if job in ("SUCCEEDED", "STOPPED"):
        return 0 if job == "SUCCEEDED" else 130
    found = _EXIT_CODE.search(message.partition("\n")[0])
    code = 1 if found is None else int(found.group(1))
    return code if code >= 0 else 128 - code


def _doing(deployment: str, job: str) -> str:
    if not deployment:
        return "KubeRay has not looked at it yet; does its operator run, and watch this namespace?"
    if deployment == "Running":
        return f"its Ray cluster is up, and Ray says {job or 'nothing'} of the job"
    return f"KubeRay says {deployment}: the pods of its Ray cluster are not ready yet"
