"""Over what a training is spread, and what is kept of it: plain values, checked when made.

The one decision: nothing here says what is trained, so estimators and users' loops share it.
"""

import math
import numbers
from dataclasses import dataclass, field
from typing import Any, get_args

import torch

from distml.errors import ResourcesError, UserError
from distml.train.checkpoint import Checkpoints
from distml.train.parallel import Precision, Strategy, check_precision

__all__ = ["Setup", "Workers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """How many workers there are and what each has.

    Raises:
        UserError: numbers that make no sense.
    """

    num_workers: int | tuple[int, int] = 0
    """0: this process. A pair: as many as there is room for, within it."""
    cpus_per_worker: int | None = None
    """CPUs, and threads, of each. `None`: one; in this process all it may use, if that is worth it.
    """
    gpus_per_worker: float | None = None
    """`None`: none for several workers, one in this process if there is one."""

    def __post_init__(self) -> None:
        bounds = tuple(self.range)
        are_counts = all(isinstance(n, numbers.Integral) and n >= 0 for n in bounds)
        if not are_counts or len(bounds) != 2 or bounds[0] > bounds[1]:
            raise UserError(
                f"num_workers={self.num_workers!r}: give a number from 0 on, or a pair of the "
                "least and the most"
            )
        if self.is_elastic and bounds[0] < 1:
            raise UserError(f"num_workers={self.num_workers!r}: the least is 1 worker")
        if self.cpus_per_worker is not None and self.cpus_per_worker < 1:
            raise UserError(f"cpus_per_worker={self.cpus_per_worker} must be at least 1")
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise UserError(f"gpus_per_worker={self.gpus_per_worker} must not be negative")

    @property
    def range(self) -> tuple[int, int]:
        """The least and the most."""
        if isinstance(self.num_workers, tuple):
            return self.num_workers
        return self.num_workers, self.num_workers

    @property
    def is_elastic(self) -> bool:
        """Whether their number may change on the way."""
        return isinstance(self.num_workers, tuple)

    @property
    def need_train(self) -> bool:
        """Whether Ray Train is needed: one worker alone trains in this process."""
        return self.range[1] > 1

    def need(self) -> dict[str, float]:
        """What the least number of them needs together."""
        least = max(self.range[0], 1)
        need = {"CPU": float(least * (self.cpus_per_worker or 1))}
        if self.gpus_per_worker:
            need["GPU"] = least * self.gpus_per_worker
        return need

    def check_within(self, has: dict[str, float]) -> None:
        """Refuse at once what a Ray of that size can never give.

        Raises:
            ResourcesError: it has too little; the message says of what.
        """
        for kind, amount in self.need().items():
            if has.get(kind, 0.0) < amount - 1e-9:
                unit = f"{kind.lower()}s_per_worker"
                raise ResourcesError(
                    f"num_workers={self.num_workers} need {amount:g} {kind}s, and this Ray has "
                    f"{math.floor(has.get(kind, 0.0))}; lower num_workers or {unit}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """How a training is carried out, whatever it trains.

    Raises:
        UserError: there is no such precision or strategy, or a CPU has not.
    """

    workers: Workers = field(default_factory=Workers)
    seed: int = 0
    precision: Precision = "fp32"
    strategy: Strategy = "ddp"
    compile: bool = False
    is_light: bool = False
    """A step is so little work that several threads would only wait for each other."""
    checkpoints: Checkpoints | None = None
    """`None`: none are kept, and what is interrupted begins anew."""
    checkpoint_every_s: float = 60.0
    metric: str = "val_loss"
    """What tells the best checkpoint."""
    mode: str = "min"
    max_failures: int = 3
    """How often lost workers are replaced; taken-away nodes are not counted."""

    def __post_init__(self) -> None:
        for name, known in (("precision", get_args(Precision)), ("strategy", get_args(Strategy))):
            if getattr(self, name) not in known:
                raise UserError(f"{name}={getattr(self, name)!r} is none of {', '.join(known)}")
        gpus = self.workers.gpus_per_worker
        if gpus == 0 or (gpus is None and self.workers.need_train):
            check_precision(self.precision, torch.device("cpu"))

    def best(self) -> dict[str, Any]:
        """The metric that is watched."""
        return {"metric": self.metric, "mode": self.mode}
