"""Rows of many blocks, brought into the order of the batches.

One decision: many batches are laid out at once and each is a slice of that. A block's rows go to
equally spaced places (see `Places`), so the work is one slice assignment for each block, however
many streams and batches there are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from distml.data.deal import Places
from distml.data.ragged import RaggedArray

__all__ = ["Arrays", "Block", "Gather"]

Arrays: TypeAlias = dict[str, np.ndarray | RaggedArray]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Some consecutive shards of a stream, which are read together."""

    stream: int
    """The number of the stream among those of the worker."""
    shards: tuple[int, ...]
    """The numbers of the shards."""
    rows: range
    """Its rows, as numbers in the stream."""
    permutation: tuple[int, int]
    """The stream among all streams, and the block in it, by which it is shuffled."""


class Gather:
    """Takes blocks as they are needed, and lets go of each when its last row is given."""

    def __init__(
        self,
        lengths: Rows,
        blocks: Sequence[Block],
        loaded: Iterator[Arrays],
        release: Callable[[], None],
    ) -> None:
        """Prepare to take `blocks`.

        Args:
            lengths: rows of each of the worker's streams, shape (n,).
            blocks: in the order in which their first rows are needed.
            loaded: gives the arrays of each block in turn.
            release: called for each block when it is let go.
        """
        self._places = Places(lengths)
        self._blocks = blocks
        self._loaded = loaded
        self._release = release
        self._next = 0
        self._open: dict[int, tuple[Block, Arrays]] = {}

    def like(self) -> Arrays | None:
        """Arrays of the names, types and shapes to expect, without rows; None without blocks."""
        if not self._blocks:
            return None
        if not self._next:
            self._take()
        _, arrays = next(iter(self._open.values()))
        return {name: values[:0].copy() for name, values in arrays.items()}

    def rows(self, like: Mapping[str, np.ndarray | RaggedArray], start: Rows, stop: Rows) -> Arrays:
        """The rows of all streams between two positions, round after round.

        Args:
            like: what `like` gave.
            start: rows that each stream gave before, shape (n,).
            stop: rows that each stream has given then, shape (n,).
        """
        out = _Layout(like, int(start.sum()), int((stop - start).sum()))
        starts, stops = start.tolist(), stop.tolist()
        for stream in [*self._open]:
            self._give(stream, out, starts, stops)
            self._let_go(stream, stops)
        while self._next < len(self._blocks):
            block = self._blocks[self._next]
            if block.rows.start >= stops[block.stream]:
                break
            self._take()
            self._give(block.stream, out, starts, stops)
            self._let_go(block.stream, stops)
        return out.arrays()

    def _take(self) -> None:
        block = self._blocks[self._next]
        self._open[block.stream] = (block, next(self._loaded))
        self._next += 1

    def _give(self, stream: int, out: "_Layout", starts: list[int], stops: list[int]) -> None:
        """Copy what a block has of the rows to `out`."""
        block, arrays = self._open[stream]
        start = max(block.rows.start, starts[stream])
        stop = min(block.rows.stop, stops[stream])
        for rows, places in self._places.slices(stream, start, stop):
            here = slice(rows.start - block.rows.start, rows.stop - block.rows.start)
            out.put(places, arrays, here)

    def _let_go(self, stream: int, stops: list[int]) -> None:
        """Drop a block whose rows have all been given."""
        block, _ = self._open[stream]
        if stops[stream] >= block.rows.stop:
            del self._open[stream], _
            self._release()


class _Layout:
    """The rows of some batches, as they come in."""

    def __init__(
        self, like: Mapping[str, np.ndarray | RaggedArray], first: int, count: int
    ) -> None:
        self._first, self._count = first, count
        self._even: dict[str, np.ndarray] = {}
        self._ragged: dict[str, list[tuple[slice, RaggedArray]]] = {}
        for name, values in like.items():
            if isinstance(values, RaggedArray):
                # What is left of it where no block has a row.
                self._ragged[name] = [(slice(0, 0), values)]
            else:
                self._even[name] = np.empty((count, *values.shape[1:]), values.dtype)

    def put(self, places: slice, block: Arrays, rows: slice) -> None:
        """Copy rows of a block to their places among all rows of the epoch."""
        there = slice(places.start - self._first, places.stop - self._first, places.step)
        for name, values in block.items():
            if isinstance(values, RaggedArray):
                self._ragged[name].append((there, values[rows].copy()))
            else:
                self._even[name][there] = values[rows]

    def arrays(self) -> Arrays:
        """All of them."""
        ragged: Arrays = {
            name: RaggedArray.interleaved(self._count, parts)
            for name, parts in self._ragged.items()
        }
        return {**self._even, **ragged}
