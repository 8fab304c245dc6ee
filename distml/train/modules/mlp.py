"""MLP: dense layers over numbers, embedded categories and flattened arrays."""

from collections.abc import Sequence

from distml.train.modules.layers import ACTIVATIONS, NORMS
from distml.train.modules.network import EmbeddingDim, Network
from distml.train.modules.spec import Spec
from distml.train.shape import Shape

__all__ = ["MLP"]


class MLP(Spec):
    """A multilayer perceptron.

    Args:
        hidden: width of each hidden layer; `()` for a linear model.
        activation: `"relu"`, `"gelu"`, `"silu"`, `"elu"`, `"leaky_relu"` or `"tanh"`.
        dropout: share of each hidden layer put to zero in training.
        norm: `"batch"`, `"layer"` or `None`.
        embedding_dim: numbers that stand for a category; `"auto"`: half as many as the column has
            values, up to 50.
    """

    takes = ("numbers", "categories", "array")

    def __init__(
        self,
        hidden: Sequence[int] = (256, 128),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str | None = None,
        embedding_dim: EmbeddingDim = "auto",
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.norm = norm
        self.embedding_dim = embedding_dim

    def build(self, shape: Shape) -> Network:
        """Make the module.

        Raises:
            UserError: a parameter makes no sense, or there are sequences or tokens.
        """
        self._check_whole("hidden")
        self._check_share("dropout")
        self._check_choice("activation", list(ACTIVATIONS))
        self._check_choice("norm", NORMS)
        self._check_embedding()
        self._check_shape(shape)
        return Network(
            shape,
            hidden=self.hidden,
            embedding_dim=self.embedding_dim,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
        )
