"""Dense layers and what goes between them: activations, normalisation, dropout."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

__all__ = ["ACTIVATIONS", "NORMS", "dense", "normalisation"]

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
}
"""Names of activations."""

NORMS = (None, "batch", "layer")
"""Names of normalisations."""


class _AlsoOfOne(nn.Module):
    """Normalises a batch of one number per channel, which has no spread, as in evaluation.

    Such is what is left over for a last batch, or a worker's share of it.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's word
        """Tensor of the same shape."""
        if not self.training or input.numel() > input.shape[1]:
            found: torch.Tensor = super().forward(input)
            return found
        self.train(False)
        try:
            return super().forward(input)
        finally:
            self.train(True)


class BatchNorm1d(_AlsoOfOne, nn.BatchNorm1d):
    """See `_AlsoOfOne`."""


class BatchNorm2d(_AlsoOfOne, nn.BatchNorm2d):
    """See `_AlsoOfOne`."""


_BATCH_NORM = (BatchNorm1d, BatchNorm1d, BatchNorm2d)


def dense(
    width: int,
    hidden: Sequence[int],
    *,
    activation: str = "relu",
    norm: str | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Dense layers, each followed by what is asked for.

    Args:
        width: numbers that come in.
        hidden: width of each layer; the last is what comes out, `width` itself if there is none.
        activation: name in `ACTIVATIONS`.
        norm: name in `NORMS`, before the activation.
        dropout: share of numbers put to zero in training, after the activation.

    Returns:
        A module from (B, width) to (B, hidden[-1]).
    """
    layers: list[nn.Module] = []
    for size in hidden:
        layers.append(nn.Linear(width, size))
        layers.extend(normalisation(norm, size))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    return nn.Sequential(*layers)


def normalisation(norm: str | None, channels: int, dims: int = 0) -> list[nn.Module]:
    """The layer of a normalisation, or none.

    Args:
        norm: name in `NORMS`.
        channels: size of dimension 1.
        dims: dimensions behind it: 0, 1 or 2.
    """
    if norm is None:
        return []
    if norm == "batch":
        return [_BATCH_NORM[dims](channels)]
    # Over all channels of a row at once; with dimensions behind the channels, over these as well.
    return [nn.LayerNorm(channels) if dims == 0 else nn.GroupNorm(1, channels)]
