"""A loop of the user's own: checked before it is called, called on each worker, blamed by place.

The one decision: what it raises ends the run at once and is said with the line of the user's file;
only what means that another worker is gone is passed on, since there a worker was lost and not a
mistake made. A function of a job file goes to other processes by value, as the job file itself can
be imported nowhere.
"""

import difflib
import inspect
import traceback
from bdb import BdbQuit
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from distml.errors import DistmlError, UserError
from distml.train.context import StoppedError, Train
from distml.train.memory import peak_bytes
from distml.train.residual import Residual
from distml.train.shape import Kind, Scale, Shape
from distml.train.telling import device_name
from distml.train.wiring import Wired, describe
from distml.train.workers import misses_a_peer

__all__ = ["Call", "Course", "LoopError", "call", "check_call", "name_of_loop"]


class LoopError(DistmlError):
    """A user's loop raised; the message says where. Its cause is what was raised."""

    def __reduce__(self) -> tuple[Any, ...]:
        # No traceback leaves its process, so it is taken along as text.
        notes = list(getattr(self, "__notes__", ()))
        if self.__cause__ is not None:
            notes.append("".join(traceback.format_exception(self.__cause__)))
        return LoopError, self.args, {"__notes__": notes}


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What each worker is given."""

    function: Callable[..., Any]
    """The loop."""
    params: Mapping[str, Any]
    """What it takes beside the `Train`."""
    shape: Shape
    classes: npt.NDArray[Any] | None
    scales: Mapping[Kind, Scale]


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How a loop went."""

    history: list[dict[str, float]]
    """The metrics of each report."""
    epochs: int
    """Epochs done."""
    steps: int
    """Batches of `train` taken in all epochs."""
    num_workers: int
    """Workers at its end."""
    best_step: int | None
    """Of the report with the best value of the watched metric; `None` if no report has it."""
    module: str | None
    """Kind of the network that was kept, the first of several."""
    layers: list[dict[str, Any]]
    """Layers of all networks that were kept; see `describe`."""
    device: str
    """What the first worker computed on."""
    peak_bytes: list[int]
    """Memory that each worker held at its peak."""
    peak_gpu_bytes: int
    """The most GPU memory that the first one held."""


def name_of_loop(function: Any) -> str:
    """What to call a loop."""
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def check_call(function: Any, params: Mapping[str, Any]) -> None:
    """Refuse a function that cannot be called with a `Train` and the parameters.

    Raises:
        UserError: it cannot; the message names the parameter and the nearest there is.
    """
    name = name_of_loop(function)
    if not callable(function):
        raise UserError(f"Loop: {function!r} is no function; give one that takes (train, ...)")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UserError(f"Loop: {name} is no plain function; let it neither yield nor be async")
    try:
        first, *rest = inspect.signature(function).parameters.values()
    except ValueError:
        first, rest = None, []
    if first is None or first.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        raise UserError(f"Loop: {name}() takes no argument; its first has to be the distml.Train")
    _check_names(name, first, rest, params)


def _check_names(
    name: str, first: Parameter, rest: list[Parameter], params: Mapping[str, Any]
) -> None:
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    known = [p.name for p in rest if p.kind in named]
    takes_all = any(p.kind is Parameter.VAR_KEYWORD for p in rest)
    for given in params:
        if given == first.name:
            raise UserError(f"params: {given!r} is what {name}() is given itself; leave it out")
        if given not in known and not takes_all:
            near = difflib.get_close_matches(given, known, n=1)
            there = f"it takes {', '.join(known)}" if known else "it takes none"
            hint = f"did you mean {near[0]!r}?" if near else there
            raise UserError(f"params: {name}() has no parameter {given!r}; {hint}")
    needed = [p.name for p in rest if p.kind in named and p.default is Parameter.empty]
    missing = [each for each in needed if each not in params]
    if missing:
        raise UserError(
            f"params: {name}() needs {missing[0]!r}; give params={{{missing[0]!r}: ...}}"
        )


def call(train: Train, work: Call) -> Course:
    """Call the loop on one worker, and keep its last checkpoint.

    Args:
        train: batches, workers and checkpoints.
        work: what to call.

    Raises:
        LoopError: the loop raised.
        DistmlError: distml did, by what the loop asked it for.
        StoppedError: it was asked to stop; a checkpoint has been left.
    """
    train.shape, train.classes, train.scales = work.shape, work.classes, work.scales
    # On all workers alike: the weights that a loop draws have to be the same.
    torch.manual_seed(train.seed)
    try:
        work.function(train, **work.params)
    except (DistmlError, StoppedError, BdbQuit):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and train.world_size > 1 and misses_a_peer(error):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        where, name = _place(error, work.function), name_of_loop(work.function)
        raise LoopError(f"{where}{name}() raised {said}") from error
    train.save(wait=True)
    return _course(train)


def _course(train: Train) -> Course:
    networks = {name: _unwired(model) for name, model in train.kept.networks().items()}
    several = len(networks) > 1
    cuda = train.device.type == "cuda"
    return Course(
        history=train.history,
        epochs=train.position.epoch,
        steps=train.position.step,
        num_workers=train.world_size,
        best_step=train.best.step,
        module=next((type(model).__name__ for model in networks.values()), None),
        layers=[
            {**layer, "name": ".".join(filter(None, (name if several else "", layer["name"])))}
            for name, model in networks.items()
            for layer in describe(model)
            if layer["parameters"]
        ],
        device=device_name(train.device),
        peak_bytes=peak_bytes(train),
        peak_gpu_bytes=torch.cuda.max_memory_allocated() if cuda else 0,
    )


def _unwired(model: nn.Module) -> nn.Module:
    """The module that `Train.network` was given or made."""
    while isinstance(model, Wired | Residual):
        model = model.module
    return model


def _place(error: BaseException, function: Any) -> str:
    """The last line of the loop's own file that the error went through."""
    code = getattr(inspect.unwrap(getattr(function, "func", function)), "__code__", None)
    own = None if code is None else code.co_filename
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == own]
    return f"{own}:{lines[-1]}: " if lines else ""
