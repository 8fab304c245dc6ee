"""What an autoencoder leaves of its input: what is trained to be nothing."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from distml.errors import UserError
from distml.train.wiring import Wired

__all__ = ["Residual"]


class Residual(nn.Module):
    """Reconstruction less input, both standardised, so that its loss needs no target.

    Args:
        wired: a network whose outputs have the shape of its one field.

    Raises:
        UserError: there are several fields, or they are ragged.
    """

    def __init__(self, wired: Wired) -> None:
        super().__init__()
        self.module = wired
        kinds = wired.shape.kinds
        if len(kinds) != 1 or kinds[0] not in ("numbers", "array"):
            raise UserError(
                f"an autoencoder takes numbers, or one array of fixed size; the data has "
                f"{' and '.join(kinds)}: drop the others"
            )
        self._kind = kinds[0]

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Tensor of shape (B, ...): reconstruction less input.

        Raises:
            UserError: the network gives another shape.
        """
        fields = self.module.prepare(batch)
        given = fields[self._kind]
        outputs = self.module.call(fields)
        if outputs.shape != given.shape:
            raise UserError(
                f"{type(self.module.module).__name__} gives {tuple(outputs.shape)} for an input of "
                f"{tuple(given.shape)}; an autoencoder gives its input back"
            )
        return outputs - given

    def encode(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Codes of shape (B, code_size); the outputs of a network that has no `encode`."""
        fields = self.module.prepare(batch)
        inner: Any = self.module.module
        if hasattr(inner, "encode"):
            return inner.encode(fields[self._kind]).flatten(1)
        return self.module.call(fields).flatten(1)
