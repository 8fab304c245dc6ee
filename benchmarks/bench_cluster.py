"""What a cluster adds to a run: to each unit on one to three nodes, and to the run as a whole.

`--part scale`: a bagging of members that sleep, on clusters of one to three nodes (of this machine,
2 CPUs each); beside what the simulator says of them, from constants measured in the same sitting.
Then the simulated curve to 1,000 nodes.

`--part submit`: a tiny job on a cluster that is warm, from the submission to the driver's first
line, and all of it beside `--on local`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
from measure import Figures, Rounds, compare, median, table, write

HERE = Path(__file__).parent
CPUS, UNITS, UNIT_S = 2, 60, 0.4
"""Of a node; units of a fit and what each sleeps."""
NODES = ("1 node", "2 nodes", "3 nodes")
PLACES = ("local", "cluster")
LIMITS = {"first line": 1.5, "cluster over local": 5.0}
"""Seconds we allow ourselves."""
CURVE = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def measure(contender: str, _: Namespace) -> Figures:
    """Figures of one contender."""
    return on_nodes(int(contender[0])) if contender in NODES else in_place(contender)


def on_nodes(num_nodes: int) -> Figures:
    """A fit of members that sleep, on so many nodes beside a head that does no work."""
    os.environ |= {"PYTHONPATH": str(HERE), "RAY_AUTH_MODE": "disabled"}
    with cluster(num_nodes):
        from distml import session

        session.connect()
        cold = fit_s(num_nodes * CPUS, 0.06)
        figures = {"cold_s": cold, "warm_s": fit_s(num_nodes * CPUS, 0.06)}
        busy, seconds = time.process_time(), fit_s(UNITS, UNIT_S)
        figures |= {"seconds": seconds, "driver_s": (time.process_time() - busy) / UNITS}
        figures["unit_s"] = (seconds * num_nodes * CPUS - UNITS * UNIT_S) / UNITS
        figures["bytes_per_s"] = bytes_per_s()
        session.disconnect()
    return figures


@contextmanager
def cluster(num_nodes: int) -> Iterator[None]:
    """Nodes of this machine, whose CPUs are numbers only."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        for _ in range(num_nodes):
            nodes.add_node(num_cpus=CPUS)
        nodes.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = nodes.address
        yield
    finally:
        nodes.shutdown()


def fit_s(num_units: int, seconds: float) -> float:
    """Wall time of a bagging of so many members that sleep so long."""
    from sleeper import Sleeper

    from distml import BaggingClassifier

    X, y = np.zeros((1000, 20)), np.arange(1000) % 2
    model = BaggingClassifier(Sleeper(seconds), n_estimators=num_units, random_state=0)
    started = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - started


def bytes_per_s() -> float:
    """How fast one node takes what another holds; on one machine no network is in between."""
    import ray

    size = 200_000_000
    array = ray.put(np.zeros(size // 8))
    task = ray.remote(taken_s)
    ray.get(task.remote([]))
    seconds = float(ray.get(task.remote([array])))
    return size / seconds


def taken_s(references: list[object]) -> float:
    """Seconds until what is referred to is here."""
    import ray

    started = time.perf_counter()
    for reference in references:
        ray.get(reference)
    return time.perf_counter() - started


def in_place(place: str) -> Figures:
    """A tiny job in a place, in a folder of its own; the cluster has run one before."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(HERE / "tiny_job.py", folder)
        write_data(folder / "tiny.parquet")
        if place == "local":
            return run_s(folder, "local", "run")
        sys.path.insert(0, str(HERE.parent))
        # A head as its users meet it, with a dashboard and a token.
        from tests.launch.head import TOKEN, running_head

        os.environ["RAY_AUTH_TOKEN"] = TOKEN
        with running_head(num_cpus=os.cpu_count() or 1) as address:
            run_s(folder, f"cluster:{address}", "first")
            return run_s(folder, f"cluster:{address}", "second")


def run_s(folder: Path, place: str, run_id: str) -> dict[str, float]:
    """Wall time of a run, and how much of it passed before the driver began."""
    command = [sys.executable, "-m", "distml", "run", "tiny_job.py", "--on", place]
    command += ["--storage", str(folder / "runs"), "--run-id", run_id]
    started = time.time()
    data = ["--data", str(folder / "tiny.parquet")]
    subprocess.run([*command, *data], check=True, capture_output=True, cwd=folder)
    ended = time.time()
    record = json.loads((folder / "runs" / run_id / "record.json").read_text())
    begun = record["attempts"][0]["started_at"]
    figures = {"seconds": ended - started, "until_driver_s": begun - started}
    note = folder / "runs" / "submitted" / f"{run_id}.json"
    if note.is_file():
        submitted = json.loads(note.read_text())["submitted_at"]
        log = (folder / "runs" / run_id / "log.txt").read_text()
        # As the standard library's logging writes it, of the machine's own time.
        first = datetime.strptime(log[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()
        figures |= {"first_line_s": first - submitted, "run_exists_s": begun - submitted}
    return figures


def write_data(path: Path) -> None:
    """500 rows of 5 numbers and a class."""
    import pandas as pd

    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(500, 5)), columns=list("abcde"))
    frame["y"] = (frame["a"] > 0).astype(int)
    frame.to_parquet(path)


def show_scale(results: Rounds, arguments: Namespace) -> None:
    """Nodes beside the simulator, and the curve."""
    from distml.launch.fitting.simulate import Constants, Load, Machine, simulate

    dispatch = float(np.median([median(results, name, "driver_s") for name in NODES]))
    constants = Constants(
        unit_s=max(0.0, median(results, NODES[0], "unit_s") - dispatch / CPUS),
        dispatch_s=dispatch,
        worker_start_s=max(
            median(results, name, "cold_s") - median(results, name, "warm_s") for name in NODES
        ),
        bytes_per_s=median(results, NODES[-1], "bytes_per_s"),
    )
    # Warm: as measured, with workers that have begun before.
    warm = Constants(unit_s=constants.unit_s, dispatch_s=dispatch)
    rows, ratios = [], {}
    for number, name in enumerate(NODES, 1):
        load = Load(name="unit", seconds=UNIT_S, count=UNITS)
        told = simulate([[load]], [Machine(cpus=CPUS)] * number, warm).seconds
        took = median(results, name, "seconds")
        ideal = UNITS * UNIT_S / (number * CPUS)
        ratios[f"{name} simulated over measured"] = told / took
        rows.append((name, took, told, told / took, ideal, 1000 * median(results, name, "unit_s")))
    print(table(("", "took s", "simulated s", "ratio", "ideal s", "ms a unit"), rows))
    print(
        f"constants: unit {1000 * constants.unit_s:.1f} ms, driver {1000 * dispatch:.2f} ms a unit,"
        f" a worker's start {constants.worker_start_s:.1f} s, data here "
        f"{constants.bytes_per_s / 1e6:.0f} MB/s"
    )
    curve = simulated_curve(constants)
    print(table(("nodes of 4 CPUs", "s", "of the ideal", "units at once"), curve))
    settings = vars(arguments) | {"constants": constants_of(constants), "curve": curve}
    write("cluster_scale", ratios, results, **settings)


def simulated_curve(constants: object) -> list[tuple[int, float, float, int]]:
    """10,000 units of 20 s and 1 GB of data over more and more nodes, machines there already."""
    from dataclasses import replace

    from distml.launch.fitting.simulate import Load, Machine, simulate
    from distml.launch.fitting.starts import CONSTANTS

    # Between machines data travel over a network: as plans count it.
    constants = replace(constants, bytes_per_s=CONSTANTS.bytes_per_s)  # type: ignore[type-var]
    rows = []
    for num in CURVE:
        machines = [Machine(cpus=0, is_head=True), *[Machine(cpus=4)] * num]
        load = Load(name="unit", seconds=20.0, count=10_000)
        told = simulate([[load]], machines, constants, shared_bytes=1e9)  # type: ignore[arg-type]
        ideal = 10_000 * 20.0 / (4 * num)
        rows.append((num, told.seconds, ideal / told.seconds, told.most_at_once))
    return rows


def constants_of(constants: object) -> dict[str, float]:
    """As JSON."""
    names = ("unit_s", "dispatch_s", "worker_start_s", "bytes_per_s")
    return {name: getattr(constants, name) for name in names}


def show_submit(results: Rounds, arguments: Namespace) -> None:
    """What a cluster adds, beside what we allow."""
    over = median(results, "cluster", "seconds") - median(results, "local", "seconds")
    taken = {
        "first line": median(results, "cluster", "first_line_s"),
        "cluster over local": over,
    }
    ratios = {name: value / LIMITS[name] for name, value in taken.items()}
    print(table(("", "s", "allowed s", "ratio"), [
        (name, taken[name], LIMITS[name], ratios[name]) for name in taken
    ]))  # fmt: skip
    for place in PLACES:
        until = median(results, place, "until_driver_s")
        print(f"{place}: {median(results, place, 'seconds'):.2f} s, run begun after {until:.2f} s")
    write("cluster_submit", ratios, results, **vars(arguments))


def main() -> None:
    """Measure the part asked for, print it and write it."""
    is_submit = any("submit" in argument for argument in sys.argv)
    contenders = PLACES if is_submit else NODES
    results, arguments = compare(contenders, measure, rounds=3, options={"part": "scale"})
    (show_submit if is_submit else show_scale)(results, arguments)


if __name__ == "__main__":
    main()
