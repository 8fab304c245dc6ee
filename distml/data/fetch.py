"""Shards as arrays: read and decoded, or as they were decoded before.

One decision: to fetch and to decode are two steps, for two threads, so that the one waits for a
disk or a network while the other computes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distml.data.cache import ShardCache
from distml.data.dataset import ShardedDataset
from distml.data.gather import Arrays
from distml.data.joined import Joined
from distml.data.matrix import as_matrix
from distml.data.ragged import RaggedArray
from distml.data.reading import FooterCache
from distml.data.selection import keep_rows
from distml.errors import DataError

__all__ = ["Beside", "Decode", "Fetched", "ShardSource"]

Decode = Callable[[pa.Table], Mapping[str, np.ndarray | RaggedArray]]
Beside = Callable[[Sequence[int]], Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """Shards, those of them that are not kept decoded as they are stored."""

    shards: Sequence[int]
    """All, in their order."""
    read: Sequence[int]
    """Those that were read."""
    table: pa.Table | None
    """The rows of these, behind each other; `None` if there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSource:
    """What rows are read from, and how."""

    dataset: ShardedDataset
    columns: tuple[str, ...]
    """Those that are read."""
    rows: Mapping[int, npt.NDArray[np.integer]] | None
    """Of each shard the numbers of the rows that are read; `None`: all."""
    decode: Decode | None
    """Makes arrays with a row for each row of a table; `None`: one float32 matrix `x`."""
    beside: Beside | None
    """Gives further arrays of all rows of some shards, which are not read from them."""
    cache: ShardCache | None
    """Decoded shards that need not be read again."""
    keep: bool
    """Whether those that are decoded are put there."""

    def fetch(self, shards: Sequence[int], footers: FooterCache) -> Fetched:
        """Read what is not kept decoded.

        Raises:
            DataError: a shard cannot be read.
        """
        cache = self.cache
        missing = [shard for shard in shards if cache is None or not cache.has(shard)]
        tables = [self._read(shard, footers) for shard in missing]
        table = pa.concat_tables(tables) if tables else None
        return Fetched(shards=shards, read=missing, table=table)

    def arrays(self, fetched: Fetched) -> Arrays:
        """The rows of all shards behind each other.

        Raises:
            DataError: a shard is there no longer and cannot be read, or `decode` made another type
                or number of rows of it.
        """
        arrays = {} if fetched.table is None else self._decoded(fetched.table)
        if self.cache is not None and (self.keep or len(fetched.read) < len(fetched.shards)):
            arrays = self._joined(fetched, arrays, self.cache)
        num_rows = sum(map(self._num_rows, fetched.shards))
        return {**arrays, **_checked(self._beside(fetched.shards), num_rows)}

    def no_rows(self) -> Arrays:
        """What is made of a table without rows."""
        schema = self.dataset.select(self.columns).schema
        return {**self._decoded(schema.empty_table()), **self._beside(())}

    def _joined(self, fetched: Fetched, read: Arrays, cache: ShardCache) -> Arrays:
        """What was read, cut into shards to be kept, beside what is kept."""
        new, at = {}, 0
        for shard in fetched.read:
            end = at + self._num_rows(shard)
            new[shard] = {name: values[at:end] for name, values in read.items()}
            at = end
            if self.keep:
                cache.put(shard, new[shard])
        if len(new) == len(fetched.shards):
            return read
        joined = Joined(sum(map(self._num_rows, fetched.shards)))
        for shard in fetched.shards:
            joined.add(self._shard(shard, new, joined, cache), self._num_rows(shard))
        return joined.arrays()

    def _shard(
        self, shard: int, new: Mapping[int, Arrays], joined: Joined, cache: ShardCache
    ) -> Mapping[str, np.ndarray | RaggedArray]:
        """What of a shard is not yet in its place."""
        if shard in new:
            return new[shard]
        try:
            return cache.get(shard, joined.place)
        except (OSError, ValueError):  # somebody tidied up, or wrote there
            return self._decoded(self._read(shard))

    def _num_rows(self, shard: int) -> int:
        return self.dataset.shards[shard].num_rows if self.rows is None else len(self.rows[shard])

    def _read(self, shard: int, footers: FooterCache | None = None) -> pa.Table:
        table = self.dataset.read_shard(shard, self.columns, footers=footers)
        return table if self.rows is None else keep_rows(table, self.rows[shard])

    def _decoded(self, table: pa.Table) -> Arrays:
        decode = self.decode or (lambda table: {"x": as_matrix(table)})
        return _checked(decode(table), table.num_rows)

    def _beside(self, shards: Sequence[int]) -> Mapping[str, np.ndarray]:
        return {} if self.beside is None else self.beside(shards)


def _checked(arrays: Mapping[str, np.ndarray | RaggedArray], num_rows: int) -> Arrays:
    for name, values in arrays.items():
        if len(values) != num_rows:
            raise DataError(f"stream: decode gave {len(values)} {name!r} for {num_rows} rows")
    return dict(arrays)
