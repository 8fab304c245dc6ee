"""How one column becomes columns of the matrix, once it is known how.

Each class is a fitted, plain value (numbers, strings, lists, arrays) with three things: the names
of its features, how many they are, and `fill`, which writes them into its block of the matrix.
Nothing is decided here; see `encode`.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distml.data.rowhash import hash_column
from distml.data.statistics import Value, countable
from distml.data.text import fill_tfidf
from distml.data.values import PARTS, calendar_part, local_times, to_float64

__all__ = [
    "CyclicDate",
    "Feature",
    "Hashed",
    "Number",
    "OneHot",
    "Ordinal",
    "PlainDate",
    "Text",
]

Block = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)


class Feature(Protocol):
    """What one column becomes."""

    @property
    def source(self) -> str:
        """The column."""

    def names(self) -> list[str]:
        """The features' names."""

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Write the features into `out`, shape (n_rows, n_features), which is all zero."""


@dataclass(frozen=True)
class Affine:
    """`(value - center) / scale`."""

    center: float = 0.0
    scale: float = 1.0
    missing: float = math.nan
    """What stands for a missing value, before scaling; NaN keeps it missing."""

    def fill(self, values: Floats, out: npt.NDArray[np.float32]) -> None:
        """Write the values into one column; beyond float32 they become its largest number."""
        if not math.isnan(self.missing):
            values = np.where(np.isnan(values), self.missing, values)
        with np.errstate(over="ignore"):
            scaled = (values - self.center) / self.scale
        np.clip(scaled, -_LARGEST, _LARGEST, out=scaled)
        out[:] = scaled


@dataclass(frozen=True)
class Number:
    """A number or a boolean, with a column that tells missing values if asked for."""

    source: str
    affine: Affine
    indicator: bool = False

    def names(self) -> list[str]:
        """The column's own name, and `<name>_missing`."""
        return [self.source, f"{self.source}_missing"] if self.indicator else [self.source]

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Scale the numbers."""
        values = to_float64(column)
        self.affine.fill(values, out[:, 0])
        if self.indicator:
            out[:, 1] = np.isnan(values)


@dataclass(frozen=True)
class PlainDate:
    """Calendar parts as numbers."""

    source: str
    parts: dict[str, Affine]

    def names(self) -> list[str]:
        """`<name>_<part>`."""
        return [f"{self.source}_{part}" for part in self.parts]

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Scale each part."""
        times = local_times(column)
        for i, (part, affine) in enumerate(self.parts.items()):
            affine.fill(calendar_part(times, part), out[:, i])


@dataclass(frozen=True)
class CyclicDate:
    """Calendar parts on a circle, so that December is next to January; the year as a number."""

    source: str
    parts: dict[str, Affine]

    def names(self) -> list[str]:
        """`<name>_year`, and `<name>_<part>_sin` and `_cos` of the others."""
        return [
            f"{self.source}_{part}{end}"
            for part in self.parts
            for end in (("_sin", "_cos") if PARTS[part] else ("",))
        ]

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Write sine and cosine; a missing date is the middle of the circle, or NaN."""
        at, times = 0, local_times(column)
        for part, affine in self.parts.items():
            values = calendar_part(times, part)
            if not PARTS[part]:
                affine.fill(values, out[:, at])
                at += 1
                continue
            angle = values * (2 * math.pi / PARTS[part])
            middle = math.nan if math.isnan(affine.missing) else 0.0
            for turn in (np.sin, np.cos):
                Affine(missing=middle).fill(turn(angle), out[:, at])
                at += 1


@dataclass(frozen=True)
class OneHot:
    """A column for each value; missing and unseen values are all zero."""

    source: str
    values: list[Value]

    def names(self) -> list[str]:
        """`<name>_<value>`."""
        return [f"{self.source}_{value}" for value in self.values]

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Set the ones."""
        codes = _codes(column, self.values)
        rows = np.flatnonzero(codes >= 0)
        out[rows, codes[rows]] = 1.0


@dataclass(frozen=True)
class Ordinal:
    """The number of the value in sorted order; -1 for an unseen value."""

    source: str
    values: list[Value]
    affine: Affine

    def names(self) -> list[str]:
        """The column's own name."""
        return [self.source]

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Write the codes, scaled as numbers are."""
        codes = _codes(column, self.values).astype(np.float64)
        codes[column.is_null(nan_is_null=True).to_numpy()] = math.nan
        self.affine.fill(codes, out[:, 0])


@dataclass(frozen=True)
class Hashed:
    """A one in the bucket of the value's hash, seen or not; missing values are all zero."""

    source: str
    buckets: int

    def names(self) -> list[str]:
        """`<name>_hash<i>`."""
        return [f"{self.source}_hash{i}" for i in range(self.buckets)]

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Set the ones."""
        column = countable(column)
        rows = np.flatnonzero(column.is_valid().to_numpy())
        bucket = (hash_column(column) % np.uint64(self.buckets)).astype(np.int64)
        out[rows, bucket[rows]] = 1.0


@dataclass(frozen=True)
class Text:
    """Hashed TF-IDF."""

    source: str
    idf: Floats = field(repr=False)

    def names(self) -> list[str]:
        """`<name>_word<i>`."""
        return [f"{self.source}_word{i}" for i in range(len(self.idf))]

    def fill(self, column: pa.ChunkedArray, out: Block) -> None:
        """Write the weights."""
        fill_tfidf(column, self.idf, out)


def _codes(column: pa.ChunkedArray, values: list[Value]) -> npt.NDArray[np.int64]:
    """The place of each row's value in `values`, -1 if it is missing or not there."""
    column = countable(column)
    kind = pa.float64() if values and not isinstance(values[0], str) else pa.large_string()
    known = pa.array(values, type=kind)
    found = pc.index_in(column.cast(kind), value_set=known)
    return pc.fill_null(found, -1).to_numpy().astype(np.int64)
