"""What a training loop may call: its batches, its epochs, its reports, and where it goes on.

The one decision: the position of a training (epoch, batch, step) moves with the batches that are
taken, so every state that is kept says how far it is, a loop is resumed in the middle of an epoch
without a line of its own, and stops only between two batches, when its state is whole.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from distml.errors import UserError
from distml.train.batch import Batch, Batches, Part
from distml.train.checkpoint import Checkpoints, Writer
from distml.train.kept import Kept
from distml.train.known import Known
from distml.train.parallel import Parallel
from distml.train.position import Best, Position
from distml.train.prefetch import on_device

__all__ = ["Channel", "StoppedError", "Train"]

_ASK_EVERY_S = 1.0
"""Seconds between two questions whether a node will be taken away."""
_MOST_UNSEEN = 16
"""Batches, at most, between two looks at what others want; each is a collective."""
_LOOK_EVERY_S = 0.5
"""Seconds between two looks, where batches take so long that fewer pass in them."""


class StoppedError(Exception):
    """The training was asked to stop, and has left a checkpoint."""


class Channel(Protocol):
    """How a worker and those who started it hear of each other. Used by one thread."""

    def emit(self, kind: str, **fields: Any) -> None:
        """Say what happened."""

    def must_stop(self) -> bool:
        """Whether the training shall end at once, with a checkpoint."""

    def must_save(self) -> bool:
        """Whether a checkpoint is needed at once: a node will be taken away. All workers ask."""


@dataclass(kw_only=True)
class Train(Known):
    """One worker's side of a training. A loop is a function whose first argument it is."""

    parts: Mapping[str, Part]
    """Rows by name; the position counts those of `train`."""
    seed: int = 0
    """Everything random comes from it."""
    parallel: Parallel = field(default_factory=lambda: Parallel(device=torch.device("cpu")))
    """Device, wrapper, precision."""
    rank: int = 0
    """Number of this worker; 0 writes checkpoints and reports."""
    channel: Channel
    """Hears reports, and says when to stop."""
    checkpoints: Checkpoints | None = None
    """Where they are kept; `None`: none are."""
    checkpoint_every_s: float = 60.0
    """Seconds between checkpoints in the middle of an epoch; each report makes one, too."""
    best: Best = field(default_factory=Best)
    """Which metric tells the best checkpoint."""
    position: Position = field(default_factory=Position)
    history: list[dict[str, float]] = field(default_factory=list)
    """The metrics of each report so far, those before a resume included."""

    def __post_init__(self) -> None:
        self._kept, self._writer = Kept(self.parallel), Writer()
        self._saved_at = self._asked_at = time.monotonic()
        self._saved = (-1, 0)
        self._looked_at, self._looked_step, self._look_step = time.monotonic(), 0, 0
        self._num_epochs: int | None = None

    @property
    def world_size(self) -> int:
        """Workers."""
        return self.parallel.world_size

    @property
    def device(self) -> torch.device:
        """Where batches are, and the model after `prepare`."""
        return self.parallel.device

    def prepare(self, model: nn.Module) -> nn.Module:
        """Bring a model to this worker's device and spread it over the workers."""
        return self.parallel.wrap(model)

    def resume(self, **kept: Any) -> bool:
        """Name what a checkpoint holds, and go on from the last one if there is one.

        Args:
            **kept: a prepared model, an optimizer, and whatever else has `state_dict` and
                `load_state_dict`, by names of your choice.

        Returns:
            Whether there was a checkpoint.

        Raises:
            UserError: it is of another architecture, or one of these has no state.
        """
        self._kept.add(kept)
        found = None if self.checkpoints is None else self._latest(self.checkpoints)
        if self.checkpoints is None or found is None:
            return False
        state, facts = found
        self._kept.load(state, self.checkpoints.uri)
        self.position = Position(**facts["position"])
        self.best = Best(**facts["best"])
        self.history[:] = facts["history"]
        self._saved = self._progress()
        return True

    @property
    def kept(self) -> Kept:
        """What `resume` and `report` were given."""
        return self._kept

    def epochs(self, num_epochs: int) -> Iterator[int]:
        """The epochs that are still to be done, from where the training stands."""
        self._num_epochs = num_epochs
        while self.position.epoch < num_epochs:
            yield (epoch := self.position.epoch)
            if self.position.epoch == epoch:
                self.position.epoch, self.position.batch = epoch + 1, 0

    def num_batches(self, part: str, batch_size: int, *, drop_last: bool = False) -> int:
        """Global batches in an epoch of a part."""
        return self._part(part).num_batches(Batches(batch_size=batch_size, drop_last=drop_last))

    def batches(
        self,
        part: str = "train",
        *,
        batch_size: int,
        shuffle: bool | None = None,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """This worker's part of each global batch, on its device.

        Which rows a global batch has depends on seed and epoch alone, not on the number of
        workers. Those of `train` go on where a resumed training stood.

        Args:
            part: name of the rows.
            batch_size: rows of a global batch, over all workers.
            shuffle: by default `train` is, other parts are not.
            drop_last: leave out a last batch of fewer rows.

        Yields:
            Batches, each a dict of tensors.

        Raises:
            UserError: there is no such part.
            StoppedError: the training was asked to stop; a checkpoint has been left.
        """
        counts = part == "train"
        wanted = Batches(
            batch_size=batch_size,
            seed=self.seed,
            shuffle=counts if shuffle is None else shuffle,
            drop_last=drop_last,
            epoch=self.position.epoch,
            is_last=self.position.epoch + counts == self._num_epochs,
            start=self.position.batch if counts else 0,
            rank=self.rank,
            world_size=self.world_size,
        )
        for batch in on_device(self._part(part), wanted, self.device):
            if counts:
                # Not after the last one: a loop that goes on there would find no batch to count.
                self._between_batches()
                self._begin_batch()
            yield batch
        if counts:
            self.position.epoch, self.position.batch = self.position.epoch + 1, 0

    def report(self, metrics: Mapping[str, float], **kept: Any) -> None:
        """Say how the training is going, and keep a checkpoint. All workers call it.

        Args:
            metrics: numbers by name; the mean over workers is kept.
            **kept: see `resume`.

        Raises:
            StorageError: the storage of checkpoints is full or refuses.
        """
        self._kept.add(kept)
        self.history.append(means := self.mean(metrics))
        self.best.take(means, self.position.step)
        try:
            if self.rank == 0:
                self.channel.emit("epoch", step=self.position.step, metrics=means)
        finally:
            # Whoever ends the training by what it hears may let it go on from here.
            self.save()

    def mean(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The mean of each number over the workers. All workers call it."""
        sums = self.parallel.sum([float(value) for value in metrics.values()])
        return dict(zip(metrics, (value / self.world_size for value in sums), strict=True))

    def save(self, *, wait: bool = False) -> None:
        """Keep a checkpoint of what `resume` and `report` were given. All workers call it.

        Args:
            wait: return when it is in its place; by default it is written meanwhile.

        Raises:
            StorageError: the storage is full or refuses.
        """
        if self.checkpoints is not None and self._kept and self._progress() != self._saved:
            state = self._kept.state()
            if self.rank == 0:
                facts = {
                    "position": asdict(self.position),
                    "best": asdict(self.best),
                    "best_step": self.best.step,
                    "history": self.history,
                    "world_size": self.world_size,
                }
                self._writer.write(self.checkpoints, self.position.step, state, facts)
            self._saved_at, self._saved = time.monotonic(), self._progress()
        if wait:
            self._writer.wait()

    def close(self) -> None:
        """Let the last checkpoint get to its place, and pass over what is wrong with it."""
        with contextlib.suppress(Exception):
            self._writer.wait()
        for part in self.parts.values():
            part.close()

    def _latest(self, place: Checkpoints) -> tuple[Any, dict[str, Any]] | None:
        """The last checkpoint there is for the first worker, who has written it: for all of them.

        If each looked for itself, one that sees another would wait for ever for the others.
        """
        found = place.latest() if self.rank == 0 else None
        known = 0.0 if found is None else found[1]["step"] + 1.0
        (chosen,) = self.parallel.sum([known])
        return found if self.rank == 0 or not chosen else place.read(int(chosen) - 1)

    def _progress(self) -> tuple[int, int]:
        """What makes a checkpoint another than the last: steps and reports."""
        return self.position.step, len(self.history)

    def _part(self, name: str) -> Part:
        if name not in self.parts:
            raise UserError(f"there is no part {name!r}; there is {', '.join(self.parts)}")
        return self.parts[name]

    def _begin_batch(self) -> None:
        """Count the batch, and fix what is random in it: a resumed step draws as it did before."""
        self.position.batch += 1
        self.position.step += 1
        seed = (self.seed * 1_000_003 + self.position.step) * 65_537 + self.rank
        generator = (
            torch.cuda.default_generators[self.device.index or 0]
            if self.device.type == "cuda"
            else torch.default_generator
        )
        generator.manual_seed(seed % 2**63)

    def _between_batches(self) -> None:
        """Save or stop if somebody wants it; several workers ask each other now and then."""
        if self.world_size > 1 and self.position.step < self._look_step:
            return
        now = time.monotonic()
        flags = [
            self.channel.must_stop(),
            # The clock of one worker decides for all.
            self.rank == 0 and now - self._saved_at > self.checkpoint_every_s,
            self.rank == 0 and now - self._asked_at > _ASK_EVERY_S,
            self.rank == 0 and now - self._looked_at,
        ]
        stop, due, ask, seconds = self.parallel.sum([float(flag) for flag in flags])
        self._looked(now, seconds)
        self._asked_at = now if ask else self._asked_at
        loses_node = bool(ask) and self.channel.must_save()
        if stop or due or loses_node:
            self.save(wait=bool(stop or loses_node))
        if stop:
            raise StoppedError(f"stopped after step {self.position.step}")

    def _looked(self, now: float, seconds: float) -> None:
        """Fix when to look again: the same batch on all workers, for they look together."""
        step = self.position.step
        steps = int(_LOOK_EVERY_S * (step - self._looked_step) / max(seconds, 1e-9))
        self._look_step = step + min(max(steps, 1), _MOST_UNSEEN)
        self._looked_at, self._looked_step = now, step
