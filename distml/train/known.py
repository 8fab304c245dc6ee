"""What a loop knows of its rows before it has read any: enough to size a network of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt
from torch import nn

from distml.train.building import build_network
from distml.train.shape import Kind, Scale, Shape

__all__ = ["Known"]


@dataclass(kw_only=True)
class Known:
    """What the rows of a training look like."""

    shape: Shape = field(default_factory=lambda: Shape(fields=(), num_outputs=0))
    """The fields of a batch, and how many numbers are to be said of a row."""
    classes: npt.NDArray[Any] | None = None
    """Array of shape (num_classes,): what the codes in `y` stand for; `None` if it is a number."""
    scales: Mapping[Kind, Scale] = field(default_factory=dict)
    """Kind of field → mean and deviation of its numbers in the rows of `train`."""

    def network(self, module: Any, *, num_outputs: int | None = None) -> nn.Module:
        """One of distml's networks, or a module of your own, made for these rows.

        It is called with a batch, and standardises the numbers in it by `scales`.

        Args:
            module: such as `distml.MLP()`; all that `NeuralClassifier` takes.
            num_outputs: columns of its output; `None`: one for each class or target.

        Raises:
            UserError: it does not suit the rows.
        """
        shape = self.shape if num_outputs is None else replace(self.shape, num_outputs=num_outputs)
        return build_network(module, shape, self.scales)
