"""From a user's module to the network that is trained, and whether it takes the data at all."""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from distml.errors import UserError
from distml.train.modules.given import as_builder
from distml.train.modules.of_keras import KerasNetwork
from distml.train.residual import Residual
from distml.train.shape import Shape
from distml.train.wiring import Wired

__all__ = ["build_network", "check_strategy", "try_out"]


def build_network(module: Any, shape: Shape, scales: Mapping[Any, Any]) -> nn.Module:
    """A module with its standardisation; one that has no label gives what it leaves of its input.

    Raises:
        UserError: the module does not suit the data.
    """
    network = Wired(as_builder(module)(shape), shape, scales)
    if shape.num_outputs:
        return network
    return Residual(network)


def check_strategy(network: nn.Module, strategy: str) -> None:
    """Refuse to cut a network into parts that holds its weights elsewhere, too.

    Raises:
        UserError: it does.
    """
    if strategy == "fsdp" and any(isinstance(part, KerasNetwork) for part in network.modules()):
        raise UserError("strategy='fsdp': a network of Keras has its weights whole; use 'ddp'")


def try_out(
    network: nn.Module,
    sample: Mapping[str, torch.Tensor],
    call: Callable[[Mapping[str, torch.Tensor]], torch.Tensor] | None = None,
    *,
    counts: bool = True,
) -> float:
    """Find out what does not fit before anything is started.

    Args:
        network: the network.
        sample: a few rows.
        call: what is asked of it; `None`: its `forward`.
        counts: whether operations are counted, for which torch loads its compiler: a second.

    Returns:
        Floating-point operations that the forward pass takes for a row; infinite if not counted.

    Raises:
        UserError: the network cannot take the rows, or gives something else than is asked for.
    """
    network.eval()
    counter = FlopCounterMode(display=False) if counts else None
    with torch.no_grad(), counter or contextlib.nullcontext():
        try:
            (call or network)(sample)
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise UserError(
                f"module: it cannot take the data ({said}); change its sizes"
            ) from error
    if counter is None:
        return math.inf
    return counter.get_total_flops() / max(len(next(iter(sample.values()))), 1)
