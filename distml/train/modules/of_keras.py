"""A Keras network, whose backend is torch, as a module like any other.

The one decision: Keras keeps its weights in variables of its own, so these tensors are registered
once, by the paths that Keras gives them, and are never replaced, only written to. Keras is told
whether it trains, which it does not ask a module for. Refused: another backend than torch.
"""

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

from distml.errors import UserError
from distml.train.shape import Shape

__all__ = ["KerasNetwork", "as_module", "build_by_itself"]


class KerasNetwork(nn.Module):
    """From the fields of a batch to what a Keras network says of them.

    Args:
        network: it takes the one field there is, or a dict of them by kind.
        shape: what the data looks like; a network that has no input layer is built for it.

    Raises:
        UserError: there are no weights, because it was not built and cannot be.
    """

    def __init__(self, network: Any, shape: Shape) -> None:
        super().__init__()
        if not network.built:
            _build(network, shape)
        # In a tuple: torch would find the same weights again under other names.
        self._network = (network,)
        self._kinds = shape.kinds
        for variable in network.variables:
            self.register_parameter(variable.path.replace(".", "_"), variable.value)

    def forward(self, **fields: torch.Tensor) -> torch.Tensor:
        """What the network says; it gets the fields alone, without lengths."""
        import keras

        named = {kind: fields[kind] for kind in self._kinds}
        given = named if len(named) > 1 else next(iter(named.values()))
        device = next(iter(named.values())).device
        with keras.device(str(device)):
            outputs: torch.Tensor = self._network[0](given, training=self.training)
        return outputs

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Mapping[str, Any], *args: Any
    ) -> None:
        # Other tensors in place of these would not be Keras' any more.
        kept = {**local_metadata, "assign_to_params_buffers": False}
        super()._load_from_state_dict(state_dict, prefix, kept, *args)


def as_module(made: Any, shape: Shape) -> Any:
    """A Keras network as a module; anything else as it is.

    Raises:
        UserError: its backend is not torch.
    """
    if not any(kind.__module__.split(".")[0] == "keras" for kind in type(made).__mro__):
        return made
    if not isinstance(made, nn.Module):
        raise UserError(
            f"module: {type(made).__name__} is a Keras network of another backend; set "
            "KERAS_BACKEND=torch before keras is imported"
        )
    return KerasNetwork(made, shape)


def build_by_itself(make: Callable[[], Any]) -> Any:
    """What a function makes; a Keras network gets the names and weights it would get first of all.

    Args:
        make: the function.
    """
    with _drawn_from_torch():
        # Not loaded yet, but perhaps by what is called here: then it is the first.
        if "keras" not in sys.modules:
            return make()
        # Keras counts the layers of a thread to name them: in a new one from the beginning.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make).result()


def _build(network: Any, shape: Shape) -> None:
    fields = shape.fields
    if len(fields) > 1 or fields[0].kind not in ("numbers", "array"):
        raise UserError(
            f"module: {type(network).__name__} has no weights yet, and the data has "
            f"{' and '.join(shape.kinds)}; give it an Input layer, or build it"
        )
    network.build((None, *fields[0].size))


@contextlib.contextmanager
def _drawn_from_torch() -> Iterator[None]:
    """Seed Python's generator, from which Keras draws the seeds of its layers, by torch's."""
    before = random.getstate()
    random.seed(torch.initial_seed())
    try:
        yield
    finally:
        random.setstate(before)
