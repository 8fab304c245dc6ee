"""How shards are dealt to streams and rows to positions: the arithmetic under `StreamOrder`.

One decision: rows come round after round, in each round one row of every stream that still has
rows, in the order of the streams. So how many rows each stream has given at a position, and where a
row of a stream stands, are closed forms of the streams' lengths, with no step per row.
"""

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Places", "choose_num_streams", "cut_blocks", "deal_evenly", "rows_taken"]

Rows = npt.NDArray[np.int64]

_USUAL_WORKERS = (1, 2, 3, 4, 8)
_EVEN = 0.9


def deal_evenly(shards: Rows, num_rows: Rows, num_streams: int) -> list[Rows]:
    """Deal shards to streams, the longest first, each to the stream that has the fewest rows.

    Args:
        shards: shape (n,), in the order that the streams keep.
        num_rows: rows of each, shape (n,).
        num_streams: how many streams.

    Returns:
        The shards of each stream, int64.
    """
    stream_of = np.empty(len(shards), dtype=np.int64)
    fewest = [(0, stream) for stream in range(num_streams)]
    lengths = num_rows.tolist()
    for place in np.argsort(-num_rows, kind="stable").tolist():
        filled, stream = fewest[0]
        stream_of[place] = stream
        heapq.heapreplace(fewest, (filled + lengths[place], stream))
    return [shards[stream_of == stream] for stream in range(num_streams)]


def cut_blocks(
    shards: Sequence[int], num_rows: Sequence[int], block_rows: int
) -> tuple[tuple[int, ...], ...]:
    """Cut a stream into blocks of whole consecutive shards.

    Args:
        shards: the stream's shards.
        num_rows: rows of every shard there is, by its number.
        block_rows: the most rows of a block that has more than one shard.
    """
    blocks: list[list[int]] = []
    room = -1
    for shard in shards:
        if num_rows[shard] > room:
            blocks.append([])
            room = block_rows
        blocks[-1].append(shard)
        room -= num_rows[shard]
    return tuple(map(tuple, blocks))


def rows_taken(lengths: Rows, position: int | Rows) -> Rows:
    """How many rows each stream has given when `position` rows were given in all.

    Args:
        lengths: rows of each stream, shape (num_streams,).
        position: between 0 and the sum of `lengths`; a number, or an array of shape (m,).

    Returns:
        int64, shape (num_streams,); for an array of positions (m, num_streams).
    """
    positions = np.asarray(position, dtype=np.int64)
    ends = np.concatenate([[0], np.sort(lengths)])
    left = np.arange(len(lengths), 0, -1)
    # given[i]: rows given in all when the i-th shortest stream runs dry.
    given = np.concatenate([[0], np.cumsum(np.diff(ends) * left)])
    dry = np.searchsorted(given[1:], positions, side="right")
    rounds, rest = np.divmod(positions - given[dry], np.maximum(len(lengths) - dry, 1))
    rounds = (rounds + ends[dry])[..., None]
    goes_on = lengths > rounds
    first = np.cumsum(goes_on, axis=-1) <= rest[..., None]
    return np.minimum(lengths, rounds) + (goes_on & first)


class Places:
    """Where the rows of some streams stand when they come round after round.

    The rounds fall into stretches in which the same streams have rows. In one, the rows of a stream
    are equally far apart, so a range of them is a slice.
    """

    def __init__(self, lengths: Rows) -> None:
        self._edges = np.unique(np.append(lengths, 0))
        goes_on = lengths > self._edges[:-1, None]
        self._width = goes_on.sum(axis=1)
        self._rank = np.cumsum(goes_on, axis=1) - 1
        self._first = np.concatenate([[0], np.cumsum(np.diff(self._edges) * self._width)])

    def slices(self, stream: int, start: int, stop: int) -> Iterator[tuple[range, slice]]:
        """Where rows `start` to `stop` of a stream go.

        Yields:
            Some of the stream's rows, and the positions they go to.
        """
        stretch = int(np.searchsorted(self._edges, start, side="right")) - 1
        while start < stop:
            end = min(stop, int(self._edges[stretch + 1]))
            width = int(self._width[stretch])
            ahead = (start - int(self._edges[stretch])) * width + int(self._rank[stretch, stream])
            at = int(self._first[stretch]) + ahead
            yield range(start, end), slice(at, at + (end - start - 1) * width + 1, width)
            start, stretch = end, stretch + 1


def choose_num_streams(num_rows: Rows, most: int) -> int:
    """The most streams that keep the usual numbers of workers nearly equally busy.

    Where streams are of unequal length or do not divide among the workers, some workers have fewer
    rows than others: the share of the work that is lost must stay below a tenth. If no number of
    streams does that, the one that loses least.

    Args:
        num_rows: rows of each shard, shape (n,), all above 0.
        most: the most streams.
    """
    best, best_share = 1, 0.0
    for streams in range(most, 0, -1):
        busy = [streams / (workers * -(-streams // workers)) for workers in _USUAL_WORKERS]
        share = sum(busy) / len(busy)
        if share > best_share:
            share *= _evenness(num_rows, streams)
        if share > best_share:
            best, best_share = streams, share
        if best_share >= _EVEN:
            break
    return best


def _evenness(num_rows: Rows, num_streams: int) -> float:
    """Rows of the average stream over those of the longest."""
    dealt = deal_evenly(np.arange(len(num_rows)), num_rows, num_streams)
    return float(num_rows.sum() / num_streams / max(num_rows[shards].sum() for shards in dealt))
