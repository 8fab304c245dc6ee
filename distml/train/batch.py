"""One worker's part of a global batch, and the parts of data that batches come from.

The one decision: a batch knows how many rows the global batch has, so that its `mean` is this
worker's share of the mean over all rows of all workers. Gradients averaged over workers are then
those of one worker with the whole batch, also where the last batch divides unequally. A worker
whose share is empty gets one row that counts nothing, so that no collective waits for it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from distml.data.cache import ShardCache
from distml.data.gather import Arrays
from distml.data.order import MemoryOrder
from distml.data.ragged import RaggedArray
from distml.train.rows import LENGTHS, Ragged, Rows

if TYPE_CHECKING:
    # It loads pyarrow's datasets, which rows in memory can do without.
    from distml.data.stream import StreamReader

__all__ = ["Batch", "Batches", "MemoryPart", "Part", "StreamPart"]


_LOG = logging.getLogger(__name__)
_DRAWN = ThreadPoolExecutor(1, "distml-order")


class Batch(dict[str, torch.Tensor]):
    """Named tensors with a row each, on the worker's device.

    Args:
        tensors: name → tensor of shape (num_rows, ...); one row that counts nothing if the
            worker's share is empty.
        num_rows: rows of this worker that count.
        global_rows: rows of the whole batch, over all workers.
        world_size: workers.
    """

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        *,
        num_rows: int,
        global_rows: int,
        world_size: int = 1,
    ) -> None:
        super().__init__(tensors)
        self.num_rows, self.global_rows, self.world_size = num_rows, global_rows, world_size

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """This worker's share of the mean over the whole batch.

        Args:
            values: tensor of shape (num_rows,) or (num_rows, ...): a loss for each row.

        Returns:
            A number whose average over workers is the mean over all rows of the batch.
        """
        per_row = values.numel() // max(len(values), 1)
        return values.sum() * (self.scale / max(per_row, 1))

    @property
    def scale(self) -> float:
        """What a sum over this worker's rows is multiplied by to become its share of the mean."""
        return self.world_size / self.global_rows if self.num_rows else 0.0

    def split(self, num_parts: int) -> list["Batch"]:
        """The same rows in micro-batches whose means add up to that of the whole.

        All workers get as many, however their shares differ: where layers are sharded, each forward
        pass is a collective. One that has no row left gets one that counts nothing.
        """
        num_parts = min(num_parts, self.global_rows)
        if num_parts <= 1:
            return [self]
        edges = [self.num_rows * part // num_parts for part in range(num_parts + 1)]
        return [self._slice(begin, end) for begin, end in pairwise(edges)]

    def _slice(self, begin: int, end: int) -> "Batch":
        rows = slice(begin, end) if end > begin else slice(0, 1)
        return Batch(
            {name: tensor[rows] for name, tensor in self.items()},
            num_rows=end - begin,
            global_rows=self.global_rows,
            world_size=self.world_size,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """Which batches of an epoch are wanted, and by whom."""

    batch_size: int
    """Rows of a global batch."""
    seed: int = 0
    """With the epoch, it alone decides the order of rows."""
    shuffle: bool = True
    """Whether the order is random."""
    drop_last: bool = False
    """Whether a last batch of fewer rows is left out."""
    epoch: int = 0
    """Which epoch."""
    is_last: bool = False
    """Whether nobody will want these rows again, so that they need not be kept."""
    start: int = 0
    """The first batch wanted."""
    rank: int = 0
    """Number of the worker."""
    world_size: int = 1
    """Workers."""


class Part(Protocol):
    """Rows that batches are made of: `train`, `validation`, any other name."""

    num_rows: int
    """Rows of all workers together."""

    def num_batches(self, wanted: Batches) -> int:
        """Global batches in an epoch."""

    def batches(self, wanted: Batches) -> Iterator[Batch]:
        """This worker's part of one global batch after another."""

    def close(self) -> None:
        """Let go of what is kept from one epoch to the next. May be read again."""


class MemoryPart:
    """Rows that fit into memory: views of arrays that all workers of a node share.

    Args:
        rows: the arrays.
        index: integer array: the rows of them that are meant. `None`: all.
    """

    def __init__(self, rows: Rows, index: np.ndarray | None = None) -> None:
        self._rows, self._index = rows, index
        self._device = torch.device("cpu")
        self._ahead: dict[tuple[MemoryOrder, int], Future[np.ndarray]] = {}
        self._copies: dict[torch.device, MemoryPart] = {}
        self.num_rows = rows.num_rows if index is None else len(index)

    def to(self, device: torch.device) -> "MemoryPart":
        """The same with its arrays on a device; copied the first time only."""
        if device not in self._copies:
            copy = MemoryPart(self._rows.to(device), self._index)
            copy._device = device
            self._copies[device] = copy
        return self._copies[device]

    def is_on(self, device: torch.device) -> bool:
        """Whether a device has its arrays already."""
        return device in self._copies

    def close(self) -> None:
        """See `Part`."""
        self._ahead, self._copies = {}, {}

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self._rows.nbytes

    def num_batches(self, wanted: Batches) -> int:
        """See `Part`."""
        return self._order(wanted).num_batches()

    def batches(self, wanted: Batches) -> Iterator[Batch]:
        """See `Part`."""
        order = self._order(wanted)
        picked = torch.from_numpy(self._in_order(order, wanted.epoch)).to(self._device)
        for number in range(wanted.start, order.num_batches()):
            share = order.share(number, wanted.rank, wanted.world_size)
            num_rows = share.stop - share.start
            # An empty share takes a row that is there and counts nothing.
            chosen = picked[share] if num_rows else picked[:1]
            yield Batch(
                self._rows.take(chosen),
                num_rows=num_rows,
                global_rows=order.batch_rows(number),
                world_size=wanted.world_size,
            )

    def _in_order(self, order: MemoryOrder, epoch: int) -> np.ndarray:
        """The rows of an epoch; those of the next are drawn while a GPU works on these."""
        ahead = self._ahead.pop((order, epoch), None)
        if self._device.type != "cpu":
            self._ahead = {(order, epoch + 1): _DRAWN.submit(self._draw, order, epoch + 1)}
        return self._draw(order, epoch) if ahead is None else ahead.result()

    def _draw(self, order: MemoryOrder, epoch: int) -> np.ndarray:
        rows = order.epoch(epoch)
        return rows if self._index is None else self._index[rows]

    def _order(self, wanted: Batches) -> MemoryOrder:
        return MemoryOrder(
            num_rows=self.num_rows,
            batch_size=wanted.batch_size,
            seed=wanted.seed,
            shuffle=wanted.shuffle,
            drop_last=wanted.drop_last,
        )


class StreamPart:
    """Rows that do not fit into memory: read shard by shard, within a bounded buffer.

    Args:
        reader_of: makes the reader for batches that are wanted, with a cache of decoded shards.
        num_rows: rows of all workers together.
    """

    def __init__(
        self, reader_of: "Callable[[Batches, ShardCache], StreamReader]", num_rows: int
    ) -> None:
        self._reader_of, self.num_rows = reader_of, num_rows
        self._cache = ShardCache()

    def close(self) -> None:
        """See `Part`."""
        self._cache.close()

    def num_batches(self, wanted: Batches) -> int:
        """See `Part`."""
        return self._reader_of(wanted, self._cache).order.num_batches()

    def batches(self, wanted: Batches) -> Iterator[Batch]:
        """See `Part`."""
        reader = self._reader_of(wanted, self._cache)
        if reader.order.num_streams < wanted.world_size and not wanted.rank:
            _LOG.warning(
                "memory_bytes leaves room for %d streams, which %d workers share: give more "
                "memory, or write smaller shards",
                reader.order.num_streams,
                wanted.world_size,
            )
        parts = reader.batches(wanted.epoch, wanted.start)
        for number, arrays in enumerate(parts, wanted.start):
            num_rows = len(next(iter(arrays.values())))
            yield Batch(
                _tensors(arrays if num_rows else _one_row(arrays)),
                num_rows=num_rows,
                global_rows=reader.order.batch_rows(number),
                world_size=wanted.world_size,
            )


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Rows of a stream as `Rows.take` gives those in memory."""
    batch: dict[str, torch.Tensor] = {}
    for name, values in arrays.items():
        if isinstance(values, RaggedArray):
            rows = Ragged(values.values, values.offsets)
            batch[name], batch[LENGTHS] = rows.take(slice(0, len(rows)))
        else:
            batch[name] = torch.from_numpy(values)
    return batch


def _one_row(arrays: Arrays) -> Arrays:
    """A row of zeros, of one step where rows have steps."""
    return {
        name: RaggedArray(_zeros(a), np.array([0, 1])) if isinstance(a, RaggedArray) else _zeros(a)
        for name, a in arrays.items()
    }


def _zeros(values: np.ndarray | RaggedArray) -> np.ndarray:
    return np.zeros((1, *values.shape[1:]), values.dtype)
