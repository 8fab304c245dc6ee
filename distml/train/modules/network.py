"""The plan that all our networks follow: fields → one vector → hidden layers → head.

One decision: whatever reads the ordered field of a row (convolutions, recurrence, attention) gives
one vector, to which the numbers, embedded categories and arrays beside it are appended. So a tweet
with its time of day is one row. The parts have the same names in every network (`reader`, `flat`,
`body`, `head`), by which weights are frozen, replaced and given learning rates.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from distml.train.modules.layers import dense
from distml.train.shape import Field, Kind, Shape

__all__ = ["EmbeddingDim", "Flat", "Network", "Reader", "embedding_size"]

EmbeddingDim = int | Literal["auto"]

_LARGEST_EMBEDDING = 50


class Reader(nn.Module):
    """Reads the ordered field of a row into one vector, shape (B, width)."""

    width: int
    """Numbers in the vector."""


class Network(nn.Module):
    """Outputs from the fields of a row.

    Args:
        shape: what the data looks like.
        reader: reads one field, which it takes by the name of its kind.
        reads: that kind.
        hidden: width of each hidden layer behind it.
        embedding_dim: numbers that stand for a category; see `embedding_size`.
        activation: see `dense`; so are `norm` and `dropout`.
        norm: of the hidden layers.
        dropout: in the hidden layers.
    """

    shares_scale = False
    """Whether all columns of numbers are of one kind, such as pixels, and standardised alike."""

    def __init__(
        self,
        shape: Shape,
        *,
        reader: Reader | None = None,
        reads: Kind | None = None,
        hidden: Sequence[int] = (),
        embedding_dim: EmbeddingDim = "auto",
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        others = [field for field in shape if reader is None or field.kind != reads]
        self.reader = reader
        self.flat = Flat(others, embedding_dim) if others else None
        width = sum(part.width for part in (self.reader, self.flat) if part is not None)
        self.body = dense(width, hidden, activation=activation, norm=norm, dropout=dropout)
        self.head = nn.Linear([width, *hidden][-1], shape.num_outputs)

    def features(self, **fields: torch.Tensor) -> torch.Tensor:
        """What the head sees, shape (B, width): the output of the last hidden layer."""
        parts = [part(**fields) for part in (self.reader, self.flat) if part is not None]
        return self.body(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])

    def forward(self, **fields: torch.Tensor) -> torch.Tensor:
        """The outputs, shape (B, num_outputs)."""
        return self.head(self.features(**fields))


class Flat(nn.Module):
    """Fields without an order as one vector: numbers, embedded categories, flattened arrays.

    The embedding of 0, a value that is unknown or missing, begins as zeros: neither for nor
    against anything until there are rows to learn it from.
    """

    def __init__(self, fields: Sequence[Field], embedding_dim: EmbeddingDim = "auto") -> None:
        super().__init__()
        self.kinds = [field.kind for field in fields if field.kind != "categories"]
        self.width = sum(field.width for field in fields if field.kind != "categories")
        self.embeddings = nn.ModuleList()
        for num_values in (n for field in fields for n in field.num_values):
            size = embedding_size(num_values, embedding_dim)
            table = nn.Embedding(num_values, size)
            with torch.no_grad():
                table.weight[0].zero_()
            self.embeddings.append(table)
            self.width += size

    def forward(self, **fields: torch.Tensor) -> torch.Tensor:
        """Shape (B, width), float32."""
        parts = [fields[kind].flatten(1) for kind in self.kinds]
        for i, table in enumerate(self.embeddings):
            parts.append(table(fields["categories"][:, i]))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def embedding_size(num_values: int, embedding_dim: EmbeddingDim) -> int:
    """Numbers that stand for a category: given, or half as many as it has values, up to 50."""
    if embedding_dim == "auto":
        return min(_LARGEST_EMBEDDING, math.ceil(num_values / 2))
    return embedding_dim
