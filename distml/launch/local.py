"""Run the driver as a process of its own on this machine; Ray starts there if the job needs it.

One decision: the driver leads its own session, so that Ctrl-C in the terminal reaches it only
through `stop`, that it outlives the terminal when detached, and that all it starts can be found.
"""

import subprocess
import sys
import tempfile

from distml.errors import UserError
from distml.launch.handle import JobHandle, ProcessHandle
from distml.launch.launcher import (
    LaunchLimits,
    LaunchPlan,
    LaunchRequest,
    PlacedJob,
    driver_arguments,
)

__all__ = ["LocalLauncher"]


class LocalLauncher:
    """This machine, a process beside this one."""

    def __init__(self, target: str | None = None) -> None:
        if target is not None:
            raise UserError(
                f"local is this machine and takes no address (:{target}); say --on local"
            )

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """See `Launcher`."""
        if request.limits != LaunchLimits():
            raise UserError("--max-hours, --max-cost and --down are for runs elsewhere (--on)")
        # Unbuffered, so that whoever follows the log sees each line when it is written.
        python = (sys.executable, "-u", "-m", "distml.driver")
        return LaunchPlan(
            launcher="local",
            request=request,
            command=(*python, *driver_arguments("local", request, "--take-output")),
            owns_terminal=False,
        )

    def submit(self, plan: LaunchPlan) -> JobHandle:
        """Start the driver; what it has to say before the run exists is kept for `last_words`."""
        # A file without a name: it needs no reader, so the driver never waits for one.
        words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the handle
        child = subprocess.Popen(
            plan.command,
            stdin=subprocess.DEVNULL,
            # A detached driver must not keep our reader's pipe open.
            stdout=subprocess.DEVNULL if plan.request.detach else None,
            stderr=words,
            start_new_session=True,
        )
        return ProcessHandle(plan.request.storage, plan.request.run_id, child=child, words=words)

    def attach(self, storage: str, run_id: str) -> JobHandle:
        """See `Launcher`."""
        return ProcessHandle(storage, run_id)

    def jobs(self) -> list[PlacedJob]:
        """See `Launcher`."""
        raise UserError("local keeps no list of its own; distml list shows the runs of a storage")
