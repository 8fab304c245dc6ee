"""The elastic, deterministic order of rows in an epoch: which rows each global batch has.

One decision: the order depends on the seed and the epoch alone, never on the number of workers,
which only divide each global batch among them. So workers may come and go, and a run goes on at any
batch knowing no more than its number. Pure: nothing is read here. `MemoryOrder` permutes all rows;
`StreamOrder` visits data that does not fit by streams of shards, each shuffled block by block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from distml.data.deal import choose_num_streams, cut_blocks, deal_evenly, rows_taken
from distml.errors import DataError, UserError

__all__ = ["BLOCKS_PER_STREAM", "MemoryOrder", "StreamOrder", "StreamPlan"]

Rows = npt.NDArray[np.int64]
StreamPlan = tuple[tuple[int, ...], ...]
"""A stream's blocks, each the numbers of its shards."""

BLOCKS_PER_STREAM = 3
"""Blocks in memory for each stream: the one that is read from, the next, and what making it needs.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryOrder:
    """The order of data that fits into memory: one permutation of all rows an epoch.

    Raises:
        UserError: a number is out of its range, or `drop_last` leaves no batch.
    """

    num_rows: int
    """Rows there are."""
    batch_size: int
    """Rows of a global batch, all workers together."""
    seed: int
    """Another seed, another order."""
    shuffle: bool = True
    """False: the order in which the rows stand, in every epoch."""
    drop_last: bool = False
    """Leave out the last batch if it is not full."""

    def __post_init__(self) -> None:
        _check_order(self.num_rows, self.batch_size, self.seed, self.drop_last)

    def num_batches(self) -> int:
        """Global batches in an epoch."""
        return _num_batches(self.num_rows, self.batch_size, self.drop_last)

    def batch_rows(self, batch: int) -> int:
        """Rows of a global batch; the last may have fewer than the others.

        Raises:
            IndexError: there is no such batch.
        """
        _check_batch(batch, self.num_batches())
        return min(self.batch_size, self.num_rows - batch * self.batch_size)

    def epoch(self, epoch: int) -> Rows:
        """The rows in the order of an epoch: int64, shape (num_rows,)."""
        if not self.shuffle:
            return np.arange(self.num_rows)
        return _generator(self.seed, epoch).permutation(self.num_rows)

    def share(self, batch: int, rank: int, world: int) -> slice:
        """A worker's part of a global batch: a slice of `epoch(...)`, which may be empty.

        The parts are contiguous and in the order of the ranks; they differ by at most one row.

        Args:
            batch: number of the global batch.
            rank: which worker.
            world: how many workers there are.

        Raises:
            IndexError: there is no such batch or worker.
        """
        _check_rank(rank, world)
        rows, first = self.batch_rows(batch), batch * self.batch_size
        return slice(first + rows * rank // world, first + rows * (rank + 1) // world)


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOrder:
    """The order of data that streams.

    The shards are dealt to streams by the seed and the epoch, the streams are cut into blocks of
    whole shards, and the rows of a block are permuted. The epoch takes one row of every stream that
    still has rows, round after round. Worker `rank` of `world` reads streams rank, rank + world, …

    Raises:
        UserError: a number is out of its range, or `drop_last` leaves no batch.
    """

    shard_rows: tuple[int, ...]
    """Rows of each shard that are read; 0 leaves a shard out."""
    batch_size: int
    """Rows of a global batch, all workers together."""
    seed: int
    """Another seed, another order."""
    num_streams: int
    """How many streams; with more workers than that, some have nothing to do."""
    block_rows: int
    """The most rows of a block, unless it is one shard that is longer."""
    shuffle: bool = True
    """False: shards dealt in turn and rows as they stand, in every epoch."""
    drop_last: bool = False
    """Leave out the last batch if it is not full."""
    num_rows: int = field(init=False, repr=False, compare=False)
    """Rows of all shards."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_rows", sum(self.shard_rows))
        _check_order(self.num_rows, self.batch_size, self.seed, self.drop_last)
        if self.num_streams < 1 or self.block_rows < 1 or min(self.shard_rows, default=0) < 0:
            raise UserError(
                f"order: num_streams={self.num_streams} and block_rows={self.block_rows} must be "
                "at least 1, and no shard may have fewer than 0 rows"
            )

    @classmethod
    def plan(
        cls,
        shard_rows: Sequence[int],
        row_bytes: int,
        memory_bytes: int,
        *,
        batch_size: int,
        seed: int,
        max_streams: int = 64,
        stored_rows: Sequence[int] | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> "StreamOrder":
        """The order that shuffles most within a memory allowance, for any number of workers.

        Args:
            shard_rows: rows of each shard that are read.
            row_bytes: what a row takes in memory, as it is read or as it is decoded, whichever is
                more, at least 1.
            memory_bytes: what the blocks of all streams may take together, in all workers. What
                Parquet needs to decode one shard, and a megabyte or two of batches, come on top.
            batch_size: rows of a global batch.
            seed: another seed, another order.
            max_streams: the most streams.
            stored_rows: rows that each shard has where it is stored, if not all of them are read.
            shuffle: see `shuffle`.
            drop_last: see `drop_last`.

        Raises:
            DataError: the blocks of even one stream, of one shard each, would take more.
        """
        rows = np.array([count for count in shard_rows if count], dtype=np.int64)
        largest = max(stored_rows or shard_rows, default=1)
        fit = memory_bytes // (row_bytes * max(largest, 1) * BLOCKS_PER_STREAM)
        if fit < 1:
            raise DataError(_too_small(largest, row_bytes, memory_bytes))
        num_streams = choose_num_streams(rows, min(fit, max_streams, len(rows))) if len(rows) else 1
        room = memory_bytes // (row_bytes * num_streams * BLOCKS_PER_STREAM)
        return cls(
            shard_rows=tuple(map(int, shard_rows)),
            batch_size=batch_size,
            seed=seed,
            num_streams=num_streams,
            block_rows=max(1, min(room, -(-int(rows.sum()) // num_streams))),
            shuffle=shuffle,
            drop_last=drop_last,
        )

    def num_batches(self) -> int:
        """Global batches in an epoch."""
        return _num_batches(self.num_rows, self.batch_size, self.drop_last)

    def batch_rows(self, batch: int) -> int:
        """Rows of a global batch; the last may have fewer than the others.

        Raises:
            IndexError: there is no such batch.
        """
        _check_batch(batch, self.num_batches())
        return min(self.batch_size, self.num_rows - batch * self.batch_size)

    def streams(self, epoch: int) -> list[StreamPlan]:
        """The blocks of each stream in an epoch, each the numbers of its shards in order."""
        shard_rows = np.array(self.shard_rows, dtype=np.int64)
        shards = np.flatnonzero(shard_rows)
        if self.shuffle:
            shards = _generator(self.seed, epoch).permutation(shards)
            dealt = deal_evenly(shards, shard_rows[shards], self.num_streams)
        else:
            dealt = [shards[stream :: self.num_streams] for stream in range(self.num_streams)]
        return [cut_blocks(stream.tolist(), self.shard_rows, self.block_rows) for stream in dealt]

    def lengths(self, streams: Sequence[StreamPlan]) -> Rows:
        """Rows of each stream: int64, shape (num_streams,)."""
        rows = self.shard_rows
        sums = [sum(rows[shard] for block in stream for shard in block) for stream in streams]
        return np.array(sums, dtype=np.int64)

    @staticmethod
    def taken(lengths: Rows, position: int | Rows) -> Rows:
        """How many rows each stream has given when `position` rows were given in all.

        Args:
            lengths: rows of each stream, shape (num_streams,).
            position: a number, or an array of shape (m,).

        Returns:
            int64, shape (num_streams,); for an array of positions (m, num_streams).
        """
        return rows_taken(lengths, position)

    def share(self, epoch: int, batch: int, rank: int, world: int) -> dict[int, range]:
        """A worker's part of a global batch: of each of its streams, which rows.

        Plans the epoch anew in each call: `StreamReader`, which reads many batches, does not.

        Args:
            epoch: number of the epoch.
            batch: number of the global batch.
            rank: which worker.
            world: how many workers there are.

        Raises:
            IndexError: there is no such batch or worker.
        """
        _check_rank(rank, world)
        start = batch * self.batch_size
        stop = start + self.batch_rows(batch)
        lengths = self.lengths(self.streams(epoch))
        first, last = self.taken(lengths, np.array([start, stop])).tolist()
        return {s: range(first[s], last[s]) for s in range(rank, self.num_streams, world)}

    def block_permutation(self, epoch: int, stream: int, block: int, num_rows: int) -> Rows:
        """The order in which the rows of a block are visited: int64, shape (num_rows,)."""
        if not self.shuffle:
            return np.arange(num_rows)
        # Not 0 after the epoch: trailing zeros do not change what NumPy makes of a seed.
        return _generator(self.seed, epoch, stream + 1, block).permutation(num_rows)


def _generator(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def _num_batches(num_rows: int, batch_size: int, drop_last: bool) -> int:
    return num_rows // batch_size if drop_last else -(-num_rows // batch_size)


def _check_order(num_rows: int, batch_size: int, seed: int, drop_last: bool) -> None:
    if num_rows < 0 or batch_size < 1 or seed < 0:
        raise UserError(
            f"order: num_rows={num_rows} and seed={seed} must be at least 0, "
            f"batch_size={batch_size} at least 1"
        )
    if drop_last and 0 < num_rows < batch_size:
        raise UserError(
            f"order: batch_size={batch_size} is more than the {num_rows} rows, and drop_last "
            "leaves no batch; give a smaller batch_size"
        )


def _check_batch(batch: int, num_batches: int) -> None:
    if not 0 <= batch < num_batches:
        raise IndexError(f"order: no batch {batch}; there are {num_batches}")


def _check_rank(rank: int, world: int) -> None:
    if not 0 <= rank < world:
        raise IndexError(f"order: no worker {rank} of {world}")


def _too_small(largest: int, row_bytes: int, memory_bytes: int) -> str:
    needed = largest * row_bytes * BLOCKS_PER_STREAM
    shorter = memory_bytes // (row_bytes * BLOCKS_PER_STREAM)
    mend = f", or write shards of at most {shorter:,} rows" if shorter else ""
    return (
        f"stream: memory_bytes={memory_bytes:,} does not hold {BLOCKS_PER_STREAM} blocks of the "
        f"largest shard ({largest:,} rows of {row_bytes:,} bytes); give at least {needed:,}"
        f"{mend}"
    )
