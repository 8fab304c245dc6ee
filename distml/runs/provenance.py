"""Where a run comes from: versions, machine, state of the repository.

The one decision: facts are read without importing what they are about. Versions come from package
metadata, the repository's state from `git` itself; what cannot be found out is left out.
"""

import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from distml.runs.record import RunRecord, new_run_id

__all__ = ["git_state", "host_facts", "library_versions", "memory_limit_bytes", "new_record"]

_LIBRARIES = {
    "distml": "distml",
    "ray": "ray",
    "torch": "torch",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost",
    "pyarrow": "pyarrow",
    "numpy": "numpy",
}
"""Name in the record → name of the distribution."""

_HEAD = "# branch.oid "
_GIT_TIMEOUT_S = 10.0
_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def new_record(
    *,
    job_file: str,
    parameters: Mapping[str, Any],
    launcher: str,
    seed: int | None = None,
    resources: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> RunRecord:
    """Describe a run that is about to start here.

    Args:
        job_file: path of the job file.
        parameters: arguments of its `job()` function.
        launcher: where it shall run.
        seed: the job's seed, if known already.
        resources: what the job may use, if known already.
        run_id: name of the run, or `None` to make one up.

    Returns:
        A pending record.

    Raises:
        Nothing.
    """
    return RunRecord(
        run_id=run_id or new_run_id(job_file),
        job_file=job_file,
        folder=str(Path.cwd()),
        parameters=dict(parameters),
        launcher=launcher,
        seed=seed,
        resources=dict(resources or {}),
        git=git_state(Path(job_file).parent),
        versions=library_versions(),
        host=host_facts(),
        created_at=time.time(),
    ).as_stored()


def git_state(folder: str | Path) -> dict[str, Any] | None:
    """Say which commit a folder is at, and whether tracked or new files differ from it.

    Args:
        folder: a folder in a repository.

    Returns:
        `{"commit": 40 hex digits or None before the first commit, "dirty": bool}`; `None` without
        git or a repository.

    Raises:
        Nothing.
    """
    said = _git(folder, "status", "--porcelain=v2", "--branch")
    if said is None:
        return None
    lines = said.splitlines()
    heads = [line.removeprefix(_HEAD) for line in lines if line.startswith(_HEAD)]
    commit = next((head for head in heads if head != "(initial)"), None)
    return {"commit": commit, "dirty": any(not line.startswith("# ") for line in lines)}


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on.

    Returns:
        Name → version, of those that are installed.

    Raises:
        Nothing.
    """
    versions = {"python": platform.python_version()}
    for name, distribution in _LIBRARIES.items():
        try:
            versions[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return versions


def host_facts() -> dict[str, Any]:
    """Describe this machine as this process may use it.

    Returns:
        `name`, `cpus` (logical, that we may run on), `memory_bytes` (that we may use), `platform`.

    Raises:
        Nothing.
    """
    import psutil

    memory_bytes = psutil.virtual_memory().total
    limit = memory_limit_bytes()
    return {
        "name": platform.node(),
        "cpus": _num_cpus(),
        "memory_bytes": memory_bytes if limit is None else min(memory_bytes, limit),
        "platform": platform.platform(),
    }


def memory_limit_bytes() -> int | None:
    """The memory limit of the control group (container, batch job) we run in.

    Returns:
        The least limit from here up, in bytes; `None` without one.

    Raises:
        Nothing.
    """
    limits = [
        int(text)
        for name in ("memory.max", "memory.limit_in_bytes")
        for text in _control_group_files(name)
        if text.isdigit()
    ]
    # Version 1 says "no limit" by a number near 2**63.
    return min((limit for limit in limits if limit < 1 << 60), default=None)


def _num_cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    num_cpus = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    for text in _control_group_files("cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdigit() and period.isdigit():
            num_cpus = min(num_cpus, max(1, math.ceil(int(quota) / int(period))))
    return num_cpus


def _control_group_files(name: str) -> list[str]:
    """The content of a control file in our group and every group above it."""
    texts = []
    for line in _read(_MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        top = _GROUPS / controllers
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top) and (text := _read(folder / name).strip()):
                texts.append(text)
    return texts


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _git(folder: str | Path, *arguments: str) -> str | None:
    # No locks are taken, so that a commit the user makes meanwhile does not fail.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
