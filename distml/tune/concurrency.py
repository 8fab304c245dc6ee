"""How many trials take turns at one time, where the user leaves it to the search.

The one decision: the number is taken from the CPUs that are there when a search first begins, and
kept with its units. What is decided depends on it, so a search that goes on elsewhere keeps it.
"""

import math
from typing import Any

from sklearn.base import BaseEstimator

from distml import session
from distml.ensemble.cost import cpus_of_workers, gpus_of_fit, max_cpus
from distml.errors import UserError
from distml.rehearsal import is_rehearsal
from distml.runs.units import active_units, unit_key

__all__ = ["concurrent_trials", "num_cpus", "num_gpus"]


def num_cpus(search: Any) -> int:
    """CPUs that the fits of a search may use at one time."""
    if session.is_inline():
        return 1
    session.connect()
    total = int(session.resources().get("CPU", 1))
    total = max(1, min(total, session.limits().num_cpus or total))
    return int(min(total, max_cpus(search, total)))


def num_gpus() -> float:
    """GPUs that the fits of a search may use at one time; in this process whatever it sees."""
    if session.is_inline() or is_rehearsal():
        return math.inf
    session.connect()
    return float(session.resources().get("GPU", 0))


def concurrent_trials(search: Any, units_of_a_turn: int) -> int:
    """Trials that take turns: enough that CPUs have work while a slow one is waited for.

    Args:
        search: The search, whose estimator's workers have room.
        units_of_a_turn: Fits that a turn consists of.
    """
    at_once = max(1, num_cpus(search) // max(1, cpus_of_workers(search.estimator)))
    if gpus := gpus_of_fit(search.estimator):
        at_once = max(1, int(min(at_once, num_gpus() / gpus)))
    if at_once == 1:
        return _kept(search, 1)
    return _kept(search, max(2, math.ceil(2 * at_once / units_of_a_turn)))


def _kept(search: BaseEstimator, wanted: int) -> int:
    """The number that this search had when it first began in this store."""
    store = active_units()
    if store is None:
        return wanted
    params = search.get_params(deep=False)
    try:
        key = unit_key(kind="concurrent trials", search=params)
    except UserError:
        # A searcher that cannot be told by its content has no seed that could be kept to either.
        return wanted
    store.put(key, wanted, {"unit": "concurrent trials"})
    return int(store.get(key))
