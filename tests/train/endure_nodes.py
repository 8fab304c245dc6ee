"""The fit of `endure.py` over nodes that go and come: `endure_nodes.py FOLDER MODE TEMP`.

A cluster of a head without CPUs and nodes of one CPU each, on this machine. MODE: `lose` one of
three nodes without a word, `take` one with notice, or `shrink` to one of two and come back.
"""

import os
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

folder, mode = Path(sys.argv[1]), sys.argv[2]
os.environ["RAY_TMPDIR"] = sys.argv[3]
# A node that comes later has to be of one mind with the cluster.
os.environ["RAY_AUTH_MODE"] = "disabled"

import ray  # noqa: E402 - reads RAY_TMPDIR
from ray.cluster_utils import Cluster  # noqa: E402


def until(condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{condition} did not come true")
        time.sleep(0.1)


def counts():
    path = folder / "workers"
    return path.read_text().split() if path.exists() else []


def works(node):
    """Whether a worker of the training is a child of the node's raylet."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    children = (" ".join(child.cmdline()) for child in raylet.children(recursive=True))
    return any("RayTrainWorker" in title for title in children)


def take_away(node_id, notice_s=8):
    """What a cloud's notice comes to, and the end of the machine after it."""
    command = [
        *("ray", "drain-node", "--address", cluster.address, "--node-id", node_id),
        *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"),
        *("--deadline-remaining-seconds", str(notice_s)),
    ]
    subprocess.run([str(Path(sys.executable).parent / command[0]), *command[1:]], check=True)


def fit(*arguments):
    sys.argv = ["endure.py", str(folder), *arguments]
    runpy.run_path(str(Path(__file__).with_name("endure.py")), run_name="__main__")


cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2 if mode == "shrink" else 3)]
os.environ["RAY_ADDRESS"] = cluster.address
ray.init(address=cluster.address, log_to_driver=False)
training = threading.Thread(target=fit, args=("1", "2") if mode == "shrink" else ("2",))
training.start()
until((folder / "started").exists)
used = next(filter(works, nodes))
if mode == "take":
    take_away(used.node_id)
else:
    cluster.remove_node(used, allow_graceful=False)
if mode == "shrink":
    until(lambda: counts()[-1:] == ["1"])
    (folder / "started").unlink()
    until((folder / "started").exists)
    cluster.add_node(num_cpus=1)
training.join()
ray.shutdown()
cluster.shutdown()
