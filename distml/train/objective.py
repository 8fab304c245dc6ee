"""What a network is trained for: its loss row by row, and what else is said of its outputs.

A loss gives a number for each row, never their mean, so that rows can be weighed and a batch's mean
taken over all workers. Scores are sums over rows, so that they add up over batches and workers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from distml.errors import UserError

__all__ = ["Loss", "Objective", "objective_of"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Outputs of shape (num_rows, num_outputs) and targets → tensor of shape (num_rows,)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """A loss, and a score that people read beside it."""

    loss: Loss
    """Loss of each row."""
    score: str | None = None
    """`accuracy` or `r2`; `None`: the loss is all there is to say."""

    def sums(self, outputs: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What `metrics` needs to know of some rows: float64 tensor of shape (5,)."""
        target, losses = batch.get("y", outputs), self.row_losses(outputs, batch)
        parts = [losses.sum(), losses.new_tensor(float(len(outputs)))]
        none = losses.new_zeros(())
        if self.score == "accuracy":
            parts += [(outputs.argmax(1) == target).sum(), none, none]
        elif self.score == "r2":
            wide = target.double().reshape(len(target), -1)
            error = (outputs.double().reshape(wide.shape) - wide).square().sum()
            parts += [error, wide.sum(), wide.square().sum()]
        else:
            parts += [none] * 3
        return torch.stack([part.double() for part in parts])

    def metrics(self, sums: list[float], prefix: str, num_outputs: int) -> dict[str, float]:
        """Loss and score of the rows behind added-up `sums`."""
        loss, count, first, total, squares = sums
        found = {f"{prefix}_loss": loss / max(count, 1.0)}
        if self.score == "accuracy":
            found[f"{prefix}_accuracy"] = first / max(count, 1.0)
        elif self.score == "r2":
            spread = squares - total * total / max(count * num_outputs, 1.0)
            found[f"{prefix}_r2"] = 1.0 - first / spread if spread > 0 else 0.0
        return found

    def row_losses(self, outputs: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Loss of each row, weighed: tensor of shape (num_rows,).

        Raises:
            UserError: the loss gives something else.
        """
        losses = self.loss(outputs, batch.get("y", outputs))
        if losses.shape != (len(outputs),):
            raise UserError(
                f"loss: it gives a tensor of shape {tuple(losses.shape)} for {len(outputs)} rows; "
                "give a loss for each row (reduction='none')"
            )
        return losses * batch["weight"] if "weight" in batch else losses


def objective_of(loss: str | Loss, *, task: str) -> Objective:
    """The objective behind a name.

    Args:
        loss: a key of the table for the task, or a function of outputs and targets that gives a
            loss for each row.
        task: `classification`, `regression` or `reconstruction`.

    Raises:
        UserError: an unknown name.
    """
    score = {"classification": "accuracy", "regression": "r2"}.get(task)
    if callable(loss):
        return Objective(loss=loss, score=score)
    known = _LOSSES[task]
    if loss not in known:
        raise UserError(
            f"loss={loss!r} is none of {', '.join(known)}; or give a function of outputs and "
            "targets that gives a loss for each row"
        )
    return Objective(loss=known[loss], score=score)


def _cross_entropy(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, target, reduction="none")


def _per_row(function: Any) -> Loss:
    def loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        shaped = target.reshape(outputs.shape).to(outputs.dtype)
        return function(outputs, shaped, reduction="none").flatten(1).mean(1)

    return loss


def _residuals_squared(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return outputs.square().flatten(1).mean(1)


def _residuals_absolute(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return outputs.abs().flatten(1).mean(1)


_squared = _per_row(functional.mse_loss)
_absolute = _per_row(functional.l1_loss)
_huber = _per_row(functional.huber_loss)

_LOSSES: Mapping[str, Mapping[str, Loss]] = {
    "classification": {"cross_entropy": _cross_entropy},
    "regression": {"squared_error": _squared, "absolute_error": _absolute, "huber": _huber},
    # A network that reconstructs its input gives what is left of it, standardised.
    "reconstruction": {
        "squared_error": _residuals_squared,
        "absolute_error": _residuals_absolute,
    },
}
