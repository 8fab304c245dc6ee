"""Whatever a user gives as `module`, as one thing: a function from a shape to a module.

Taken are our own descriptions, modules of any kind (copied, so that fitting twice begins twice from
the same weights), and classes or functions that make one, which are given what they ask for by
name: `num_features`, `num_outputs`, `shape`. Networks of Keras are modules, too.
"""

import copy
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from distml.errors import UserError
from distml.train.modules.of_keras import as_module, build_by_itself
from distml.train.modules.spec import Spec
from distml.train.shape import Shape

__all__ = ["as_builder", "name_of"]

_KNOWN = ("num_features", "num_outputs", "shape")


def as_builder(module: Any) -> Callable[[Shape], nn.Module]:
    """A picklable function that makes the module for data of a shape.

    Args:
        module: a `Spec`, an `nn.Module`, or a class or function that makes one.

    Raises:
        UserError: it is none of these; also when called, if what it makes is no module, or if it
            asks for other things.
    """
    if isinstance(module, Spec):
        return module.build
    if isinstance(module, nn.Module):
        return partial(_copied, module)
    if callable(module):
        return partial(_made, module)
    raise UserError(
        f"module={module!r} is no network; give MLP(...) or another of distml's, a torch module, "
        "or a function that makes one"
    )


def name_of(module: Any) -> str:
    """What to call it in a message."""
    return str(getattr(module, "__name__", type(module).__name__))


def _copied(module: nn.Module, shape: Shape) -> nn.Module:
    copied: nn.Module = build_by_itself(lambda: as_module(copy.deepcopy(module), shape))
    return copied


def _made(factory: Callable[..., Any], shape: Shape) -> nn.Module:
    arguments = _arguments(factory, shape)
    module = build_by_itself(lambda: as_module(factory(**arguments), shape))
    if not isinstance(module, nn.Module):
        raise UserError(
            f"module={name_of(factory)} made a {type(module).__name__}; it has to return an "
            "nn.Module"
        )
    return module


def _arguments(factory: Callable[..., Any], shape: Shape) -> dict[str, Any]:
    """What the factory asks for by name.

    Raises:
        UserError: it cannot do without something else.
    """
    wanted = inspect.signature(factory).parameters.values()
    named = [p for p in wanted if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for parameter in named:
        needed = parameter.default is parameter.empty
        if needed and (parameter.name not in _KNOWN or parameter.kind is parameter.POSITIONAL_ONLY):
            raise UserError(
                f"module={name_of(factory)} asks for {parameter.name!r}, of which nothing is "
                f"known; let it take any of {', '.join(_KNOWN)}, or give a module that is made"
            )
    return {p.name: _value(p.name, factory, shape) for p in named if p.name in _KNOWN}


def _value(name: str, factory: Callable[..., Any], shape: Shape) -> Any:
    if name != "num_features":
        return {"num_outputs": shape.num_outputs, "shape": shape}[name]
    if len(shape.fields) > 1:
        raise UserError(
            f"module={name_of(factory)} asks for num_features, but the data has "
            f"{' and '.join(shape.kinds)}; let it take shape, and size its layers by "
            "shape['numbers'].size and so on"
        )
    field = shape.fields[0]
    return field.num_values[0] if field.kind == "tokens" else math.prod(field.size)
