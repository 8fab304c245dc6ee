"""What this machine has for a run: CPUs, memory, GPUs, as far as this process may use them.

One decision: a container's limits (cgroup v1 and v2) and the process's CPU affinity count, the
hardware behind them does not. Refuses, before anything starts, what could never be had here.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from distml.errors import UserError
from distml.job import Resources

__all__ = ["check_fits", "memory_bytes", "num_cpus", "num_gpus"]

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def check_fits(resources: Resources) -> None:
    """Refuse what this machine does not have.

    Raises:
        UserError: more CPUs, GPUs or memory than there are; names both amounts.
    """
    for name, unit, asked, there in (
        ("num_cpus", "CPUs", resources.num_cpus, num_cpus()),
        ("num_gpus", "GPUs", resources.num_gpus, num_gpus()),
        ("memory_bytes", "bytes of memory", resources.memory_bytes, memory_bytes()),
    ):
        if asked is not None and asked > there:
            raise UserError(
                f"resources: {name}={asked} is more than this machine has ({there} {unit}); "
                f"ask for at most {there}"
            )


def num_cpus() -> int:
    """Logical CPUs, rounded up where a container has a part of one."""
    affinity = getattr(os, "sched_getaffinity", None)
    there = len(affinity(0)) if affinity else os.cpu_count() or 1
    shares = [math.ceil(quota) for quota in _cpu_quotas()]
    return max(1, min([there, *shares]))


def memory_bytes() -> int:
    """Memory in bytes."""
    import psutil

    texts = [*_read_all("memory.max", ""), *_read_all("memory.limit_in_bytes", "memory")]
    limits = [int(text) for text in texts if text.isdigit()]
    return min([int(psutil.virtual_memory().total), *limits])


def num_gpus() -> int:
    """NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` does not hide."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    return min(there, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))


def _cpu_quotas() -> Iterator[float]:
    """CPU time per time that each enclosing group allows."""
    pairs = [text.split() for text in _read_all("cpu.max", "")]
    quotas, periods = (_read_all(f"cpu.cfs_{name}_us", "cpu") for name in ("quota", "period"))
    for quota, period in (*pairs, *zip(quotas, periods, strict=False)):
        if quota.isdigit() and int(period):
            yield int(quota) / int(period)


def _read_all(name: str, controller: str) -> list[str]:
    """A limit's file in this process's group and in all groups around it, as far as they show."""
    folder = _CGROUP / controller
    group = folder / _group(controller).lstrip("/")
    return [
        (parent / name).read_text().strip()
        for parent in (group, *group.parents)
        if parent.is_relative_to(folder) and (parent / name).is_file()
    ]


def _group(controller: str) -> str:
    """This process's group: under `controller` in version 1, the only one (`""`) in version 2."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return "/"
    groups = {entry.split(":", 2)[1]: entry.split(":", 2)[2] for entry in lines if ":" in entry}
    return groups.get(controller, "/")
