"""Optimizers and schedules by name, and which weights learn how fast.

The one decision: names are torch's and go by one literal table each; whoever wants another gives a
function instead. A pattern is a regular expression that is searched in the weights' names; one that
finds nothing is refused, because a typing error would otherwise train what was to be kept.
"""

import bisect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import lr_scheduler

from distml.errors import UserError

__all__ = ["freeze_weights", "make_optimizer", "make_scheduler", "set_to_train", "weight_groups"]

_OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": lambda groups, **options: torch.optim.SGD(
        groups, momentum=0.9, nesterov=True, **options
    ),
}
_FUSED = {"adam", "adamw"}

Schedule = Callable[[float], float]
"""Share of all steps that are done → factor of the learning rate."""

_SCHEDULES: Mapping[str, Schedule] = {
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))),
    "linear": lambda done: max(0.0, 1.0 - done),
    "onecycle": lambda done: (
        0.04 + 0.96 * done / 0.3
        if done < 0.3
        else 0.5 * (1.0 + math.cos(math.pi * min((done - 0.3) / 0.7, 1.0)))
    ),
}


def make_optimizer(
    optimizer: str | Callable[..., torch.optim.Optimizer],
    groups: Sequence[dict[str, Any]],
    *,
    lr: float,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """An optimizer over groups of weights.

    Args:
        optimizer: `adam`, `adamw`, `sgd` (Nesterov, momentum 0.9), `rmsprop`; or a function of the
            groups, `lr` and `weight_decay`, such as an optimizer's class.
        groups: see `weight_groups`.
        lr: learning rate.
        weight_decay: decay of the weights, as the optimizer means it.

    Raises:
        UserError: an unknown name.
    """
    if callable(optimizer):
        return optimizer(groups, lr=lr, weight_decay=weight_decay)
    if optimizer not in _OPTIMIZERS:
        known = ", ".join(_OPTIMIZERS)
        raise UserError(f"optimizer={optimizer!r} is none of {known}; or give an optimizer's class")
    # One kernel instead of one for each weight; it takes plain tensors only.
    fused = {"fused": True} if optimizer in _FUSED and _are_plain(groups) else {}
    return _OPTIMIZERS[optimizer](groups, lr=lr, weight_decay=weight_decay, **fused)


def make_scheduler(
    scheduler: str | Callable[..., lr_scheduler.LRScheduler] | None,
    optimizer: torch.optim.Optimizer,
    *,
    total_steps: int,
    warmup: float = 0.0,
    cycle_ends: Sequence[int] = (),
) -> Any:
    """A schedule of the learning rate that takes a step after each of the optimizer.

    Args:
        scheduler: `None` (constant), `cosine`, `linear` (both down to 0), `onecycle` (Smith & Topin
            2019); or a function of the optimizer and the number of steps.
        optimizer: whose rate it is.
        total_steps: steps of the whole training.
        warmup: share of the steps in which the rate rises from 0 first.
        cycle_ends: epochs after which the schedule begins anew, ascending, the last one included;
            a function of the user's begins anew by itself.

    Raises:
        UserError: an unknown name.
    """
    if callable(scheduler):
        return scheduler(optimizer, total_steps)
    if scheduler is None and not warmup:
        return Constant()
    if scheduler is not None and scheduler not in _SCHEDULES:
        known = ", ".join(_SCHEDULES)
        raise UserError(f"scheduler={scheduler!r} is none of {known}; or give a function")
    shape = _SCHEDULES[scheduler] if scheduler else _constant
    warm = int(warmup * total_steps)
    ends = [total_steps * end // cycle_ends[-1] for end in cycle_ends] or [total_steps]

    # A function, of which the schedule's state keeps nothing.
    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        cycle = min(bisect.bisect_right(ends, step), len(ends) - 1)
        begin = max(ends[cycle - 1], warm) if cycle else warm
        return shape((step - begin) / max(ends[cycle] - begin, 1))

    return lr_scheduler.LambdaLR(optimizer, factor)


class Constant:
    """A schedule that costs nothing: the rate stays."""

    def __init__(self) -> None:
        self.base_lrs: list[float] = []

    def step(self) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to take."""


def _constant(done: float) -> float:
    return 1.0


def freeze_weights(model: nn.Module, patterns: str | Sequence[str] | None) -> list[str]:
    """Stop weights from learning.

    Args:
        model: the network.
        patterns: a regular expression or several, searched in the weights' names.

    Returns:
        The names of those frozen.

    Raises:
        UserError: a pattern finds nothing, or nothing is left to learn.
    """
    patterns = [patterns] if isinstance(patterns, str) else patterns or ()
    frozen = []
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        found = [name for name in names if _search(pattern, name)]
        if not found:
            raise UserError(
                f"freeze: {pattern!r} matches none of the weights; there is {_some(names)}"
            )
        frozen += found
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    if names and not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"freeze: {list(patterns)} freezes all weights; leave some to learn")
    return frozen


def set_to_train(model: nn.Module) -> None:
    """Set a network to training, but for what is frozen of it.

    A layer that normalises by batches learns its running statistics without a gradient; where all
    its weights are frozen, it keeps the statistics too, and normalises by them.

    Args:
        model: the network, with or without its wrapper.
    """
    model.train()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            own = list(layer.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                layer.eval()


def weight_groups(
    model: nn.Module, lr: float, factors: Mapping[str, float] | None
) -> list[dict[str, Any]]:
    """The weights that learn, in groups of one learning rate each.

    Args:
        model: the network.
        lr: learning rate.
        factors: regular expression → factor of the learning rate; the first that is found in a
            weight's name decides.

    Raises:
        UserError: a pattern finds nothing.
    """
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups: dict[float, list[nn.Parameter]] = {}
    used = set()
    for name, parameter in learning:
        pattern = next((p for p in factors or {} if _search(p, name)), None)
        used.add(pattern)
        factor = 1.0 if pattern is None or factors is None else factors[pattern]
        groups.setdefault(factor, []).append(parameter)
    for pattern in factors or {}:
        if pattern not in used:
            names = [name for name, _ in learning]
            raise UserError(
                f"lr_factors: {pattern!r} matches none of the weights; there is {_some(names)}"
            )
    return [{"params": params, "lr": lr * factor} for factor, params in groups.items()]


def _search(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise UserError(f"{pattern!r} is no regular expression ({error}); mend it") from error


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _are_plain(groups: Sequence[dict[str, Any]]) -> bool:
    return all(type(p.data) is torch.Tensor for group in groups for p in group["params"])
