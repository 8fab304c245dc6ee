"""Rows of several shards behind each other, read or copied to where they belong."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from distml.data.gather import Arrays
from distml.data.ragged import RaggedArray
from distml.errors import DataError

__all__ = ["Joined", "empty"]


class Joined:
    """Arrays that are filled shard by shard.

    Args:
        num_rows: rows of all shards.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows, self._at = num_rows, 0
        self._even: dict[str, np.ndarray] = {}
        self._ragged: dict[str, list[tuple[slice, RaggedArray]]] = {}

    def place(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        """The memory of the next rows, to be filled by the caller.

        Raises:
            DataError: rows before were of another type or size.
        """
        if name not in self._even:
            self._even[name] = empty((self._num_rows, *shape[1:]), dtype)
        place = self._even[name][self._at : self._at + shape[0]]
        if (place.dtype, place.shape) != (dtype, shape):
            raise DataError(
                f"stream: decode gave {name!r} as {dtype}{list(shape[1:])}, before as "
                f"{place.dtype}{list(place.shape[1:])}; make it always the same"
            )
        return place

    def add(self, arrays: Mapping[str, np.ndarray | RaggedArray], num_rows: int) -> None:
        """The next rows: those of a shard that have not been placed."""
        rows = slice(self._at, self._at + num_rows)
        for name, values in arrays.items():
            if isinstance(values, RaggedArray):
                self._ragged.setdefault(name, []).append((rows, values))
            else:
                self.place(name, values.dtype, values.shape)[...] = values
        self._at += num_rows

    def arrays(self) -> Arrays:
        """All rows."""
        ragged: Arrays = {
            name: RaggedArray.interleaved(self._num_rows, parts)
            for name, parts in self._ragged.items()
        }
        return {**self._even, **ragged}


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array in Arrow's memory, which keeps what is freed.

    NumPy's goes back to the system, and to get it anew costs more than to shuffle.
    """
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    return np.frombuffer(pa.allocate_buffer(size), dtype).reshape(shape)
