"""Trainings of networks cut short in a sample, and what the epochs that were spared would take.

One decision: an epoch costs what the one before cost, so a plan trains for a few and counts the
rest. What a network does after its last epoch does not depend on how many there were. A training
that may end early is counted to its last epoch, and what may not come of it is told apart.
"""

import time
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator, clone

__all__ = ["Spared", "cut_short"]

_FEW = 3
"""Epochs that are trained: the first is slower, by what is done once."""


def cut_short(estimator: BaseEstimator) -> tuple[BaseEstimator, dict[int, int]]:
    """Let the networks in an estimator train for a few epochs only.

    Args:
        estimator: Unfitted.

    Returns:
        A clone, and the epochs of its networks → those they would have had. Networks of as many
        epochs stay so, which tells them apart by what their events say.
    """
    parameters = estimator.get_params(deep=True)
    owners = {name: parameters.get(name.rpartition("__")[0], estimator) for name in parameters}
    epochs = {
        name: value
        for name, value in parameters.items()
        if name.split("__")[-1] == "epochs"
        and isinstance(value, int)
        and value > _FEW
        and hasattr(type(owners[name]), "architecture_")
    }
    full = sorted(set(epochs.values()))
    fewer = {value: min(value, _FEW + place) for place, value in enumerate(full)}
    short = clone(estimator).set_params(**{name: fewer[value] for name, value in epochs.items()})
    return short, {fewer[value]: value for value in full}


class Spared:
    """Listens to trainings that were cut short, and counts what was spared.

    Args:
        full: Epochs as they are → as they would be.
    """

    def __init__(self, full: Mapping[int, int]) -> None:
        self._full = full
        self._more, self._ends = 0, list[float]()
        self._seconds, self._may_stop = 0.0, False
        self.open_s = 0.0
        """Seconds spared in all by trainings that may end early."""

    def take(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Hear an event."""
        if kind == "training_started":
            epochs = fields["epochs"]
            self._more, self._ends = self._full.get(epochs, epochs) - epochs, []
            self._may_stop = bool(fields.get("may_stop"))
        elif kind == "epoch":
            self._ends.append(time.perf_counter())
        elif kind == "training_done" and len(self._ends) > 1:
            each = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
            self._seconds += self._more * each
            self.open_s += self._more * each if self._may_stop else 0.0
            self._ends = []

    def pop(self) -> float:
        """Seconds that were spared since this was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
