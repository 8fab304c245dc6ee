"""Autoencoder: a network that says its input again through a narrow code."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from distml.errors import UserError
from distml.train.modules.convolution import Planes, image_size
from distml.train.modules.layers import ACTIVATIONS, dense
from distml.train.modules.spec import Spec
from distml.train.shape import Shape

__all__ = ["Autoencoder", "Reconstruction"]

_CONV: tuple[tuple[Any, Any], ...] = (
    (nn.Conv1d, nn.ConvTranspose1d),
    (nn.Conv2d, nn.ConvTranspose2d),
)


class Autoencoder(Spec):
    """Dense or convolutional, denoising if there is noise. It learns without a label.

    Args:
        hidden: width of each dense layer before the code; they come back in reverse behind it.
        code_size: numbers in the code.
        channels: of convolutions before the dense layers, each of which halves the sides; `()` for
            a dense network.
        activation: see `MLP`.
        noise: standard deviation of what is added to the input in training (which is standardised,
            or 0 to 1 for bytes), while the clean input is to be said again.
    """

    takes = ("numbers", "array")
    needs_label = False

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        *,
        code_size: int = 16,
        channels: Sequence[int] = (),
        activation: str = "relu",
        noise: float = 0.0,
    ) -> None:
        self.hidden = hidden
        self.code_size = code_size
        self.channels = channels
        self.activation = activation
        self.noise = noise

    def build(self, shape: Shape) -> "Reconstruction":
        """Make the module.

        Raises:
            UserError: a parameter makes no sense, or the data is not one field of numbers.
        """
        self._check_whole("hidden", "channels", "code_size")
        self._check_choice("activation", list(ACTIVATIONS))
        if not isinstance(self.noise, int | float) or not 0 <= self.noise < math.inf:
            raise UserError(f"Autoencoder: noise={self.noise!r} must be at least 0")
        self._check_shape(shape)
        if len(shape.fields) > 1:
            raise UserError(
                f"Autoencoder takes numbers or an array, and the data has "
                f"{' and '.join(map(str, shape))}; drop the columns of one"
            )
        size = shape.fields[0].size
        if self.channels and shape.fields[0].kind != "array":
            raise UserError(
                "Autoencoder: channels need arrays, and the data has numbers; reshape it to "
                "(rows, height, width), or leave channels out"
            )
        halving = Halving(size, self.channels, self.activation) if self.channels else None
        width = halving.width if halving else math.prod(size)
        before = [halving.down] if halving else [nn.Flatten()]
        after = [halving.up] if halving else [nn.Unflatten(1, size)]
        encoder = [*before, *self._dense(width, self.hidden, self.code_size)]
        decoder = [*self._dense(self.code_size, self.hidden[::-1], width), *after]
        return Reconstruction(nn.Sequential(*encoder), nn.Sequential(*decoder), noise=self.noise)

    def _dense(self, width: int, hidden: Sequence[int], out: int) -> list[nn.Module]:
        layers = dense(width, hidden, activation=self.activation)
        return [*layers, nn.Linear([width, *hidden][-1], out)]


class Halving:
    """Convolutions that halve the sides of a row, and their mirror image.

    Args:
        size: of a row; see `image_size`.
        channels: of each convolution.
        activation: name in `ACTIVATIONS`.
    """

    def __init__(self, size: Sequence[int], channels: Sequence[int], activation: str) -> None:
        dims = min(len(size), 2)
        (width, *sides), channels_last = image_size(size, dims, "Autoencoder")
        make, unmake = _CONV[dims - 1]
        down: list[nn.Module] = [Planes((width, *sides), channels_last=channels_last)]
        up: list[nn.Module] = [_Rows(size, channels_last=channels_last)]
        for wanted in channels:
            halves = [(side + 1) // 2 for side in sides]
            # Halving loses whether a side was even.
            even = tuple(1 - side % 2 for side in sides)
            last = len(up) == 1
            down += [make(width, wanted, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
            up += [] if last else [ACTIVATIONS[activation]()]
            up += [unmake(wanted, width, 3, stride=2, padding=1, output_padding=even)]
            width, sides = wanted, halves
        self.width = width * math.prod(sides)
        """Numbers in the middle."""
        self.down = nn.Sequential(*down, nn.Flatten())
        """From a row to (B, width)."""
        self.up = nn.Sequential(
            ACTIVATIONS[activation](), nn.Unflatten(1, (width, *sides)), *up[::-1]
        )
        """From (B, width) to a row."""


class Reconstruction(nn.Module):
    """The input through a code and back."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, noise: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.noise = noise

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """The code, shape (B, code_size)."""
        return self.encoder(values)

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """The input that a code stands for, shape (B, ...)."""
        return self.decoder(code)

    def forward(self, **fields: torch.Tensor) -> torch.Tensor:
        """The reconstruction, of the shape of the one field there is."""
        (values,) = fields.values()
        if self.training and self.noise:
            values = values + self.noise * torch.randn_like(values)
        return self.decode(self.encode(values))


class _Rows(nn.Module):
    """The inverse of `Planes`."""

    def __init__(self, size: Sequence[int], *, channels_last: bool) -> None:
        super().__init__()
        self.size = tuple(size)
        self.channels_last = channels_last

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        if self.channels_last:
            return planes.movedim(1, -1)
        return planes.reshape(len(planes), *self.size)
