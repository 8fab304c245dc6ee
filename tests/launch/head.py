"""A Ray that is there: a head of our own, with a dashboard, as a cluster's users meet it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

TOKEN = "distml-test-token-" + "0" * 24


class running_head:  # noqa: N801 - reads as what it is, in `with`
    """A head in a process of its own, ended with all it started."""

    def __init__(self, *, num_cpus: int = 4) -> None:
        # Short, because Ray puts sockets under it, whose names may have 107 characters.
        self.folder = tempfile.mkdtemp(prefix="dmh")
        self.num_cpus = num_cpus

    def __enter__(self) -> str:
        token = Path(self.folder, "token")
        token.write_text(TOKEN)
        ports = _free_ports(5)
        bin_folder = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
        }
        self.environment.pop("RAY_ADDRESS", None)
        command = [f"{bin_folder}/ray", "start", "--head", "--block"]
        command += ["--node-ip-address", "127.0.0.1", "--dashboard-host", "127.0.0.1"]
        names: tuple[str, ...] = ("port", "dashboard-port", "dashboard-agent-listen-port")
        names += ("ray-client-server-port", "metrics-export-port")
        for name, port in zip(names, ports, strict=True):
            command += [f"--{name}", str(port)]
        # Workers take what the system gives them: two heads would deal from the same range.
        command += ["--min-worker-port", "0", "--max-worker-port", "0"]
        command += ["--temp-dir", self.folder, "--num-cpus", str(self.num_cpus)]
        self.log = Path(self.folder, "head.log").open("wb")
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True
        )
        self.address = f"http://127.0.0.1:{ports[1]}"
        self._wait()
        return self.address

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End everything at once, as a machine does that loses its power."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        for member in (psutil.Process(self.process.pid), *family):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                request = urllib.request.Request(f"{self.address}/api/v0/nodes")
                request.add_header("Authorization", f"Bearer {TOKEN}")
                with urllib.request.urlopen(request, timeout=2) as reply:
                    if json.loads(reply.read())["data"]["result"]["total"]:
                        return
            except (OSError, ValueError, KeyError, urllib.error.URLError):
                pass
            time.sleep(0.2)
        raise RuntimeError(f"the head did not start: {Path(self.log.name).read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Ports below those that the system gives out by itself: nobody takes them meanwhile."""
    found = []
    # Tests of two processes, whose numbers are neighbours, start heads at the same moment.
    for port in range(20000 + os.getpid() * 37 % 11000, 32000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")
