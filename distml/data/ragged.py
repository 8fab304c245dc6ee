"""Rows of different lengths in two arrays, taken and interleaved without a Python step per row.

One decision: a row is where its steps begin and how many they are, so to bring rows into another
order is arithmetic on offsets and one gather of steps. Nothing is padded here.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["RaggedArray"]

Rows = npt.NDArray[np.int64]


class RaggedArray:
    """All steps behind each other, and where each row begins.

    Args:
        values: array of shape (num_steps, ...).
        offsets: int64 array of shape (num_rows + 1,), ascending; the last is the end.
    """

    def __init__(self, values: np.ndarray, offsets: Rows) -> None:
        self.values, self.offsets = values, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> "RaggedArray":
        """Rows that stand behind each other, as views."""
        start, stop, _ = rows.indices(len(self))
        offsets = self.offsets[start : max(start, stop) + 1]
        return RaggedArray(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    @property
    def dtype(self) -> np.dtype:
        """Of a step."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the dimensions of a step."""
        return (len(self), *self.values.shape[1:])

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return int(self.values.nbytes + self.offsets.nbytes)

    @property
    def lengths(self) -> Rows:
        """Steps of each row, shape (num_rows,)."""
        return np.diff(self.offsets)

    def copy(self) -> "RaggedArray":
        """The same in memory of its own."""
        return RaggedArray(self.values.copy(), self.offsets.copy())

    def take(self, rows: npt.NDArray[np.integer]) -> "RaggedArray":
        """Rows by their numbers, in the order asked for, in memory of their own."""
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        return RaggedArray(self.values.take(_steps(starts, lengths), axis=0), _offsets(lengths))

    @staticmethod
    def interleaved(num_rows: int, parts: Sequence[tuple[slice, "RaggedArray"]]) -> "RaggedArray":
        """Put rows of several parts to their places.

        Args:
            num_rows: rows of all parts.
            parts: which places the rows of a part go to, and the part; at least one.
        """
        lengths = np.empty(num_rows, dtype=np.int64)
        for places, part in parts:
            lengths[places] = part.lengths
        offsets = _offsets(lengths)
        values = np.empty((offsets[-1], *parts[0][1].shape[1:]), parts[0][1].dtype)
        for places, part in parts:
            values[_steps(offsets[:-1][places], part.lengths)] = part.values
        return RaggedArray(values, offsets)


def _offsets(lengths: Rows) -> Rows:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _steps(starts: Rows, lengths: Rows) -> Rows:
    """The numbers of all steps of some rows, row after row."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
