"""A module with what stands before it: standardisation, and how its `forward` is called.

One decision: numbers are standardised inside the network, in each batch, so that the matrix is
never copied and the weights that are saved include what they need to predict. Missing numbers
become 0, the mean; bytes become 0 to 1. Refused: a `forward` that cannot be called with the fields
there are, and outputs that are not one column for each class or target.
"""

import inspect
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

import numpy as np
import torch
from torch import nn

from distml.errors import UserError
from distml.train.rows import LENGTHS
from distml.train.shape import Kind, Scale, Shape

__all__ = ["Wired", "describe"]


class Wired(nn.Module):
    """From a batch to outputs.

    A module whose `forward` names the kinds (`numbers`, `categories`, ...) or takes `**fields` is
    called by keyword; otherwise it is given the one field there is, as its first argument. It gets
    `lengths` if it names them.

    Args:
        module: the network itself.
        shape: what the data looks like.
        scales: kind → what to standardise it by.

    Raises:
        UserError: the module's `forward` cannot be called with the fields there are.
    """

    def __init__(
        self, module: nn.Module, shape: Shape, scales: Mapping[Kind, Scale] | None = None
    ) -> None:
        super().__init__()
        self.module = module
        self.shape = shape
        self._by_keyword, self._takes_lengths = _convention(module, shape)
        self._scaled = [kind for kind in scales or () if kind in shape]
        for kind in self._scaled:
            scale = (scales or {})[kind]
            if kind == "numbers" and getattr(module, "shares_scale", False):
                scale = scale.pooled()
            self.register_buffer(f"{kind}_mean", _float32(scale.mean))
            self.register_buffer(f"{kind}_factor", _float32(1.0 / scale.std))

    def prepare(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The fields as the module gets them, with `lengths` if there are any.

        Args:
            batch: name → tensor of shape (B, ...); what is no field of the shape is left out.
        """
        fields: dict[str, torch.Tensor] = {
            kind: self._scale(kind, batch[kind]) for kind in self.shape.kinds
        }
        return {**fields, LENGTHS: batch[LENGTHS]} if LENGTHS in batch else fields

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Outputs of shape (B, num_outputs); the input's own shape if there is no label.

        Raises:
            UserError: the module gives another number of columns.
        """
        outputs = self.call(self.prepare(batch))
        wanted = self.shape.num_outputs
        if not wanted:
            return outputs
        if wanted == 1 and isinstance(outputs, torch.Tensor) and outputs.ndim == 1:
            return outputs[:, None]
        if not isinstance(outputs, torch.Tensor) or tuple(outputs.shape[1:]) != (wanted,):
            raise UserError(self._wrong(outputs))
        return outputs

    def call(self, fields: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What the module says of fields that `prepare` gave."""
        lengths = {LENGTHS: fields[LENGTHS]} if self._takes_lengths and LENGTHS in fields else {}
        named = {kind: fields[kind] for kind in self.shape.kinds}
        if self._by_keyword:
            return self.module(**named, **lengths)
        return self.module(*named.values(), **lengths)

    def _scale(self, kind: Kind, values: torch.Tensor) -> torch.Tensor:
        if values.dtype == torch.uint8:
            return values.to(torch.float32).div_(255)
        if kind not in self._scaled:
            return values
        mean, factor = getattr(self, f"{kind}_mean"), getattr(self, f"{kind}_factor")
        return torch.nan_to_num(torch.sub(values, mean).mul_(factor), nan=0.0)

    def _wrong(self, outputs: Any) -> str:
        name, wanted = type(self.module).__name__, self.shape.num_outputs
        if not isinstance(outputs, torch.Tensor):
            return f"{name} gives a {type(outputs).__name__}; its forward has to return a tensor"
        size = ", ".join(["B", *map(str, outputs.shape[1:])])
        return (
            f"{name} gives outputs of shape ({size}), but the label has {wanted} classes or "
            f"targets; make its last layer {wanted} wide"
        )


def describe(module: nn.Module) -> list[dict[str, Any]]:
    """The layers of a module and how many parameters each has itself.

    Returns:
        For each layer `name`, `kind` (its class) and `parameters`; these add up to all there are.
    """
    layers, seen = [], set[int]()
    for name, layer in module.named_modules():
        own = [p for p in layer.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(parameter) for parameter in own)
        if own or not any(layer.children()):
            size = sum(parameter.numel() for parameter in own)
            layers.append({"name": name, "kind": type(layer).__name__, "parameters": size})
    return layers


def _convention(module: nn.Module, shape: Shape) -> tuple[bool, bool]:
    """Whether to call by keyword, and whether with lengths.

    Raises:
        UserError: neither way will do.
    """
    parameters = inspect.signature(module.forward).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    # Keras takes (*args, **kwargs) and means one positional argument.
    anything = Parameter.VAR_KEYWORD in kinds and Parameter.VAR_POSITIONAL not in kinds
    by_keyword = anything or set(shape.kinds) <= parameters.keys()
    given = {*shape.kinds, LENGTHS} if by_keyword else {next(iter(parameters), ""), LENGTHS}
    missing = [name for name, p in parameters.items() if _is_needed(p) and name not in given]
    if missing or (not by_keyword and len(shape.fields) > 1):
        raise UserError(
            f"the data has {' and '.join(shape.kinds)}, but the forward of "
            f"{type(module).__name__} takes ({', '.join(parameters)}); let it take "
            f"({', '.join(shape.kinds)})"
        )
    return by_keyword, anything or LENGTHS in parameters


def _is_needed(parameter: Parameter) -> bool:
    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameter.default is Parameter.empty and parameter.kind not in variable


def _float32(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
