"""Transformer: self-attention over tokens, sequences or the steps of an array."""

from collections.abc import Sequence

import torch
from torch import nn

from distml.errors import UserError
from distml.train.modules.network import Network, Reader
from distml.train.modules.spec import Spec
from distml.train.modules.steps import Steps, mean_over_steps, ordered_field
from distml.train.shape import Shape

__all__ = ["Attention", "Transformer"]


class Transformer(Spec):
    """A Transformer encoder with learned positions. Padding is masked.

    Numbers and categories beside the sequence join behind the attention.

    Args:
        dim: width of a step.
        num_heads: heads of attention; they divide `dim`.
        num_layers: layers of attention, each with a dense layer four times as wide.
        dropout: share of numbers put to zero in training.
        max_length: steps of a row that are read; further ones are left out.
        pool: what represents a row: the `"mean"` of its steps, or a step of its own (`"cls"`).
        hidden: width of each dense layer behind it.
    """

    takes = ("numbers", "categories", "array", "sequence", "tokens")

    def __init__(
        self,
        dim: int = 64,
        *,
        num_heads: int = 4,
        num_layers: int = 2,
        dropout: float = 0.1,
        max_length: int = 512,
        pool: str = "mean",
        hidden: Sequence[int] = (),
    ) -> None:
        self.dim = dim
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.dropout = dropout
        self.max_length = max_length
        self.pool = pool
        self.hidden = hidden

    def build(self, shape: Shape) -> Network:
        """Make the module.

        Raises:
            UserError: a parameter makes no sense, or there are no steps to read.
        """
        self._check_whole("dim", "num_heads", "num_layers", "max_length", "hidden")
        self._check_share("dropout")
        self._check_choice("pool", ["mean", "cls"])
        if self.dim % self.num_heads:
            raise UserError(
                f"Transformer: dim={self.dim} must be a multiple of num_heads={self.num_heads}"
            )
        self._check_shape(shape)
        field = ordered_field(shape, self._name)
        reader = Attention(Steps(field, dim=self.dim), self)
        return Network(
            shape, reader=reader, reads=field.kind, hidden=self.hidden, dropout=self.dropout
        )


class Attention(Reader):
    """Layers of self-attention over steps, pooled into one vector a row."""

    def __init__(self, steps: Steps, spec: Transformer) -> None:
        super().__init__()
        self.steps = steps
        self.width = spec.dim
        self.max_length = spec.max_length
        self.positions = nn.Parameter(torch.randn(spec.max_length, spec.dim) * 0.02)
        self.start = nn.Parameter(torch.zeros(spec.dim)) if spec.pool == "cls" else None
        layer = nn.TransformerEncoderLayer(
            spec.dim,
            spec.num_heads,
            dim_feedforward=4 * spec.dim,
            dropout=spec.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, spec.num_layers, norm=nn.LayerNorm(spec.dim), enable_nested_tensor=False
        )

    def forward(self, **fields: torch.Tensor) -> torch.Tensor:
        """Shape (B, width)."""
        steps, lengths = self.steps(**fields)
        steps, lengths = steps[:, : self.max_length], lengths.clamp(max=self.max_length)
        steps = steps + self.positions[: steps.shape[1]]
        if self.start is not None:
            start = self.start.expand(len(steps), 1, -1)
            steps, lengths = torch.cat([start, steps], dim=1), lengths + 1
        padding = torch.arange(steps.shape[1], device=steps.device) >= lengths[:, None]
        states = self.layers(steps, src_key_padding_mask=padding)
        return states[:, 0] if self.start is not None else mean_over_steps(states, lengths)
