"""Batches on the device they are used on, ready when they are asked for.

The one decision: on a CPU nothing is done ahead, since a thread would only take time from the step.
For a GPU, rows that take little of its memory are put there whole, once; others are gathered and
pinned by a thread while the step before is computed.
"""

import queue
import threading
from collections.abc import Iterator

import torch

from distml.train.batch import Batch, Batches, MemoryPart, Part

__all__ = ["on_device"]

_RESIDENT_SHARE = 0.25
"""Of a GPU's free memory, what rows may take to be put there whole."""
_AHEAD = 3
"""Batches that wait for the GPU."""


def on_device(part: Part, wanted: Batches, device: torch.device) -> Iterator[Batch]:
    """The batches of a part on a device.

    Args:
        part: where they come from.
        wanted: which.
        device: where to.

    Yields:
        Batches in their order.

    Raises:
        Exception: whatever reading them raises.
    """
    if device.type == "cpu":
        yield from part.batches(wanted)
        return
    if isinstance(part, MemoryPart):
        free, _ = torch.cuda.mem_get_info(device)
        if part.is_on(device) or part.nbytes < _RESIDENT_SHARE * free:
            yield from part.to(device).batches(wanted)
            return
    yield from _copied(_ahead(part.batches(wanted)), device)


def _copied(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    for batch in batches:
        for name, tensor in batch.items():
            batch[name] = tensor.to(device, non_blocking=True)
        yield batch


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Gather and pin in a thread; it ends when the consumer does."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
    closed = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                for name, tensor in batch.items():
                    batch[name] = tensor.pin_memory()
                put(batch)
                if closed.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="distml-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        thread.join()
