"""A training in this process: without Ray, or as one unit on a worker of an ensemble.

The one decision: a signal that would end this process is held back until the batch under way is
done, so that what is left behind is a whole checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from distml.runs.events import emit
from distml.signals import Held, held
from distml.train.batch import Part
from distml.train.context import StoppedError, Train
from distml.train.heap import kept_heap
from distml.train.parallel import Parallel, choose_device
from distml.train.position import Best
from distml.train.setup import Setup

__all__ = ["run_here"]


class _Here:
    """The channel of a training whose driver is this process."""

    def __init__(self, signals: Held) -> None:
        self._signals = signals

    def emit(self, kind: str, **fields: Any) -> None:
        """Report to the run, if there is one."""
        emit(kind, **fields)

    def must_stop(self) -> bool:
        """Whether a signal has come."""
        return self._signals.has_come

    def must_save(self) -> bool:
        """Nobody takes this process's machine away with a notice."""
        return False


@contextmanager
def _threads(setup: Setup) -> Iterator[None]:
    """Compute on as many threads as are worth it, and put torch's own number back."""
    before = torch.get_num_threads()
    wanted = setup.workers.cpus_per_worker or (1 if setup.is_light else before)
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Leave torch's generators to the user as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def run_here(
    body: Callable[[Train, Any], Any], work: Any, setup: Setup, parts: Mapping[str, Part]
) -> Any:
    """Run a training loop in this process.

    Args:
        body: the loop: `body(train, work)`.
        work: what it is given.
        setup: how it is carried out.
        parts: rows by name.

    Returns:
        What the loop returns.

    Raises:
        KeyboardInterrupt: a signal came; if checkpoints are kept there is one of the last batch.
        Exception: whatever the loop raises.
    """
    device = choose_device(setup.workers.gpus_per_worker)
    with held() as signals, _threads(setup), _own_randomness(device), kept_heap():
        train = Train(
            parts=parts,
            seed=setup.seed,
            parallel=Parallel(
                device=device,
                strategy=setup.strategy,
                precision=setup.precision,
                compile=setup.compile,
            ),
            channel=_Here(signals),
            checkpoints=setup.checkpoints,
            checkpoint_every_s=setup.checkpoint_every_s,
            best=Best(**setup.best()),
        )
        try:
            return body(train, work)
        except StoppedError as error:
            raise KeyboardInterrupt(str(error)) from error
        finally:
            train.close()
