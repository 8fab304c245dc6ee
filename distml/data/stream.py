"""Batches of data that does not fit into memory: blocks of shards, read ahead by a bounded amount.

One decision: blocks are read in the order in which their first rows are needed, and a worker holds
at least two for each of its streams, one being read from and one ahead, so that what is in memory
follows from the order's plan. One thread reads, a second decodes and permutes, and the consumer's
own only copies rows. Errors of the threads are raised by `batches`, as they are; neither thread
outlives it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from distml.data.ahead import Ahead, Room
from distml.data.cache import ShardCache
from distml.data.dataset import ShardedDataset
from distml.data.fetch import Beside, Decode, Fetched, ShardSource
from distml.data.gather import Arrays, Block, Gather
from distml.data.joined import empty
from distml.data.order import BLOCKS_PER_STREAM, StreamOrder, StreamPlan
from distml.data.ragged import RaggedArray
from distml.data.reading import FooterCache
from distml.errors import DataError, UserError

__all__ = ["StreamReader"]

Rows = npt.NDArray[np.int64]

_BYTES_AT_ONCE = 1 << 20  # batches are laid out together up to this size, which the cache holds


class StreamReader:
    """Reads one worker's rows of the global batches of a `StreamOrder`."""

    def __init__(
        self,
        dataset: ShardedDataset,
        columns: Sequence[str],
        order: StreamOrder,
        *,
        rank: int = 0,
        world: int = 1,
        rows: Mapping[int, npt.NDArray[np.integer]] | None = None,
        decode: Decode | None = None,
        beside: Beside | None = None,
        cache: ShardCache | None = None,
        keep: bool = True,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            dataset: what is read.
            columns: the columns to read.
            order: which rows each batch has.
            rank: which worker this is.
            world: how many workers there are.
            rows: of each shard the numbers of the rows that are read, sorted, as `rows_of_part`
                gives them; a shard that is not named has none. All rows by default.
            decode: makes arrays with a row for each row of a table; called with the rows of a block
                (and, for a worker without rows, with none). One float32 matrix `x` by default.
            beside: gives further arrays of all rows of some shards, which are not read from them.
            cache: decoded shards that need not be read again; of the same rows and `decode`.
            keep: put there those that are decoded, for they will be read again.

        Raises:
            UserError: the order was made for other rows, or there is no such worker.
        """
        if not 0 <= rank < world:
            raise UserError(f"stream: rank={rank} of world={world}: give a rank below {world}")
        self.order = order
        """Which rows each batch has."""
        self._rank, self._world = rank, world
        self._source = ShardSource(
            dataset=dataset,
            columns=tuple(columns),
            rows=rows,
            decode=decode,
            beside=beside,
            cache=cache,
            keep=keep,
        )
        _check_rows(dataset, rows, order)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Arrays]:
        """This worker's rows of the global batches from `start` on, in the order they come round.

        Args:
            epoch: number of the epoch.
            start: number of the first batch.

        Yields:
            Arrays of equal length by name; without rows if the worker has no share of a batch. They
            may be views of one buffer that several batches share.

        Raises:
            DataError: a shard cannot be read, or `decode` gave what makes no batch.
            UserError: there is no batch `start`.
        """
        order, streams = self.order, self.order.streams(epoch)
        if not 0 <= start <= order.num_batches():
            raise UserError(
                f"stream: start={start}: the epoch has {order.num_batches()} batches; give at most "
                "that"
            )
        own = slice(self._rank, None, self._world)
        lengths = order.lengths(streams)
        ends = np.arange(start, order.num_batches() + 1) * order.batch_size
        ends = np.minimum(ends, order.num_rows)
        bounds = order.taken(lengths, ends[[0, -1]])[:, own]
        blocks = self._blocks(streams, *bounds)
        # One block of each stream is read from and one is ahead, and what else fits is ahead, too:
        # streams of equal length end their blocks at the same time.
        room = Room(_places(len(lengths[own])))
        with (
            Ahead(self._fetched(blocks, room), "distml-read") as fetched,
            Ahead(self._arrays(epoch, blocks, fetched, room), "distml-decode") as arrays,
            room,
        ):
            gather = Gather(lengths[own], blocks, arrays, room.leave)
            like = gather.like() or self._source.no_rows()
            step = self._batches_at_once(like)
            for at in range(0, len(ends) - 1, step):
                taken = order.taken(lengths, ends[at : at + step + 1])[:, own]
                rows = gather.rows(like, taken[0], taken[-1])
                cuts = taken.sum(axis=1) - taken[0].sum()
                for first, last in pairwise(cuts.tolist()):
                    yield {name: values[first:last] for name, values in rows.items()}

    def _blocks(self, streams: Sequence[StreamPlan], first: Rows, last: Rows) -> list[Block]:
        """The blocks that hold rows `first` to `last` of the worker's streams, as needed."""
        blocks = []
        for number, stream in enumerate(range(self._rank, len(streams), self._world)):
            end = 0
            for place, shards in enumerate(streams[stream]):
                begin, end = end, end + sum(self.order.shard_rows[shard] for shard in shards)
                if begin < last[number] and end > first[number]:
                    blocks.append(
                        Block(
                            stream=number,
                            shards=shards,
                            rows=range(begin, end),
                            permutation=(stream, place),
                        )
                    )
        return sorted(blocks, key=lambda b: (max(b.rows.start, int(first[b.stream])), b.stream))

    def _fetched(self, blocks: Sequence[Block], room: Room) -> Iterator[Fetched]:
        footers = FooterCache()
        for block in blocks:
            if not room.enter():
                return
            yield self._source.fetch(block.shards, footers)

    def _arrays(
        self, epoch: int, blocks: Sequence[Block], fetched: Iterator[Fetched], room: Room
    ) -> Iterator[Arrays]:
        like: Arrays | None = None
        for block in blocks:
            shards = None if room.closed else next(fetched, None)
            if shards is None:
                return
            arrays = self._source.arrays(shards)
            del shards
            like = like or {name: values[:0].copy() for name, values in arrays.items()}
            _check_arrays(arrays, like)
            self._shuffle(arrays, epoch, block)
            yield arrays
            del arrays

    def _shuffle(self, arrays: Arrays, epoch: int, block: Block) -> None:
        """Permute the rows at once, while they are in the cache.

        One array after the other, so that one at a time is there twice.
        """
        if self.order.shuffle:
            rows = self.order.block_permutation(epoch, *block.permutation, len(block.rows))
            for name in arrays:
                arrays[name] = _picked(arrays[name], rows)

    def _batches_at_once(self, like: Arrays) -> int:
        """How many batches to lay out together: as many as the cache holds, at most a block."""
        # Of rows that differ in length, as if each had one step: how many is not known yet.
        row_bytes = sum(v.dtype.itemsize * math.prod(v.shape[1:]) for v in like.values())
        rows = min(_BYTES_AT_ONCE // max(row_bytes, 1), self.order.block_rows)
        return max(1, rows * self._world // self.order.batch_size)


def _places(num_streams: int) -> int:
    """Blocks that are held at the same time, the one that is being made among them."""
    return max(2 * num_streams, BLOCKS_PER_STREAM * num_streams - 2)


def _picked(values: np.ndarray | RaggedArray, rows: Rows) -> np.ndarray | RaggedArray:
    """Rows in another order."""
    if isinstance(values, RaggedArray):
        return values.take(rows)
    if values.dtype.hasobject:
        return values.take(rows, axis=0)
    return np.take(values, rows, axis=0, out=empty(values.shape, values.dtype), mode="clip")


def _check_rows(
    dataset: ShardedDataset,
    rows: Mapping[int, npt.NDArray[np.integer]] | None,
    order: StreamOrder,
) -> None:
    if rows is None:
        there = [shard.num_rows for shard in dataset.shards]
    else:
        there = [len(rows.get(i, ())) for i in range(len(dataset.shards))]
    if there != list(order.shard_rows):
        raise UserError(
            f"stream: the order is for {order.num_rows} rows in {len(order.shard_rows)} shards, "
            f"the data has {sum(there)} in {len(there)}; make the order from the rows that are read"
        )


def _check_arrays(arrays: Arrays, like: Arrays) -> None:
    """See that arrays can be copied into batches of the first block's names, types and shapes."""
    if arrays.keys() != like.keys():
        raise DataError(f"stream: decode gave {sorted(arrays)}, before {sorted(like)}")
    for name, values in arrays.items():
        if values.dtype != like[name].dtype or values.shape[1:] != like[name].shape[1:]:
            raise DataError(
                f"stream: decode gave {name!r} as {values.dtype}{list(values.shape[1:])}, before "
                f"as {like[name].dtype}{list(like[name].shape[1:])}; make it always the same"
            )
