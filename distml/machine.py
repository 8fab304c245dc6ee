"""Does this machine have what a job asks for? Asked before anything starts.

One decision: a request that can never be met is refused at once, naming both amounts, instead of
waiting for ever in a queue.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distml.errors import UserError
from distml.job import Resources

__all__ = ["check_fits", "num_gpus"]


def check_fits(resources: Resources, host: Mapping[str, Any]) -> None:
    """Refuse what this machine does not have.

    Args:
        resources: What the job asks for.
        host: What there is: `cpus` and `memory_bytes` of a run record's host.

    Raises:
        UserError: more CPUs, GPUs or memory than there are.
    """
    for name, unit, asked, there in (
        ("num_cpus", "CPUs", resources.num_cpus, host["cpus"]),
        ("num_gpus", "GPUs", resources.num_gpus, num_gpus()),
        ("memory_bytes", "bytes of memory", resources.memory_bytes, host["memory_bytes"]),
    ):
        if asked is not None and asked > there:
            raise UserError(
                f"resources: {name}={asked} is more than this machine has ({there} {unit}); "
                f"ask for at most {there}"
            )


def num_gpus() -> int:
    """NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` does not hide."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    return min(there, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))
