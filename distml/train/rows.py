"""Rows in memory as named arrays of equal length, and batches of them as tensors.

One decision: an array is seen as a tensor once, without a copy (also a read-only one, such as Ray's
object store gives), and a batch is gathered from it by one call of torch, never row by row in
Python. A batch is always memory of its own, so nobody can write into the shared arrays through it.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distml.errors import DataError

__all__ = ["LENGTHS", "Ragged", "Rows", "as_tensor"]

LENGTHS = "lengths"
"""The name under which a batch has the lengths of its ragged rows."""

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64] | torch.Tensor | slice


class Ragged:
    """Rows of different lengths: all their steps behind each other, and where each row begins.

    Args:
        values: array of shape (num_steps,) or (num_steps, channels).
        offsets: array of shape (num_rows + 1,), int64: where each row begins; the last is the end.
    """

    def __init__(self, values: Array, offsets: npt.NDArray[np.int64]) -> None:
        self.values = values
        self.offsets = offsets
        self._values = as_tensor(values)
        self._offsets = as_tensor(offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        # The arrays alone: pickle moves them out of band, so that they stay views at the other end.
        return Ragged, (self.values, self.offsets)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return int(self.values.nbytes + self.offsets.nbytes)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Steps of each row, shape (num_rows,)."""
        return np.diff(self.offsets)

    def take(self, indices: Indices) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows, padded with zeros to the longest of them.

        Args:
            indices: row numbers, or a slice of rows with step 1.

        Returns:
            Tensor of shape (n, T) or (n, T, channels), and the lengths, int64 of shape (n,).
        """
        starts = _gather(self._offsets[:-1], indices)
        lengths = _gather(self._offsets[1:], indices) - starts
        longest = int(lengths.max()) if len(lengths) else 0
        steps = torch.arange(longest, device=starts.device)
        # Beyond a row's end stand the steps of the next one until they are put to zero.
        at = (starts[:, None] + steps).clamp_(max=max(len(self._values) - 1, 0))
        padded = torch.index_select(self._values, 0, at.view(-1))
        padded = padded.view(*at.shape, *self._values.shape[1:])
        if len(lengths) and int(lengths.min()) < longest:
            beyond = steps >= lengths[:, None]
            padded.masked_fill_(beyond.view(*at.shape, *[1] * (padded.ndim - 2)), 0)
        return padded, lengths

    def to(self, device: torch.device) -> "Ragged":
        """The same rows, taken on a device."""
        there = copy.copy(self)
        there._values, there._offsets = self._values.to(device), self._offsets.to(device)
        return there

    def slice(self, start: int, stop: int) -> "Ragged":
        """Rows from `start` up to `stop`, as views."""
        start, stop, _ = slice(start, stop).indices(len(self))
        offsets = self.offsets[start : max(start, stop) + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])


class Rows:
    """Named arrays with an entry for each row: the fields by kind, and the label, weights, ...

    Args:
        arrays: name → array of shape (num_rows, ...), or `Ragged`. At most one may be ragged.

    Raises:
        DataError: the arrays differ in their number of rows, or torch has no such type of numbers.
    """

    def __init__(self, arrays: Mapping[str, Array | Ragged]) -> None:
        self.arrays = dict(arrays)
        sizes = {name: len(array) for name, array in self.arrays.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise DataError(f"rows: {listed}; give each as many rows")
        if sum(isinstance(array, Ragged) for array in self.arrays.values()) > 1:
            raise ValueError("rows: only one array may be ragged")
        self.num_rows = next(iter(sizes.values()), 0)
        self._tensors: dict[str, torch.Tensor | Ragged] = {
            name: array if isinstance(array, Ragged) else as_tensor(array)
            for name, array in self.arrays.items()
        }

    def __len__(self) -> int:
        return self.num_rows

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, (self.arrays,)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return sum(int(array.nbytes) for array in self.arrays.values())

    def take(self, indices: Indices) -> dict[str, torch.Tensor]:
        """A batch: the rows in the order asked for, in memory of their own.

        Args:
            indices: row numbers, int64 of shape (n,), or a slice of rows with step 1.

        Returns:
            Name → tensor of shape (n, ...); ragged rows are padded with zeros to the longest, and
            `lengths` says how long each is.
        """
        batch: dict[str, torch.Tensor] = {}
        for name, tensor in self._tensors.items():
            if isinstance(tensor, Ragged):
                batch[name], batch[LENGTHS] = tensor.take(indices)
            else:
                batch[name] = _gather(tensor, indices)
        return batch

    def to(self, device: torch.device) -> "Rows":
        """The same rows, with batches made on a device; `arrays` stay where they are."""
        there = copy.copy(self)
        there._tensors = {name: tensor.to(device) for name, tensor in self._tensors.items()}
        return there

    def slice(self, start: int, stop: int) -> "Rows":
        """Rows from `start` up to `stop`, as views."""
        return Rows({
            name: array.slice(start, stop) if isinstance(array, Ragged) else array[start:stop]
            for name, array in self.arrays.items()
        })  # fmt: skip

    def having(self, **arrays: Array | Ragged) -> "Rows":
        """The same rows with further arrays, such as the label.

        Raises:
            DataError: an array has another number of rows.
        """
        return Rows({**self.arrays, **arrays})


def as_tensor(array: Array) -> torch.Tensor:
    """An array as a tensor over the same memory, also if the array may not be written to.

    Only reading from it is allowed then. Arrays that torch cannot see (backwards, or with another
    byte order) are copied.

    Raises:
        DataError: torch has no such type of numbers.
    """
    if any(step < 0 for step in array.strides) or not array.dtype.isnative:
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    try:
        # torch warns of read-only arrays, and a warning cannot be held back safely in a thread.
        return torch.from_numpy(array if array.flags.writeable else np.asarray(_Open(array)))
    except TypeError as error:
        raise DataError(
            f"an array of {array.dtype} cannot become a tensor; convert it to numbers"
        ) from error


class _Open:
    """The memory of a read-only array, shown to NumPy as one that may be written to."""

    def __init__(self, array: Array) -> None:
        self._owner = array
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _gather(tensor: torch.Tensor, indices: Indices) -> torch.Tensor:
    if isinstance(indices, slice):
        return tensor[indices].clone()
    rows = as_tensor(indices) if isinstance(indices, np.ndarray) else indices
    return torch.index_select(tensor, 0, rows.to(tensor.device))
