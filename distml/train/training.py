"""All that a fit of a network depends on but its rows, as one plain value, and what comes of it."""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from distml.errors import DistmlError, UserError
from distml.train.objective import Objective
from distml.train.position import Position

__all__ = ["DivergedError", "Fitted", "Training", "cycle_ends", "rows_of_a_batch"]


class DivergedError(DistmlError):
    """The loss is no finite number any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """All that determines a fit, but for the rows."""

    build: Callable[[], nn.Module]
    """Makes the network, its weights drawn from torch's generator."""
    objective: Objective
    """What it is trained for."""
    num_outputs: int
    """Columns of its output."""
    epochs: int = 20
    batch_size: int = 1024
    """Rows of a global batch, over all workers."""
    optimizer: Any = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    scheduler: Any = None
    warmup: float = 0.0
    cycles: int = 1
    """Parts the training has, at whose ends the weights are kept if there are several."""
    patience: int | None = None
    """Epochs without a better validation loss before the training ends. `None`: it does not."""
    accumulate: int = 1
    """Micro-batches a batch is computed in."""
    clip_norm: float | None = None
    """Largest norm of the gradient of a step."""
    freeze: str | Sequence[str] | None = None
    lr_factors: Mapping[str, float] | None = None
    weights: Mapping[str, Any] | None = None
    """Weights to begin with, by name; those not named are drawn."""
    optimizer_state: Any = None
    """State of an optimizer to begin with."""
    begin: Position = field(default_factory=Position)
    """Where a former training ended that this one goes on with: the order of rows goes on, too."""
    rollback: bool = False
    """Whether a training that diverges goes on once from its last checkpoint, more slowly."""
    lr_scale: float = 1.0
    """Factor of the rate after a rollback."""
    seed: int = 0

    @property
    def cycle_ends(self) -> tuple[int, ...]:
        """Epochs of this training that are done when each cycle ends."""
        return cycle_ends(self.epochs, self.cycles)

    def ends_cycle(self, epoch: int) -> bool:
        """Whether one of several cycles is over with an epoch, counted from 0."""
        return self.cycles > 1 and epoch + 1 - self.begin.epoch in self.cycle_ends

    def with_less_memory(self) -> "Training | None":
        """The same in micro-batches of half the size; `None` if they have one row each."""
        if self.accumulate >= self.batch_size:
            return None
        return replace(self, accumulate=min(2 * self.accumulate, self.batch_size))

    def with_lower_rate(self) -> "Training | None":
        """The same at a tenth of the rate, once; `None` if that is not wanted."""
        if not self.rollback or self.lr_scale < 1.0:
            return None
        return replace(self, lr_scale=0.1)


@dataclass(kw_only=True, slots=True)
class Fitted:
    """What came of a fit."""

    weights: dict[str, torch.Tensor]
    """By the names of the bare network, on the CPU."""
    history: list[dict[str, float]]
    """Metrics of each epoch."""
    best_epoch: int | None
    """Whose weights they are, if a validation told; counted from 0."""
    snapshots: list[dict[str, torch.Tensor]] = field(default_factory=list)
    """Weights at the end of each cycle; none if there is but one."""
    optimizer_state: Any = None
    """To go on with."""
    num_steps: int = 0
    """Steps done in all."""
    device: str = "cpu"
    """What the first worker computed on."""
    num_workers: int = 0
    """Workers at the end; 0 for one process alone."""
    peak_bytes: list[int] = field(default_factory=list)
    """Memory that each worker held at its peak."""
    peak_gpu_bytes: int = 0
    """The most GPU memory the worker held."""


def rows_of_a_batch(batch_size: int | str, num_rows: int, accumulate: int) -> int:
    """Rows of a global batch: small for small data, so that there are steps to learn by.

    Args:
        batch_size: a number of rows, or `"auto"`.
        num_rows: rows to train on.
        accumulate: micro-batches it is cut into.

    Raises:
        UserError: there are not as many rows, or a micro-batch would be empty.
    """
    if batch_size == "auto":
        return min(1024, num_rows, max(16, 2 ** round(math.log2(max(num_rows, 1) / 40))))
    if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise UserError(f"batch_size={batch_size!r}: give a number of rows, or 'auto'")
    if batch_size > num_rows:
        raise UserError(
            f"batch_size={batch_size} is more than the {num_rows} rows to train on; lower it, or "
            "say 'auto'"
        )
    if not 1 <= accumulate <= batch_size:
        raise UserError(
            f"accumulate={accumulate}: give a number of micro-batches from 1 to the "
            f"batch_size={batch_size}"
        )
    return int(batch_size)


def cycle_ends(epochs: int, cycles: int) -> tuple[int, ...]:
    """Epochs that are done when each cycle ends.

    Args:
        epochs: of the whole training.
        cycles: parts it has; at most one an epoch.
    """
    cycles = min(cycles, epochs)
    return tuple(epochs * (cycle + 1) // cycles for cycle in range(cycles))
