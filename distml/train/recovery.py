"""A training carried to its end through what can be mended on the way.

The one decision: what ends an attempt is one of four things, each counted by itself. Lost workers
are replaced, so many times; a node that is taken away with notice is no failure; too little memory
halves the micro-batch, which changes no result; everything else is the user's and is raised. Each
new attempt goes on from the last checkpoint.
"""

import gc
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch

from distml import session
from distml.rehearsal import is_rehearsal
from distml.runs.display import shown
from distml.runs.events import emit
from distml.train.batch import Part
from distml.train.context import Train
from distml.train.here import run_here
from distml.train.setup import Setup
from distml.train.training import DivergedError
from distml.train.workers import NodeTakenError, WorkersLostError, run_on_workers

__all__ = ["Counters", "Work", "carry_out"]

_LOG = logging.getLogger(__name__)

_MOST_SPLITS = 1024


class Work(Protocol):
    """What a loop is given, if it can be given again in a form that asks for less."""

    def with_less_memory(self) -> Self | None:
        """The same in smaller micro-batches; `None` if they cannot be smaller."""

    def with_lower_rate(self) -> Self | None:
        """The same with a lower learning rate, once; `None` if that is not wanted."""


@dataclass(kw_only=True)
class Counters:
    """What went wrong on the way and was mended."""

    lost: int = 0
    """Attempts that ended because workers died."""
    preempted: int = 0
    """Attempts that ended because a node was taken away with notice."""
    out_of_memory: int = 0
    """Attempts that ended for want of memory."""
    rolled_back: int = 0
    """Attempts that diverged and were begun again from before."""


def carry_out(
    body: Callable[[Train, Any], Any], work: Any, setup: Setup, parts: Mapping[str, Part]
) -> tuple[Any, Counters]:
    """Run a training loop where its setup says, until it is done or cannot be.

    Args:
        body: the loop: `body(train, work)`, a function of a module if it runs on workers.
        work: what it is given.
        setup: how it is carried out.
        parts: rows by name.

    Returns:
        What the loop returns (on workers: that of worker 0), and what was mended.

    Raises:
        UserError: the resources are not there, or the loop says so.
        DivergedError: the loss is not finite any more.
        KeyboardInterrupt: a signal came.
        Exception: whatever else the loop raises.
    """
    # In a script there is nobody else to hear of it; workers tell their driver.
    with nullcontext() if session.is_inline() else shown():
        return _carried_out(body, work, setup, parts)


def _carried_out(
    body: Callable[[Train, Any], Any], work: Any, setup: Setup, parts: Mapping[str, Part]
) -> tuple[Any, Counters]:
    counters = Counters()
    while True:
        try:
            return _run(body, work, setup, parts), counters
        except torch.OutOfMemoryError as error:
            counters.out_of_memory += 1
            work = _or_raise(_changed(work, "with_less_memory"), error)
            _say(f"out of GPU memory: going on with micro-batches of half the size ({counters})")
        except DivergedError as error:
            counters.rolled_back += 1
            work = _or_raise(_changed(work, "with_lower_rate"), error)
            where = "from the beginning" if setup.checkpoints is None else "from there"
            _say(f"{error}; going on {where} with a tenth of the rate")
        except NodeTakenError as error:
            counters.preempted += 1
            _say(f"{error}; going on from the last checkpoint ({counters})")
        except WorkersLostError as error:
            counters.lost += 1
            if counters.lost > setup.max_failures:
                raise
            _say(f"{error}; going on from the last checkpoint ({counters})")
        # Only here, behind the error, is nothing left that holds the network.
        _free_memory()


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _run(body: Any, work: Any, setup: Setup, parts: Mapping[str, Part]) -> Any:
    # In this process the batches are the same, so a breakpoint sees what a worker would.
    spread = setup.workers.need_train and not session.is_in_process()
    spread = spread or _gpu_is_elsewhere(setup)
    run = run_on_workers if spread else run_here
    return run(body, work, setup, parts)


def _gpu_is_elsewhere(setup: Setup) -> bool:
    """Whether one worker asks for a GPU where there is none: a cluster's head often has none."""
    asks = setup.workers.range[1] == 1 and bool(setup.workers.gpus_per_worker)
    there = torch.cuda.is_available() or is_rehearsal()
    return asks and not there and session.is_joined() and not session.is_inline()


def _changed(work: Any, how: str) -> Any:
    change = getattr(work, how, None)
    return None if change is None else change()


def _or_raise(work: Any, error: Exception) -> Any:
    if work is None:
        raise error
    return work


def _say(message: str) -> None:
    _LOG.warning("%s", message)
    emit("log", message=message)
