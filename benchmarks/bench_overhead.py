"""What distml adds to work that takes no time: imports, the command line, the launchers, Ray.

`unit` is the time per fit of a bagging of 300 dummies on a warm Ray: scheduling and nothing else.
`task` is the same number of empty Ray tasks, all submitted at once: what Ray itself takes.
"""

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from measure import Figures, compare, median, table, write

HERE = Path(__file__).parent
NUM_UNITS = 300
LIMITS = {"import": 0.05, "list": 0.5, "debug over bare": 0.5, "local over bare": 5.0, "unit": 0.02}
"""Seconds we allow ourselves."""


def measure(contender: str, _: Namespace) -> Figures:
    """Seconds of one contender."""
    if contender == "unit":
        return {"seconds": seconds_per_unit()}
    if contender == "task":
        return {"seconds": seconds_per_task()}
    if contender == "import":
        code = "import time; t = time.perf_counter(); import distml; print(time.perf_counter() - t)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return {"seconds": float(done.stdout)}
    with tempfile.TemporaryDirectory() as folder:
        return {"seconds": seconds_of_command(contender, Path(folder))}


def seconds_of_command(contender: str, folder: Path) -> float:
    """Wall time of a process: the bare script, a run of the same job, or the list of 5 runs."""
    data = folder / "tiny.parquet"
    write_data(data)
    distml = [sys.executable, "-m", "distml"]
    storage = ["--storage", str(folder / "runs")]
    job = [*distml, "run", str(HERE / "tiny_job.py"), *storage, "--data", str(data), "--on"]
    commands = {
        "bare": [sys.executable, str(HERE / "tiny_job.py"), str(data)],
        "debug": [*job, "debug"],
        "local": [*job, "local"],
        "list": [*distml, "list", *storage],
    }
    if contender == "list":
        for _ in range(5):
            wall_s([*job, "debug"])
    return wall_s(commands[contender])


def wall_s(command: list[str]) -> float:
    """Wall time of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def write_data(path: Path) -> None:
    """500 rows of 5 numbers and a class."""
    import pandas as pd

    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(500, 5)), columns=list("abcde"))
    frame["y"] = (frame["a"] > 0).astype(int)
    frame.to_parquet(path)


def seconds_per_unit() -> float:
    """Time per member of a bagging that has nothing to learn."""
    from sklearn.dummy import DummyClassifier

    from distml import BaggingClassifier, session

    session.connect(2)
    X, y = np.zeros((100, 2)), np.arange(100) % 2
    for num_members in (4, NUM_UNITS):  # the first fit starts the workers
        model = BaggingClassifier(DummyClassifier(), n_estimators=num_members, random_state=0)
        started = time.perf_counter()
        model.fit(X, y)
        taken = time.perf_counter() - started
    session.disconnect()
    return taken / NUM_UNITS


def nothing() -> None:
    """The empty task."""


def seconds_per_task() -> float:
    """Time per empty Ray task."""
    from distml import session

    session.connect(2)
    import ray

    task = ray.remote(nothing)
    for num_tasks in (4, NUM_UNITS):
        started = time.perf_counter()
        ray.get([task.remote() for _ in range(num_tasks)])
        taken = time.perf_counter() - started
    session.disconnect()
    return taken / NUM_UNITS


def main() -> None:
    """Print what is added beside what is allowed, and write it."""
    names = ("import", "list", "bare", "debug", "local", "unit", "task")
    results, arguments = compare(names, measure, rounds=5)
    taken = {name: median(results, name, "seconds") for name in names}
    added = {
        "import": taken["import"],
        "list": taken["list"],
        "debug over bare": taken["debug"] - taken["bare"],
        "local over bare": taken["local"] - taken["bare"],
        "unit": taken["unit"],
    }
    ratios = {name: value / LIMITS[name] for name, value in added.items()}
    rows = [(name, 1000 * added[name], 1000 * LIMITS[name], ratios[name]) for name in added]
    print(table(("", "ms", "allowed ms", "ratio"), rows))
    print(f"an empty Ray task: {1000 * taken['task']:.2f} ms; bare script: {taken['bare']:.2f} s")
    write("overhead", ratios, results, **vars(arguments))


if __name__ == "__main__":
    main()
