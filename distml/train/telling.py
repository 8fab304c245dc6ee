"""What a training says of itself while it goes: that it begins, where it stands, that it is over.

The one decision: only the first worker speaks, about once a second and later less often, so that
whoever looks sees it move and the log of a long run stays small.
"""

import time

import torch

from distml.train.context import Train
from distml.train.memory import peak_bytes

__all__ = ["Telling", "device_name"]

_EVERY_S = 1.0
_PART = 1 / 1000
"""Of the time so far: a training of hours is told of in thousands of lines, not in tens of them."""


class Telling:
    """Speaks for a training.

    Args:
        train: the side of this worker.
    """

    def __init__(self, train: Train) -> None:
        self._train = train
        self._speaks = train.rank == 0
        self._begun_at = time.monotonic()
        self._next_at = self._begun_at + _EVERY_S
        self.peak_bytes: list[int] = []
        """What each worker held at its peak, once it is over."""

    def start(self, *, epochs: int, steps: int, batch_size: int, may_stop: bool) -> None:
        """Say that it begins, or goes on from a checkpoint.

        Args:
            epochs: how many there will be at most.
            steps: how many there will be at most.
            batch_size: rows of a step, over all workers.
            may_stop: whether it may end before.
        """
        if not self._speaks:
            return
        train = self._train
        train.channel.emit(
            "training_started",
            epochs=epochs,
            steps=steps,
            epoch=train.position.epoch,
            step=train.position.step,
            batch_size=batch_size,
            may_stop=may_stop,
            num_workers=train.world_size if train.world_size > 1 else 0,
            device=device_name(train.device),
            precision=train.parallel.precision,
        )

    def step(self, loss: float, rows: float, seconds: float) -> None:
        """Say where it stands, if it is time to.

        Args:
            loss: sum over rows of this epoch.
            rows: over how many.
            seconds: what they took.
        """
        now = time.monotonic()
        if not self._speaks or now < self._next_at:
            return
        self._next_at = now + max(_EVERY_S, _PART * (now - self._begun_at))
        device, position = self._train.device, self._train.position
        cuda = device.type == "cuda"
        self._train.channel.emit(
            "step",
            epoch=position.epoch,
            step=position.step,
            loss=loss / rows if rows else None,
            rows_per_s=rows / seconds if rows and seconds else None,
            gpu_bytes=torch.cuda.memory_reserved(device) if cuda else None,
        )

    def done(self) -> None:
        """Say that it is over, and what memory it took. All workers call it."""
        self.peak_bytes = peak_bytes(self._train)
        if self._speaks:
            step = self._train.position.step
            self._train.channel.emit("training_done", step=step, peak_bytes=self.peak_bytes)


def device_name(device: torch.device) -> str:
    """What to call a device: `cpu`, or the model of the GPU."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else device.type
