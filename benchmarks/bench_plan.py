"""How far a plan is from the run it precedes: ten jobs, planned from samples, then run in full.

`time` and `memory` are predicted over actual; what counts is how far they are from 1, up or down.
The actual figures are the record's own: seconds in the driver, and the most memory (PSS) that the
driver and Ray's workers had at one time.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import numpy as np
from measure import Figures, compare, median, table, write

HERE = Path(__file__).parent
KINDS = (
    "logistic", "forest", "extra_trees", "boosting", "hist_boosting",
    "xgboost", "network", "voting", "bagging", "stack",
)  # fmt: skip
AIMS = {"time": 1.5, "memory": 1.3}
"""Factors we allow a prediction to be off."""


def measure(contender: str, arguments: Namespace) -> Figures:
    """Plan one job and run it, in a storage of its own."""
    with tempfile.TemporaryDirectory() as folder:
        data, storage = Path(folder, "rows.parquet"), Path(folder, "runs")
        write_data(data, arguments.rows)
        job = [str(HERE / "planned_job.py"), "--kind", contender, "--data", str(data)]
        for verb in ("plan", "run"):
            command = [sys.executable, "-m", "distml", verb, *job, "--storage", str(storage)]
            subprocess.run(command, check=True, capture_output=True)
        details = json.loads(next(storage.glob("*/record.json")).read_text())["details"]
    predicted, actual = details["predicted"], details["actual"]
    seconds, peak = predicted["seconds"], predicted["peak_bytes"]
    return {
        "predicted_s": seconds["value"],
        "actual_s": actual["seconds"],
        "in_range": float(seconds["low"] <= actual["seconds"] <= seconds["high"]),
        "predicted_mb": peak["value"] / 1e6,
        "actual_mb": actual["peak_bytes"] / 1e6,
    }


def write_data(path: Path, num_rows: int) -> None:
    """Rows of 20 numbers and a class that three of them decide, with noise."""
    import pandas as pd

    random = np.random.default_rng(0)
    X = random.normal(size=(num_rows, 20))
    risk = X[:, 0] + X[:, 1] * X[:, 2] + random.normal(size=num_rows)
    frame = pd.DataFrame(X, columns=[f"x{number}" for number in range(20)])
    frame.assign(y=(risk > 0).astype(int)).to_parquet(path)


def factor(predicted: float, actual: float) -> float:
    """How far off, up or down: at least 1."""
    return math.exp(abs(math.log(predicted / actual)))


def main() -> None:
    """Print each job's prediction beside what it took, and write it."""
    results, arguments = compare(KINDS, measure, rounds=1, options={"rows": 60_000})
    rows, ratios = [], {}
    for kind in KINDS:
        told = [median(results, kind, f"predicted_{unit}") for unit in ("s", "mb")]
        took = [median(results, kind, f"actual_{unit}") for unit in ("s", "mb")]
        off = [factor(*pair) for pair in zip(told, took, strict=True)]
        ratios |= {f"{kind} {what}": told[i] / took[i] for i, what in enumerate(AIMS)}
        rows.append((kind, told[0], took[0], off[0], told[1], took[1], off[1]))
    print(table(("", "planned s", "took s", "off by", "planned MB", "took MB", "off by"), rows))
    for column, (what, aim) in zip((3, 6), AIMS.items(), strict=True):
        within = sum(row[column] <= aim for row in rows)
        middle = statistics.median(row[column] for row in rows)
        print(f"{what}: {within} of {len(rows)} within {aim}, median off by {middle:.2f}")
    write("plan", ratios, results, **vars(arguments))


if __name__ == "__main__":
    main()
