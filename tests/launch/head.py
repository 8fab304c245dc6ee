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
    """A head in a process of its own, ended with all it started.

    Args:
        num_cpus: Of the head.
        grows_to: So many workers of one CPU its autoscaler may start, processes of this machine.
    """

    def __init__(self, *, num_cpus: int = 4, grows_to: int = 0) -> None:
        # Short, because Ray puts sockets under it, whose names may have 107 characters.
        self.folder = tempfile.mkdtemp(prefix="dmh")
        self.num_cpus, self.grows_to = num_cpus, grows_to

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
        if self.grows_to:
            config = _autoscaling(self.grows_to, f"127.0.0.1:{ports[0]}")
            Path(self.folder, "autoscaling.json").write_text(json.dumps(config))
            command += ["--autoscaling-config", f"{self.folder}/autoscaling.json"]
            self.environment |= {
                "RAY_FAKE_CLUSTER": "1",
                "PYTHONPATH": str(Path(__file__).parent),
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            }
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
        # Of nodes that the autoscaler has ended, Ray lets the log monitors live on.
        for left in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if f"--session-dir={self.folder}/" in " ".join(left.cmdline()):
                    left.kill()
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


_HEAD_ID = "f" * 51 + "00000"
_WORKER = {"CPU": 1, "memory": 2**30}


def _autoscaling(most: int, gcs_address: str) -> dict[str, object]:
    """A cluster file whose machines are processes of this one, as Ray tests its autoscaler."""
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    worker = {"resources": _WORKER, "node_config": {}, "min_workers": 0, "max_workers": most}
    commands = ("initialization", "setup", "head_setup", "worker_setup")
    return {
        "cluster_name": "grows",
        "max_workers": most,
        "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "external",
            "module": "growing.GrowingProvider",
            "launch_multiple": True,
            "head_node_id": _HEAD_ID,
            "gcs_address": gcs_address,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {"ray.head.default": head, "worker": worker},
        "head_node_type": "ray.head.default",
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{f"{name}_commands": [] for name in (*commands, "head_start_ray", "worker_start_ray")},
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        "file_mounts_sync_continuously": False,
    }


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
