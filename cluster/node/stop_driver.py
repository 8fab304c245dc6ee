"""Ask the drivers on this machine to stop and wait for them: what a pod does before it goes.

One decision: a single file of the standard library, since it runs on nodes before any job has
brought distml. It waits somewhat less long than Kubernetes does, and ends well whatever it finds:
a pod must not be kept by it.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

__all__ = ["keepers", "main"]

KEEPER = b"distml.launch.keeper"
"""What starts and ends a driver; it hands a signal on."""
PATIENCE_S = 50.0
"""The pod's `terminationGracePeriodSeconds`, less some for Ray itself."""


def keepers() -> list[int]:
    """Process numbers of the keepers on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if KEEPER in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def main() -> None:
    """Ask each once, and wait until none is left."""
    for pid in keepers():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + PATIENCE_S
    while keepers() and time.monotonic() < end:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
