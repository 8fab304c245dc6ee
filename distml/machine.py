"""Does this machine have what a job asks for, and what did the job take of it?

One decision: a request that can never be met is refused at once, naming both amounts, instead of
waiting for ever in a queue.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distml.errors import UserError
from distml.job import Resources

__all__ = ["MemoryWatch", "check_fits", "num_gpus"]

_WATCH_S = 0.25


def check_fits(resources: Resources, host: Mapping[str, Any], where: str = "this machine") -> None:
    """Refuse what this machine, or a cluster, does not have.

    Args:
        resources: What the job asks for.
        host: What there is: `cpus` and `memory_bytes` of a run record's host, `None` where it is
            not known; `gpus` where it is not this machine.
        where: What has it.

    Raises:
        UserError: more CPUs, GPUs or memory than there are.
    """
    for name, unit, asked, there in (
        ("num_cpus", "CPUs", resources.num_cpus, host["cpus"]),
        ("num_gpus", "GPUs", resources.num_gpus, host.get("gpus", num_gpus())),
        ("memory_bytes", "bytes of memory", resources.memory_bytes, host["memory_bytes"]),
    ):
        if None not in (asked, there) and asked > there:
            raise UserError(
                f"resources: {name}={asked} is more than {where} has ({there:.0f} {unit}); "
                f"ask for at most {there:.0f}"
            )


def num_gpus() -> int:
    """NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` does not hide."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    return min(there, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))


class MemoryWatch:
    """Notes the most memory that this process and Ray's workers under it have at one time.

    What they share is counted once; Ray's own servers are not counted.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        """Bytes so far; 0 where the system does not tell."""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look four times a second until the block ends."""
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def _watch(self, stop: threading.Event) -> None:
        self._look()
        while not stop.wait(_WATCH_S):
            self._look()

    def _look(self) -> None:
        import psutil

        own = psutil.Process()
        total = 0
        with contextlib.suppress(psutil.Error, AttributeError, OSError):
            for process in [own, *own.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    if process is own or "ray::" in process.name():
                        total += process.memory_full_info().pss
        self.peak_bytes = max(self.peak_bytes, total)
