"""How long a fit will take and how many threads it can use: what the schedule decides by.

Only the order and the width of fits depend on it, never a result. Estimates begin as coarse ratios
between kinds of learners and give way to what this run has measured: seconds per row of the same
kind of unit, and for members not seen yet the ratio of measured to expected over those that were.
"""

import math
from statistics import median
from typing import Any

from sklearn.base import BaseEstimator

from distml.ensemble.members import Unit
from distml.spread import networks_in

__all__ = ["Costs", "cpus_of_workers", "gpus_of_fit", "max_cpus", "max_threads"]

_RELATIVE = (
    ("HistGradientBoosting", 0.4),
    ("GradientBoosting", 6.0),
    ("XGB", 0.4),
    ("LGBM", 0.4),
    ("RandomForest", 1.0),
    ("ExtraTrees", 0.6),
    ("AdaBoost", 4.0),
    ("Bagging", 4.0),
    ("MLP", 3.0),
    ("Neural", 3.0),
    ("SVC", 300.0),
    ("SVR", 300.0),
    ("Logistic", 2.0),
)
"""Cost of one round, tree or iteration relative to a tree of a forest, by a part of its name."""


class Costs:
    """Expected seconds of units, better with every unit that is done."""

    def __init__(self) -> None:
        self._seconds_per_row: dict[str, float] = {}
        self._ratios: dict[str, float] = {}
        self._learners: set[str] = set()
        self._correction = 1.0

    def knows(self, unit: Unit) -> bool:
        """Whether a unit with a learner of the same class was measured."""
        return _learner(unit.estimator) in self._learners

    def observe(self, kind: str, unit: Unit, seconds: float, prior: float) -> None:
        """Learn that a unit of this kind took `seconds` and had that `prior`."""
        self._seconds_per_row[kind] = seconds / max(_rows(unit), 1)
        self._ratios[kind] = seconds / prior
        self._learners.add(_learner(unit.estimator))
        self._correction = median(self._ratios.values())

    def expect(self, kind: str, unit: Unit, prior: float) -> float:
        """Expected seconds; before anything was measured, of use only beside one another."""
        if kind in self._seconds_per_row:
            return self._seconds_per_row[kind] * _rows(unit)
        return prior * self._correction

    @staticmethod
    def prior(unit: Unit) -> float:
        """What is expected of a unit by its kind: cost of a round, times rounds, times rows."""
        params = unit.estimator.get_params(deep=True)
        name = _learner(unit.estimator)
        cost = next((cost for part, cost in _RELATIVE if part in name), 0.5)
        rounds = [
            value
            for key, value in params.items()
            if key.split("__")[-1] in {"n_estimators", "max_iter", "epochs"}
            and isinstance(value, int)
        ]
        return 1e-6 * cost * max([1, *rounds]) * max(_rows(unit), 1)


def max_threads(estimator: BaseEstimator) -> float:
    """Threads that can speed up the fit without changing the model.

    An estimator with an `n_jobs` takes what that allows (`None` and -1: any number); histogram
    gradient boosting any number; others one.
    """
    jobs = [
        value
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "n_jobs"
    ]
    if any(value is None or value < 0 for value in jobs) or "HistGradient" in _learner(estimator):
        return math.inf
    return max(jobs, default=1)


def cpus_of_workers(estimator: BaseEstimator) -> int:
    """CPUs that the workers of a fit need at least, if it has several of its own; 0 if not."""
    found = networks_in(estimator.get_params())
    return max((num * cpus for num, cpus, _, several in found if several), default=0)


def gpus_of_fit(estimator: BaseEstimator) -> float:
    """GPUs that a fit needs at least, its own or those of its workers; a part of one is one."""
    found = networks_in(estimator.get_params())
    return float(max((num * gpus for num, _, gpus, _ in found), default=0))


def max_cpus(ensemble: Any, total: int) -> float:
    """CPUs that `n_jobs` allows: all of them where it is `None`, joblib's meaning otherwise."""
    n_jobs = ensemble.n_jobs
    if n_jobs is None:
        return math.inf
    return max(1, total + 1 + n_jobs) if n_jobs < 0 else max(1, n_jobs)


def _learner(estimator: Any) -> str:
    """Class name of the learner; of the last step of a pipeline."""
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def _rows(unit: Unit) -> int:
    fold = unit.out_of_fold
    return unit.view.num_rows if fold is None else len(fold.train)
