"""The most memory that each worker of a training has held.

The one decision: it is what the kernel counts of the worker's process: all that it held at once,
rows and libraries included, so it is what a machine must have for it.
"""

from pathlib import Path

from distml.train.context import Train

__all__ = ["peak_bytes"]


def peak_bytes(train: Train) -> list[int]:
    """Resident bytes of each worker at its peak so far, by rank. All workers call it.

    Args:
        train: the side of this worker.

    Returns:
        As many numbers as there are workers; empty where the system does not count them.
    """
    own = float(_own_peak())
    ranks = range(train.world_size)
    peaks = train.parallel.sum([own if rank == train.rank else 0.0 for rank in ranks])
    return [int(peak) for peak in peaks] if all(peaks) else []


def _own_peak() -> int:
    """This process's high-water mark in bytes; 0 on systems without /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return 1024 * sum(kilobytes)
