"""What a network says of rows, by batches that any device has room for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from distml.train.rows import Rows

__all__ = ["outputs_of"]

_ROWS = 8192


def outputs_of(
    network: nn.Module,
    blocks: Iterable[Rows],
    device: torch.device,
    call: Callable[[Any, Mapping[str, torch.Tensor]], torch.Tensor] | None = None,
) -> npt.NDArray[Any]:
    """Ask a network about rows.

    Args:
        network: on the device, in evaluation mode.
        blocks: rows, one block after another.
        device: where to ask.
        call: what to ask of the network and a batch; `None`: its forward pass.

    Returns:
        float32 array of shape (num_rows, ...).
    """
    found = []
    with torch.inference_mode():
        for rows in blocks:
            for start in range(0, rows.num_rows, _ROWS):
                batch = rows.take(slice(start, start + _ROWS))
                there = {name: tensor.to(device) for name, tensor in batch.items()}
                outputs = network(there) if call is None else call(network, there)
                found.append(outputs.float().cpu().numpy())
    return np.concatenate(found)
