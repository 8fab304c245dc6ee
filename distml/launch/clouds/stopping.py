"""Stop Ray and a cluster's jobs on machines, so that no process of theirs is left.

One decision: what belongs to a cluster is known by an environment variable of its processes, so
other clusters' on the same machine are left alone where Ray's own command lets them be.
"""

import contextlib
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from distml.launch.clouds.machines import local_state_files

__all__ = [
    "MARK",
    "dismiss_wardens",
    "kill_autoscaler",
    "say",
    "stop_command",
    "stop_here",
    "stop_own_workers",
]

MARK = "DISTML_CLUSTER"
"""Environment variable of a job's processes that names their cluster: so none is left behind."""

_KEY = "~/ray_bootstrap_key.pem"
_SSH = (
    "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=no",
    "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
)  # fmt: skip


def stop_command(cluster: str) -> str:
    """The shell commands that leave nothing of Ray or of a job on a machine."""
    # What the autoscaler has just sent here would start Ray anew. The second `ray stop` is for what
    # was deaf to the first.
    mark = shlex.quote(f"{MARK}={cluster}")
    files = " ".join(map(str, local_state_files({"cluster_name": cluster})))
    return (
        "pkill -9 -f '[r]ay start --address' > /dev/null 2>&1; "
        "ray stop --grace-period 5 > /dev/null 2>&1; ray stop --force > /dev/null 2>&1; "
        f"for e in /proc/[0-9]*/environ; do grep -qzxF {mark} $e 2> /dev/null && "
        f"kill -9 $(basename $(dirname $e)) 2> /dev/null; done; rm -f {files}"
    )


def kill_autoscaler(cluster: str) -> None:
    """Kill what starts workers, and what it has just sent to start Ray on them."""
    # As Ray names the folder of the connections to one cluster's machines.
    folder = hashlib.sha256(cluster.encode()).hexdigest()[:10]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace")
            starts = "monitor.py" in words and "--autoscaling-config" in words
            if starts or ("/ray_ssh_" in words and f"/{folder}/" in words):
                os.kill(int(path.parent.name), signal.SIGKILL)


def dismiss_wardens(folder: Path) -> None:
    """Kill what still watches a cluster that has ended, and what would start it again."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ")
            if b"distml.launch.clouds.warden watch" not in words:
                continue
            group = os.getpgid(int(path.name))
            # One that has ended it by itself goes as well, in a moment.
            if group != os.getpgrp() and (path / "cwd").readlink() == folder:
                os.killpg(group, signal.SIGKILL)


def stop_here(cluster: str) -> None:
    """Stop what runs on this machine."""
    command = ["bash", "-c", stop_command(cluster)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=False)


def stop_own_workers(config: Mapping[str, Any], cluster: str) -> None:
    """Stop what runs on each of one's own machines: Ray's autoscaler would let it run."""
    user = config["auth"]["ssh_user"]
    own = Path(_KEY).expanduser()
    key = ("-i", str(own)) if own.exists() else ()

    def stop(address: str) -> None:
        there = f"bash --login -i -c {shlex.quote(stop_command(cluster))}"
        done = subprocess.run(
            [*_SSH, *key, f"{user}@{address}", there],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 255:
            say(f"{address} is not reached: {done.stderr.strip()}")

    workers = config["provider"].get("worker_ips", ())
    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(stop, workers))


def say(words: str) -> None:
    """Write a line with the time into the log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {words}\n")
    sys.stderr.flush()
