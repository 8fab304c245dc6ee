"""Run the driver in this process, without a cluster: breakpoints work and a debugger steps through.

One decision: it is the same driver with the same command line, called instead of started. Fits run
one after another in this process, too. Cannot be detached.
"""

from importlib import import_module

from distml.errors import UserError
from distml.launch.handle import JobHandle, ProcessHandle
from distml.launch.launcher import (
    LaunchLimits,
    LaunchPlan,
    LaunchRequest,
    PlacedJob,
    driver_arguments,
)

__all__ = ["DebugLauncher"]

_DRIVER = "distml.driver"


class DebugLauncher:
    """This process, no Ray."""

    def __init__(self, target: str | None = None) -> None:
        if target is not None:
            raise UserError(
                f"debug is this machine and takes no address (:{target}); say --on debug"
            )

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """See `Launcher`."""
        if request.limits != LaunchLimits():
            raise UserError("--max-hours, --max-cost and --down are for runs elsewhere (--on)")
        if request.detach:
            raise UserError("debug runs in this process and cannot be detached; use --on local")
        return LaunchPlan(
            launcher="debug",
            request=request,
            command=("python", "-m", _DRIVER, *driver_arguments("debug", request, "--inline")),
            owns_terminal=True,
        )

    def submit(self, plan: LaunchPlan) -> JobHandle:
        """Run the job to its end."""
        # By name: this layer lies below the driver's, and meets it in argv only.
        driver = import_module(_DRIVER)
        exit_code = driver.main(plan.command[plan.command.index(_DRIVER) + 1 :])
        return ProcessHandle(plan.request.storage, plan.request.run_id, exit_code=exit_code)

    def attach(self, storage: str, run_id: str) -> JobHandle:
        """See `Launcher`."""
        return ProcessHandle(storage, run_id)

    def jobs(self) -> list[PlacedJob]:
        """See `Launcher`."""
        raise UserError("debug keeps no list of its own; distml list shows the runs of a storage")
