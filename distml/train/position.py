"""How far a training is, and the best it has been: what every checkpoint says of itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Best", "Position"]


@dataclass(kw_only=True, slots=True)
class Position:
    """How far a training is."""

    epoch: int = 0
    """The epoch under way, or the next."""
    batch: int = 0
    """Batches of it that are done."""
    step: int = 0
    """Batches of all epochs that are done."""


@dataclass(kw_only=True, slots=True)
class Best:
    """The best value so far of the metric that is watched."""

    metric: str = "val_loss"
    mode: str = "min"
    value: float | None = None
    step: int | None = None

    def take(self, metrics: Mapping[str, float], step: int) -> bool:
        """Look at new metrics; whether they are the best so far."""
        value = metrics.get(self.metric)
        if value is None or math.isnan(value):
            return False
        better = self.value is None or (
            value < self.value if self.mode == "min" else value > self.value
        )
        if better:
            self.value, self.step = value, step
        return better
