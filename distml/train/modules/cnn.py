"""CNN: convolutions over images, or along signals of one length."""

import math
from collections.abc import Sequence
from typing import Literal

from distml.errors import UserError
from distml.train.modules.convolution import Convolutions, Planes, image_size
from distml.train.modules.layers import ACTIVATIONS, NORMS
from distml.train.modules.network import Network
from distml.train.modules.spec import Spec
from distml.train.shape import Kind, Shape

__all__ = ["CNN"]


class CNN(Spec):
    """A convolutional network over arrays of one size, or over a matrix read as images.

    Numbers and categories beside an array join behind the convolutions.

    Args:
        channels: of each convolution.
        kernel_size: side of its window.
        pool: side of the window of max pooling behind each; 1 for none.
        hidden: width of each dense layer behind them.
        activation: see `MLP`.
        dropout: share of numbers put to zero in training, behind convolutions and dense layers.
        norm: `"batch"`, `"layer"` or `None`, of the convolutions.
        dims: dimensions to convolve over: 1, 2, or `"auto"`: 1 for arrays of one dimension, else 2.
            Two dimensions with `dims=1` are (channels, length).
        image_shape: the size of a row where the data is a matrix: (height, width),
            (channels, height, width) or, with `dims=1`, (channels, length). All its columns are
            then standardised alike.
    """

    takes = ("numbers", "categories", "array")

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        *,
        kernel_size: int = 3,
        pool: int = 2,
        hidden: Sequence[int] = (128,),
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str | None = "batch",
        dims: int | Literal["auto"] = "auto",
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.pool = pool
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.norm = norm
        self.dims = dims
        self.image_shape = image_shape

    def build(self, shape: Shape) -> Network:
        """Make the module.

        Raises:
            UserError: a parameter makes no sense, or there is nothing to convolve over.
        """
        self._check_whole("channels", "kernel_size", "pool", "hidden")
        self._check_share("dropout")
        self._check_choice("activation", list(ACTIVATIONS))
        self._check_choice("norm", NORMS)
        self._check_choice("dims", ["auto", 1, 2])
        self._check_shape(shape)
        kind, size = self._rows(shape)
        dims = min(len(size), 2) if self.dims == "auto" else self.dims
        planes, channels_last = image_size(size, dims, self._name)
        reader = Convolutions(
            kind,
            Planes(planes, channels_last=channels_last),
            self.channels,
            kernel_size=self.kernel_size,
            pool=self.pool,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
        )
        network = Network(
            shape,
            reader=reader,
            reads=kind,
            hidden=self.hidden,
            activation=self.activation,
            dropout=self.dropout,
        )
        network.shares_scale = kind == "numbers"
        return network

    def _rows(self, shape: Shape) -> tuple[Kind, tuple[int, ...]]:
        """The field to convolve over, and its size.

        Raises:
            UserError: there is none, or it does not have the size that was given.
        """
        if self.image_shape is None:
            if "array" in shape:
                return "array", shape["array"].size
            raise UserError(
                f"CNN reads arrays of one size, and the data has only "
                f"{' and '.join(map(str, shape))}; use MLP, or set image_shape"
            )
        self._check_whole("image_shape")
        kind: Kind = "array" if "array" in shape else "numbers"
        width = shape[kind].width if kind in shape else 0
        if math.prod(self.image_shape) != width:
            raise UserError(
                f"CNN: image_shape={tuple(self.image_shape)} has {math.prod(self.image_shape)} "
                f"numbers, and a row of the data has {width}"
            )
        return kind, tuple(self.image_shape)
