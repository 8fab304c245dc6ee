"""What a place takes before units run: machines that start, processes that load, data that travels.

One decision: each figure says whether it was measured or is assumed. Constants of distml and Ray
were measured by `benchmarks/bench_cluster.py`; how soon a provider gives a machine, and what its
network carries, is assumed with a wide range, until the user's own runs say better.
"""

from dataclasses import dataclass

from distml.launch.fitting.simulate import Constants
from distml.launch.fitting.work import Span

__all__ = ["CONSTANTS", "Starts", "starts_of"]

CONSTANTS = Constants(unit_s=0.02, dispatch_s=0.004, worker_start_s=2.0, bytes_per_s=4e8)
"""Measured on 2 cores with Ray 2.60, one to three nodes; what travels is counted at 4 Gbit/s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Starts:
    """How soon a place is there."""

    head_s: Span
    """Until the head takes a job, where none runs yet."""
    worker_s: Span
    """From the want of a machine until it has joined."""
    driver_s: Span
    """From the job's submission until its driver has joined Ray."""
    down_s: float = 0.0
    """From the end of the job until the last machine is not paid for any more."""
    is_assumed: bool = True
    """Whether nobody has measured how soon machines start there."""


_NOTHING = Span(0.0, 0.0, 0.0)
_DRIVER = Span(4.0, 2.0, 8.0)

_STARTS = {
    # There already: nothing starts but the driver.
    "running": Starts(head_s=_NOTHING, worker_s=_NOTHING, driver_s=_DRIVER, is_assumed=False),
    "here": Starts(
        head_s=_NOTHING, worker_s=_NOTHING, driver_s=Span(7.0, 4.0, 12.0), is_assumed=False
    ),
    # Own machines, that run already: measured on hosts of namespaces, 6.9 s and 18 s with three.
    "local": Starts(
        head_s=Span(10.0, 6.0, 40.0),
        worker_s=Span(12.0, 8.0, 40.0),
        driver_s=_DRIVER,
        down_s=12.0,
        is_assumed=False,
    ),
    "external": Starts(
        head_s=Span(10.0, 5.0, 30.0), worker_s=Span(12.0, 8.0, 30.0), driver_s=_DRIVER
    ),
    # A pod of an image that the machine has, to one of an image of several GiB on a new machine.
    "kuberay": Starts(
        head_s=Span(45.0, 15.0, 240.0),
        worker_s=Span(45.0, 15.0, 300.0),
        driver_s=_DRIVER,
        down_s=30.0,
    ),
}
# A machine boots, then installs what the job needs.
_CLOUD = Starts(
    head_s=Span(240.0, 120.0, 600.0),
    worker_s=Span(210.0, 100.0, 540.0),
    driver_s=_DRIVER,
    down_s=60.0,
)


def starts_of(provider: str) -> Starts:
    """What a provider takes.

    Args:
        provider: As `ClusterShape` names it.
    """
    return _STARTS.get(provider, _CLOUD)
