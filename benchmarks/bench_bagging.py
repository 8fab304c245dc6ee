"""Bagging of 40 trees over 400,000 x 40: wall time, and memory that the fit adds.

Beside distml: scikit-learn with joblib's own processes (loky), and with joblib's Ray backend. Ray
runs before the fit begins; what it holds by itself is shown as `ray idle`. Time and memory come
from fits of their own: to watch the memory of a tree of processes takes CPU from them.
"""

import hashlib
from argparse import Namespace
from typing import Any

import joblib
from measure import Figures, MemoryWatch, compare, median, seconds, table, tree_bytes, write
from sklearn import ensemble as sklearn_ensemble
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier

from distml import ensemble as distml_ensemble
from distml import session

CORES = 2


def bagging(module: Any, trees: int) -> Any:
    """The same bagging of `distml.ensemble` or of `sklearn.ensemble`."""
    tree = DecisionTreeClassifier(max_depth=10, max_features="sqrt")
    return module.BaggingClassifier(tree, n_estimators=trees, n_jobs=CORES, random_state=0)


def measure(contender: str, arguments: Namespace) -> Figures:
    """Fit the bagging once, against the clock or watching memory."""
    contender, _, what = contender.partition(" ")
    X, y = make_classification(arguments.rows, 40, n_informative=20, n_redundant=5, random_state=0)
    figures: dict[str, float] = {}
    model = bagging(distml_ensemble if contender == "distml" else sklearn_ensemble, arguments.trees)
    if contender != "loky":
        before = tree_bytes()
        with seconds(figures, "connect"):
            session.connect(CORES)
        figures["ray_idle_mb"] = (tree_bytes() - before) / 1e6
    if contender == "joblib-ray":
        from ray.util.joblib import register_ray

        register_ray()
    backend = "ray" if contender == "joblib-ray" else "loky"
    with joblib.parallel_config(backend, n_jobs=CORES):
        if what == "memory":
            with MemoryWatch() as memory:
                model.fit(X, y)
            figures["added_mb"] = memory.added_mb
        else:
            with seconds(figures):
                model.fit(X, y)
    predictions = model.predict_proba(X[:5000])
    figures["digest"] = int(hashlib.sha256(predictions.tobytes()).hexdigest()[:13], 16)
    session.disconnect()
    return figures


def main() -> None:
    """Print the ratios and write them."""
    names = ("loky", "distml", "joblib-ray")
    contenders = [f"{name}{what}" for what in ("", " memory") for name in names]
    results, arguments = compare(contenders, measure, options={"rows": 400_000, "trees": 40})
    wall = {name: median(results, name, "seconds") for name in names}
    memory = {name: median(results, f"{name} memory", "added_mb") for name in names}
    digests = {run["digest"] for runs in results.values() for run in runs}
    ratios = {
        "wall_of_loky": wall["distml"] / wall["loky"],
        "memory_of_loky": memory["distml"] / memory["loky"],
        "wall_of_joblib_ray": wall["distml"] / wall["joblib-ray"],
        "memory_of_joblib_ray": memory["distml"] / memory["joblib-ray"],
        "predictions_equal": float(len(digests) == 1),
    }
    print(f"bagging of {arguments.trees} trees, {arguments.rows} x 40, {CORES} cores")
    rows = [
        (name, wall[name], wall[name] / wall["loky"], memory[name], memory[name] / memory["loky"])
        for name in names
    ]
    print(table(("", "seconds", "ratio", "added MB", "ratio"), rows))
    print(f"ray idle: {median(results, 'distml', 'ray_idle_mb'):.0f} MB")
    print(f"predictions equal: {'yes' if ratios['predictions_equal'] else 'NO'}")
    write("bagging", ratios, results, **vars(arguments))


if __name__ == "__main__":
    main()
