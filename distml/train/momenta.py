"""An optimizer's state by the names of the weights, as torch's sharded one has it.

The one decision: torch counts the weights of an optimizer, which means nothing once another number
of them learns or their layers are sharded; a name means the same everywhere.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["begin_with_momenta", "check_kind", "load_momenta", "momenta"]


def momenta(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer, by the names of the bare model's weights.

    Returns:
        `kind` (the optimizer's class), `state` by name, `param_groups` with names. An optimizer of
        other weights as well has them numbered, as torch has.
    """
    own = optimizer.state_dict()
    names = _names(model, optimizer)
    if names is None:
        return {"kind": type(optimizer).__name__, **own}
    groups = [
        {**group, "params": [names[number] for number in group["params"]]}
        for group in own["param_groups"]
    ]
    state = {names[number]: value for number, value in own["state"].items()}
    return {"kind": type(optimizer).__name__, "state": state, "param_groups": groups}


def load_momenta(
    model: nn.Module, optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]
) -> None:
    """Undo `momenta`.

    Raises:
        ValueError: it is the state of another optimizer, or of other weights.
    """
    check_kind(optimizer, kept)
    names = _names(model, optimizer)
    state, groups = kept["state"], kept["param_groups"]
    if names is not None:
        numbers = {name: number for number, name in enumerate(names)}
        here = [[names[i] for i in g["params"]] for g in optimizer.state_dict()["param_groups"]]
        if [group["params"] for group in groups] != here:
            raise ValueError("the optimizer had other weights or other groups of them")
        groups = [{**g, "params": [numbers[name] for name in g["params"]]} for g in groups]
        state = {numbers[name]: value for name, value in state.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def check_kind(optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
    """Refuse the state of an optimizer of another kind.

    Raises:
        ValueError: it is.
    """
    if kept["kind"] != type(optimizer).__name__:
        raise ValueError(f"the optimizer was {kept['kind']} and is {type(optimizer).__name__}")


def begin_with_momenta(
    fresh: Mapping[str, Any], former: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The state with which a new optimizer goes on where a former one was.

    Rates and groups are the new one's; of the former, what it knew of weights that still learn.

    Args:
        fresh: what `momenta` says of the new optimizer.
        former: what it said of the former.

    Returns:
        What to load; `None` if the former was of another kind.
    """
    if fresh["kind"] != former["kind"]:
        return None
    names = {name for group in fresh["param_groups"] for name in group["params"]}
    known = {name: value for name, value in former["state"].items() if name in names}
    return {**fresh, "state": {**fresh["state"], **known}}


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str] | None:
    """The name of each weight of the optimizer, in its order; `None` if some are not the model's.

    Where a weight has several names it is the first of them.
    """
    known = {id(weight): name for name, weight in model.named_parameters()}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    names = [known.get(id(weight)) for weight in weights]
    return None if None in names else [name for name in names if name is not None]
