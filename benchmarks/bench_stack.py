"""A stack of five unequal learners with 5 folds: distml beside scikit-learn's StackingClassifier.

scikit-learn runs two phases, and all folds of a learner one after another; distml one flat graph,
longest first. How much that gives depends on the mix, so there are three:

    network  a small network takes nine tenths of the time; it holds Python's lock while it learns
    slow     a gradient boosting does, which lets go of the lock
    even     the three slowest learners take about the same

scikit-learn runs the folds of one learner as threads, so the lock makes them wait for each other.

`of_limit` is the wall time over its lower bound: the seconds of all fits, over the cores.
"""

import hashlib
from argparse import Namespace
from typing import Any

from measure import Figures, compare, median, seconds, table, write
from sklearn import ensemble as sklearn_ensemble
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from distml import ensemble as distml_ensemble
from distml import session
from distml.runs.events import use_events

CORES = 2
MIXES = {
    "network": (4, 8, MLPClassifier((32,), max_iter=120, n_iter_no_change=120, random_state=0)),
    "slow": (4, 8, GradientBoostingClassifier(n_estimators=85, max_features=0.3, random_state=0)),
    "even": (
        25,
        100,
        GradientBoostingClassifier(n_estimators=35, max_features=0.3, random_state=0),
    ),
}
"""Trees of the random forest, of the extra trees, and the fifth learner."""


def stack(module: Any, mix: str) -> Any:
    """The same stack of `distml.ensemble` or of `sklearn.ensemble`."""
    forest, extra, fifth = MIXES[mix]
    members = [
        ("logistic", LogisticRegression(max_iter=500)),
        ("histogram", HistGradientBoostingClassifier(max_iter=50, random_state=0)),
        ("forest", RandomForestClassifier(forest, random_state=0)),
        ("extra", ExtraTreesClassifier(extra, random_state=0)),
        ("fifth", fifth),
    ]
    return module.StackingClassifier(
        members, final_estimator=LogisticRegression(), cv=5, n_jobs=CORES
    )


def measure(contender: str, arguments: Namespace) -> Figures:
    """Fit the stack once."""
    X, y = make_classification(arguments.rows, 40, n_informative=20, n_redundant=5, random_state=0)
    figures: dict[str, float] = {}
    if contender == "sklearn":
        model = stack(sklearn_ensemble, arguments.mix)
        with seconds(figures):
            model.fit(X, y)
    else:
        model = stack(distml_ensemble, arguments.mix)
        with seconds(figures, "connect"):
            session.connect(CORES)
        clock = FitClock()
        with use_events(clock), seconds(figures):
            model.fit(X, y)
        figures["of_limit"] = figures["seconds"] / (clock.cpu_seconds / CORES)
        session.disconnect()
    predictions = model.predict_proba(X[:5000])
    # 52 bits of the digest: a whole number that survives JSON, equal only for equal predictions.
    figures["digest"] = int(hashlib.sha256(predictions.tobytes()).hexdigest()[:13], 16)
    return figures


class FitClock:
    """Adds up what the fits took: seconds by CPUs."""

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self._cpus: dict[str, int] = {}

    def __call__(self, kind: str, **fields: Any) -> None:
        """Take an event of the fit."""
        if kind == "unit_started":
            self._cpus[fields["unit"]] = fields.get("cpus", 1)
        elif kind == "unit_done":
            self.cpu_seconds += fields["seconds"] * self._cpus[fields["unit"]]


def main() -> None:
    """Print the ratios and write them."""
    results, arguments = compare(
        ("sklearn", "distml"), measure, options={"mix": "network", "rows": 60_000}
    )
    peer, ours = (median(results, name, "seconds") for name in ("sklearn", "distml"))
    digests = {run["digest"] for runs in results.values() for run in runs}
    ratios = {
        "wall_of_sklearn": ours / peer,
        "wall_of_limit": median(results, "distml", "of_limit"),
        "predictions_equal": float(len(digests) == 1),
    }
    print(f"stack, mix {arguments.mix}, {arguments.rows} x 40, {CORES} cores")
    rows = [("sklearn n_jobs=2", peer, 1.0), ("distml", ours, ours / peer)]
    print(table(("", "seconds", "ratio"), rows))
    print(f"of the limit (fit seconds / cores): {ratios['wall_of_limit']:.3f}")
    print(f"predictions equal: {'yes' if ratios['predictions_equal'] else 'NO'}")
    write(f"stack_{arguments.mix}", ratios, results, **vars(arguments))


if __name__ == "__main__":
    main()
