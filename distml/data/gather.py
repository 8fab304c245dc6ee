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

__all__ = ["Arrays", "Block", "Gather"]

Arrays: TypeAlias = dict[str, np.ndarray]
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

    def rows(self, like: Mapping[str, np.ndarray], start: Rows, stop: Rows) -> Arrays:
        """The rows of all streams between two positions, round after round.

        Args:
            like: what `like` gave.
            start: rows that each stream gave before, shape (n,).
            stop: rows that each stream has given then, shape (n,).
        """
        first, count = int(start.sum()), int((stop - start).sum())
        out = {k: np.empty((count, *v.shape[1:]), v.dtype) for k, v in like.items()}
        starts, stops = start.tolist(), stop.tolist()
        for stream in [*self._open]:
            self._give(stream, out, starts, stops, first)
            self._let_go(stream, stops)
        while self._next < len(self._blocks):
            block = self._blocks[self._next]
            if block.rows.start >= stops[block.stream]:
                break
            self._take()
            self._give(block.stream, out, starts, stops, first)
            self._let_go(block.stream, stops)
        return out

    def _take(self) -> None:
        block = self._blocks[self._next]
        self._open[block.stream] = (block, next(self._loaded))
        self._next += 1

    def _give(
        self, stream: int, out: Arrays, starts: list[int], stops: list[int], first: int
    ) -> None:
        """Copy what a block has of the rows to `out`."""
        block, arrays = self._open[stream]
        start = max(block.rows.start, starts[stream])
        stop = min(block.rows.stop, stops[stream])
        for rows, to in self._places.slices(stream, start, stop):
            there = slice(to.start - first, to.stop - first, to.step)
            here = slice(rows.start - block.rows.start, rows.stop - block.rows.start)
            for name, values in arrays.items():
                out[name][there] = values[here]

    def _let_go(self, stream: int, stops: list[int]) -> None:
        """Drop a block whose rows have all been given."""
        block, _ = self._open[stream]
        if stops[stream] >= block.rows.stop:
            del self._open[stream], _
            self._release()
