"""What a remote place starts: it keeps the driver alive until the run has ended.

One decision: it is a small process of its own that needs neither Ray nor the job. A driver that was
killed (out of memory, by the system) is started again and resumes the run from its units; what the
driver itself decided, a failure or a stop, is final. A limit in hours is kept here too, because
whoever submitted may be gone.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

__all__ = ["MAX_RESTARTS", "keep", "main", "resuming"]

MAX_RESTARTS = 3
"""How often a killed driver is started again."""

_OVER_TIME = 124
"""Exit code of a run that was stopped at its limit, as `timeout` has it."""
_GRACE_S = 40.0
_RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def main(argv: Sequence[str] | None = None) -> int:
    """Start the driver whose arguments follow `--`, and keep it; its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    own, driver = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    parser = argparse.ArgumentParser(prog="python -m distml.launch.keeper", allow_abbrev=False)
    parser.add_argument("--folder", default=".", help="the driver's working folder")
    parser.add_argument("--max-hours", type=float, help="stop the run then")
    options = parser.parse_args(own)
    # Modules of the tree's root stay importable in the folder.
    paths = (str(Path.cwd()), os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.chdir(options.folder)
    limit_s = None if options.max_hours is None else options.max_hours * 3600
    return keep([sys.executable, "-u", "-m", "distml.driver"], driver, limit_s=limit_s)


def keep(program: Sequence[str], arguments: Sequence[str], *, limit_s: float | None = None) -> int:
    """Run a driver to its own end, starting it again if it is killed.

    Args:
        program: What starts a driver.
        arguments: Its command line.
        limit_s: Seconds after which it is stopped.

    Returns:
        Its exit code; 128 and the signal's number if it was killed once too often.
    """
    end = None if limit_s is None else time.monotonic() + limit_s
    command = list(arguments)
    for restart in range(MAX_RESTARTS + 1):
        child = _Child([*program, *command])
        code = child.wait(end)
        if code >= 0 or child.was_stopped or restart == MAX_RESTARTS:
            return code if code >= 0 else 128 - code
        name = signal.Signals(-code).name
        _say(f"the driver was killed by {name}; starting it again ({restart + 1}/{MAX_RESTARTS})")
        command = resuming(command)
    raise AssertionError("the last driver returns")


def resuming(arguments: Sequence[str]) -> list[str]:
    """The command line of a driver that goes on where the one of these arguments was.

    One that has not come as far as writing its run down is begun anew by the same words: the driver
    takes `--begun` for "resume it if it is there".
    """
    return [*arguments] if "--resume" in arguments else ["--begun", *arguments]


class _Child:
    """The driver's process, leader of its own session; signals that come here go to it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.was_stopped = False
        self._process = subprocess.Popen(command, start_new_session=True)
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._pass_on)

    def wait(self, end: float | None) -> int:
        """Its exit code, negative for a signal; stopped at `end` of the monotonic clock."""
        try:
            return self._process.wait(None if end is None else max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.was_stopped = True
            _say("distml: error: the limit of --max-hours is reached; the run is stopped")
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return _OVER_TIME

    def _pass_on(self, signum: int, frame: FrameType | None) -> None:
        self.was_stopped = True
        # Ray signals all processes of a job: a second interrupt would cut the driver's end short.
        if _RAY_JOB not in os.environ:
            self._process.send_signal(signal.SIGINT)


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
