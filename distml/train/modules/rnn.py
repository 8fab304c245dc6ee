"""RNN: an LSTM or GRU over sequences, tokens or the steps of an array."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from distml.train.modules.network import Network, Reader
from distml.train.modules.spec import Spec
from distml.train.modules.steps import Steps, mean_over_steps, ordered_field
from distml.train.shape import Shape

__all__ = ["RNN", "Recurrence"]

_CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RNN(Spec):
    """A recurrent network. Rows may differ in length: each is read up to its own end.

    Numbers and categories beside the sequence join behind the recurrence.

    Args:
        cell: `"lstm"` or `"gru"`.
        hidden_size: width of the state.
        num_layers: recurrent layers on top of each other.
        bidirectional: read from both ends.
        dropout: share of numbers put to zero in training, between layers and before the head.
        embedding_dim: numbers that stand for a token.
        pool: what represents a row: its `"last"` state, or the `"mean"` of all.
        hidden: width of each dense layer behind it.
    """

    takes = ("numbers", "categories", "array", "sequence", "tokens")

    def __init__(
        self,
        cell: str = "lstm",
        *,
        hidden_size: int = 64,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        embedding_dim: int = 64,
        pool: str = "last",
        hidden: Sequence[int] = (),
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.embedding_dim = embedding_dim
        self.pool = pool
        self.hidden = hidden

    def build(self, shape: Shape) -> Network:
        """Make the module.

        Raises:
            UserError: a parameter makes no sense, or there are no steps to read.
        """
        self._check_choice("cell", list(_CELLS))
        self._check_choice("pool", ["last", "mean"])
        self._check_whole("hidden_size", "num_layers", "embedding_dim", "hidden")
        self._check_share("dropout")
        self._check_shape(shape)
        field = ordered_field(shape, self._name)
        steps = Steps(field, embedding_dim=self.embedding_dim)
        reader = Recurrence(steps, self)
        return Network(
            shape, reader=reader, reads=field.kind, hidden=self.hidden, dropout=self.dropout
        )


class Recurrence(Reader):
    """Recurrent layers over steps, pooled into one vector a row."""

    def __init__(self, steps: Steps, spec: RNN) -> None:
        super().__init__()
        self.steps = steps
        self.pool = spec.pool
        self.width = spec.hidden_size * (2 if spec.bidirectional else 1)
        self.cells = _CELLS[spec.cell](
            steps.width,
            spec.hidden_size,
            spec.num_layers,
            batch_first=True,
            # torch warns of dropout between layers where there is one.
            dropout=spec.dropout if spec.num_layers > 1 else 0.0,
            bidirectional=spec.bidirectional,
        )
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, **fields: torch.Tensor) -> torch.Tensor:
        """Shape (B, width)."""
        steps, lengths = self.steps(**fields)
        packed = pack_padded_sequence(steps, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, last = self.cells(packed)
        if self.pool == "mean":
            padded, _ = pad_packed_sequence(states, batch_first=True)
            return self.dropout(mean_over_steps(padded, lengths))
        final = last[0] if isinstance(last, tuple) else last
        directions = 2 if self.cells.bidirectional else 1
        return self.dropout(final[-directions:].transpose(0, 1).flatten(1))
