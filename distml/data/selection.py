"""Some rows of a dataset, known by their numbers in each shard and read when they are needed.

One decision: it answers to what a table is asked by who reads rows a block at a time (`num_rows`,
`column_names`, slices, `take`), so the same code evaluates rows in memory and rows that do not fit.
What it holds of them is four bytes a row, and the shard that was read last. Not for several threads
at once.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distml.data.dataset import ShardedDataset

__all__ = ["Selection", "keep_rows"]

Rows = npt.NDArray[np.integer]


class Selection:
    """Rows of the shards of a dataset, in their order.

    Args:
        dataset: what they are rows of.
        rows: of each shard the numbers of its rows, sorted; `None` for all of a shard's.
    """

    def __init__(self, dataset: ShardedDataset, rows: Sequence[Rows | None] | None = None) -> None:
        self.dataset = dataset
        shards = dataset.shards
        each = [None] * len(shards) if rows is None else rows
        self.rows = tuple(
            None if own is None or len(own) == shard.num_rows else own.astype(np.uint32)
            for own, shard in zip(each, shards, strict=True)
        )
        self.counts = tuple(
            shard.num_rows if own is None else len(own)
            for own, shard in zip(self.rows, shards, strict=True)
        )
        self._ends = np.cumsum([0, *self.counts])
        self._last: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, block: slice) -> pa.Table:
        """The rows of a range, which is fast where ranges are asked for in order."""
        start, stop, _ = block.indices(self.num_rows)
        return self._joined(
            self._read(i).slice(max(start - first, 0), stop - max(start, first))
            for i, first in self._shards_between(start, stop)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    @property
    def num_rows(self) -> int:
        """Rows that are selected."""
        return int(self._ends[-1])

    @property
    def column_names(self) -> list[str]:
        """Columns of the rows."""
        return list(self.dataset.schema.names)

    @property
    def numbers(self) -> Mapping[int, Rows] | None:
        """The numbers of the rows of each shard; `None`: all rows of all shards."""
        if all(own is None for own in self.rows):
            return None
        return {
            i: np.arange(self.counts[i]) if own is None else own for i, own in enumerate(self.rows)
        }

    @property
    def fingerprint(self) -> str:
        """Hex digest of the dataset and of which rows are selected."""
        digest = hashlib.blake2b(self.dataset.fingerprint.encode(), digest_size=16)
        for own in self.rows:
            digest.update(b"all" if own is None else own.tobytes())
            digest.update(b"\x1e")
        return digest.hexdigest()

    def row_bytes(self) -> float:
        """What a row takes as Arrow, told from the first shard that has rows.

        Raises:
            DataError: it cannot be read.
        """
        for i, shard in enumerate(self.dataset.shards):
            if shard.num_rows:
                return float(self.dataset.read_shard(i).nbytes / shard.num_rows)
        return 0.0

    def is_larger_than(self, memory_bytes: int | None) -> bool:
        """Whether the rows take more than they may; never without a bound.

        Raises:
            DataError: the first shard cannot be read.
        """
        if memory_bytes is None or not self.num_rows:
            return False
        return self.row_bytes() * self.num_rows > memory_bytes

    def select(self, columns: Sequence[str]) -> "Selection":
        """The same rows with these columns only.

        Raises:
            DataError: one of them does not exist.
        """
        return Selection(self.dataset.select(columns), self.rows)

    def read_shard(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The selected rows of one shard.

        Raises:
            DataError: as `ShardedDataset.read_shard`.
        """
        return keep_rows(self.dataset.read_shard(index, columns), self.rows[index])

    def iter_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read shard after shard, in order; one without rows gives a table without rows.

        Raises:
            DataError: as `read_shard`.
        """
        for index in range(len(self.counts)):
            yield self.read_shard(index, columns)

    def to_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all rows.

        Raises:
            DataError: as `read_shard`.
        """
        if all(own is None for own in self.rows):
            return self.dataset.to_table(columns)
        return self._joined(self.iter_tables(columns), columns)

    def take(self, numbers: Any) -> pa.Table:
        """Rows by their numbers among those selected, ascending; only their shards are read.

        Args:
            numbers: array-like of shape (n,).

        Raises:
            DataError: as `read_shard`.
        """
        return self.pick(np.asarray(numbers, dtype=np.int64)).to_table()

    def pick(self, numbers: npt.NDArray[np.integer]) -> "Selection":
        """Select of the rows those with these numbers, ascending."""
        places = np.searchsorted(numbers, self._ends)
        rows = []
        for i, own in enumerate(self.rows):
            mine = numbers[places[i] : places[i + 1]] - self._ends[i]
            rows.append(mine if own is None else own[mine])
        return Selection(self.dataset, rows)

    def thinned(self, most: int) -> pa.Table:
        """At most so many rows, evenly from all of them.

        Raises:
            DataError: as `read_shard`.
        """
        return self.take(np.arange(0, self.num_rows, max(1, -(-self.num_rows // most))))

    def _read(self, index: int) -> pa.Table:
        if self._last is None or self._last[0] != index:
            self._last = None  # not two at a time
            self._last = (index, self.read_shard(index))
        return self._last[1]

    def _shards_between(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Shards that have rows of a range, and the number of the first row of each."""
        for i, count in enumerate(self.counts):
            first = int(self._ends[i])
            if count and first < stop and first + count > start:
                yield i, first

    def _joined(self, tables: Iterator[pa.Table], columns: Sequence[str] | None = None) -> pa.Table:
        schema = self.dataset.select(self.column_names if columns is None else columns).schema
        return pa.concat_tables([schema.empty_table(), *tables])


def keep_rows(table: pa.Table, rows: Rows | None) -> pa.Table:
    """The rows of a table with these numbers, sorted; all if it is `None`."""
    # A table without columns has no rows either.
    if rows is None or len(rows) == table.num_rows or not table.num_columns:
        return table
    # Nearly twice as fast as to take the rows by their numbers.
    keep = np.zeros(table.num_rows, dtype=np.bool_)
    keep[rows] = True
    return table.filter(pa.array(keep))
