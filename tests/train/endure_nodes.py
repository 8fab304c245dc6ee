"""The fit of `endure.py` over nodes that go and come: `endure_nodes.py FOLDER lose|shrink TEMP`.

A cluster of a head without CPUs and nodes of one CPU each, on this machine.
"""

import os
import runpy
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


def fit(*arguments):
    sys.argv = ["endure.py", str(folder), *arguments]
    runpy.run_path(str(Path(__file__).with_name("endure.py")), run_name="__main__")


cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(3 if mode == "lose" else 2)]
os.environ["RAY_ADDRESS"] = cluster.address
ray.init(address=cluster.address, log_to_driver=False)
training = threading.Thread(target=fit, args=("2",) if mode == "lose" else ("1", "2"))
training.start()
until((folder / "started").exists)
cluster.remove_node(next(filter(works, nodes)), allow_graceful=False)
if mode == "shrink":
    until(lambda: counts()[-1:] == ["1"])
    (folder / "started").unlink()
    until((folder / "started").exists)
    cluster.add_node(num_cpus=1)
training.join()
ray.shutdown()
cluster.shutdown()
