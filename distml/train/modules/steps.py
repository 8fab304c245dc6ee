"""Rows with an order: tokens, sequences and tables of equally many steps, as steps of one width.

What reads steps (recurrence, attention) sees one form, (B, T, width) with the length of each row,
and nothing beyond a row's end reaches its result.
"""

import torch
from torch import nn

from distml.errors import UserError
from distml.train.shape import Field, Kind, Shape

__all__ = ["ORDERED", "Steps", "mean_over_steps", "ordered_field"]

ORDERED: tuple[Kind, ...] = ("tokens", "sequence", "array")
"""The kinds that can be read step by step, the first that is there before the others."""


def ordered_field(shape: Shape, name: str) -> Field:
    """The field that a network reads step by step.

    Args:
        shape: what the data looks like.
        name: of the network, for the message.

    Raises:
        UserError: there is none, or it is an array of more than two dimensions.
    """
    found = [shape[kind] for kind in ORDERED if kind in shape]
    if not found:
        raise UserError(
            f"{name} reads sequences, tokens or arrays of steps, and the data has only "
            f"{' and '.join(map(str, shape))}; use MLP, or give a list column"
        )
    if found[0].kind == "array" and len(found[0].size) > 2:
        raise UserError(
            f"{name} reads arrays of (steps,) or (steps, channels), and {found[0]} has size "
            f"{found[0].size}; use CNN"
        )
    return found[0]


class Steps(nn.Module):
    """The steps of an ordered field, with the length of each row.

    Args:
        field: tokens, a sequence, or an array of size (T,) or (T, channels).
        dim: width that steps are brought to; `None` leaves numbers as they are.
        embedding_dim: width of tokens if `dim` is `None`.
    """

    def __init__(self, field: Field, *, dim: int | None = None, embedding_dim: int = 64) -> None:
        super().__init__()
        self.kind = field.kind
        self.layer: nn.Module = nn.Identity()
        if field.kind == "tokens":
            self.width = dim or embedding_dim
            self.layer = nn.Embedding(field.num_values[0], self.width, padding_idx=0)
            return
        channels = field.size[-1] if field.kind == "sequence" or len(field.size) > 1 else 1
        self.width = dim or channels
        if dim is not None:
            self.layer = nn.Linear(channels, dim)

    def forward(
        self, *, lengths: torch.Tensor | None = None, **fields: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shape (B, T, width), and the lengths (B,), each at least 1."""
        values = fields[self.kind]
        if self.kind != "tokens" and values.ndim == 2:
            values = values[:, :, None]
        if lengths is None or self.kind == "array":
            lengths = torch.full((len(values),), values.shape[1], device=values.device)
        return self.layer(values), lengths.clamp(min=1)


def mean_over_steps(states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The mean of (B, T, width) over the steps that each row has, shape (B, width)."""
    inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    # Not a product: what stands beyond the end may be anything.
    total = states.masked_fill(~inside[:, :, None], 0.0).sum(dim=1)
    return total / lengths[:, None].to(total.dtype)
