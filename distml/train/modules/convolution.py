"""Convolutions over one or two dimensions, with their sizes followed from layer to layer."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from distml.errors import UserError
from distml.train.modules.layers import ACTIVATIONS, normalisation
from distml.train.modules.network import Reader
from distml.train.shape import Kind

__all__ = ["Convolutions", "Planes", "image_size"]

_CONV = (nn.Conv1d, nn.Conv2d)
_POOL = (nn.MaxPool1d, nn.MaxPool2d)
_ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
_MOST_CHANNELS_LAST = 4
_LARGEST_SIDE = 8


class Planes(nn.Module):
    """Rows of numbers as channels of one or two dimensions.

    Args:
        size: (channels, length) or (channels, height, width) to which a row is brought.
        channels_last: whether a row has its channels behind the other dimensions.
    """

    def __init__(self, size: Sequence[int], *, channels_last: bool = False) -> None:
        super().__init__()
        self.size = tuple(size)
        self.channels_last = channels_last

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Shape (B, *size)."""
        if self.channels_last:
            return values.movedim(-1, 1)
        return values.reshape(len(values), *self.size)


def image_size(size: Sequence[int], dims: int, owner: str) -> tuple[tuple[int, ...], bool]:
    """How the dimensions of a row are read.

    Args:
        size: (length,), (height, width), (channels, height, width) or (height, width, channels);
            with `dims=1` also (channels, length).
        dims: dimensions to convolve over, 1 or 2.
        owner: name of the network, for the message.

    Returns:
        (channels, ...) and whether the channels are last in the data: there are at most four of
        them then, and more than four of what is first.

    Raises:
        UserError: too few or too many dimensions.
    """
    size = tuple(size)
    if len(size) == dims:
        return (1, *size), False
    if len(size) != dims + 1:
        raise UserError(
            f"{owner}: dims={dims} reads arrays of {dims} or {dims + 1} dimensions, not {size}; "
            "set dims, or image_shape"
        )
    if dims == 2 and size[0] > _MOST_CHANNELS_LAST >= size[-1]:
        return (size[-1], *size[:-1]), True
    return size, False


class Convolutions(Reader):
    """Convolution, normalisation, activation and pooling, again and again; then one vector.

    What is larger than 8 by 8 at the end is averaged down to it, so that the dense layers behind
    stay small for large images.

    Args:
        kind: the field that is read.
        planes: brings it to (B, channels, ...).
        channels: of each convolution.
        kernel_size: side of its window.
        pool: side of the window of max pooling behind each; left out where there is less.
        activation: name in `ACTIVATIONS`.
        norm: name in `NORMS`.
        dropout: share of numbers put to zero in training at the end.
    """

    def __init__(
        self,
        kind: Kind,
        planes: Planes,
        channels: Sequence[int],
        *,
        kernel_size: int,
        pool: int,
        activation: str,
        norm: str | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.planes = planes
        width, *sides = planes.size
        dims = len(sides)
        layers: list[nn.Module] = []
        for wanted in channels:
            padding = kernel_size // 2
            layers.append(_CONV[dims - 1](width, wanted, kernel_size, padding=padding))
            layers.extend(normalisation(norm, wanted, dims))
            layers.append(ACTIVATIONS[activation]())
            width, sides = wanted, [side + 2 * padding - kernel_size + 1 for side in sides]
            if pool > 1 and min(sides) >= pool:
                layers.append(_POOL[dims - 1](pool))
                sides = [side // pool for side in sides]
        if max(sides) > _LARGEST_SIDE:
            sides = [min(side, _LARGEST_SIDE) for side in sides]
            layers.append(_ADAPTIVE[dims - 1](tuple(sides) if dims > 1 else sides[0]))
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout))
        self.width = width * math.prod(sides)

    def forward(self, **fields: torch.Tensor) -> torch.Tensor:
        """Shape (B, width)."""
        return self.layers(self.planes(fields[self.kind]))
