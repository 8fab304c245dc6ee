"""Exact sums: a column's mean and variance do not depend on how it is cut into shards.

Floating-point addition is not associative, so sums of shards would differ from one pass in the last
bits, and a fit with four workers from a fit with one. Here a number is cut into limbs of 20 bits on
a grid that is the same for all data. Limbs are small integers held in float64, so a block's sums,
and its sums of products (one small matrix product by BLAS), are exact in any order. They are
collected in Python integers that count units of 2**-1100, which merge by addition. Refused:
infinities and NaN; whoever calls leaves them out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Moments"]

_BITS = 20
# Limbs are at most 2**19: products of 2**38, summed over 2**13 rows, stay below 2**53.
_ROWS = 1 << 13
_LOWEST = -55  # the limb of 2**-1100, below the smallest float64
_SHIFT = 30  # limbs by which very large and very small numbers are moved, so that no step overflows
_LARGE = 2.0**500
_SMALL = 2.0**-400

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of numbers, exactly: merging is associative and commutative."""

    count: int = 0
    """How many numbers."""
    total: int = 0
    """Their sum in units of 2**-1100."""
    squares: int = 0
    """The sum of their squares in units of 2**-2200."""

    @classmethod
    def of(cls, values: Floats) -> "Moments":
        """The moments of `values`: shape (n,), float64, all finite."""
        size = np.abs(values)
        large, small = size >= _LARGE, (size < _SMALL) & (size > 0)
        if not large.any() and not small.any():
            total, squares = _sums(values, 0)
            return cls(len(values), total, squares)
        parts = [(values[large], _SHIFT), (values[small], -_SHIFT), (values[~large & ~small], 0)]
        sums = [_sums(np.ldexp(part, -shift * _BITS), shift) for part, shift in parts]
        return cls(
            len(values), sum(total for total, _ in sums), sum(squares for _, squares in sums)
        )

    @classmethod
    def of_counts(cls, counts: Sequence[int]) -> "Moments":
        """The moments of the numbers 0, 1, 2, ..., each as often as `counts` says."""
        unit = -_LOWEST * _BITS
        total = sum(number * count for number, count in enumerate(counts))
        squares = sum(number**2 * count for number, count in enumerate(counts))
        return cls(sum(counts), total << unit, squares << 2 * unit)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets of numbers together."""
        return Moments(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        """The mean, correctly rounded; 0.0 of nothing."""
        return self.total / (self.count << (-_LOWEST * _BITS)) if self.count else 0.0

    @property
    def std(self) -> float:
        """The standard deviation, divided by n as StandardScaler does; 0.0 of nothing."""
        above = self.count * self.squares - self.total**2
        if above <= 0:
            return 0.0
        below = self.count**2 << (-2 * _LOWEST * _BITS)
        # Halving the exponent first keeps the quotient within float64 whatever the numbers are.
        half = (above.bit_length() - below.bit_length()) // 2
        ratio = above / (below << 2 * half) if half >= 0 else (above << -2 * half) / below
        return math.ldexp(math.sqrt(ratio), half)


def _sums(values: Floats, shift: int) -> tuple[int, int]:
    """Sum and sum of squares in units of 2**-1100 and 2**-2200 of `values` * 2**(shift * 20)."""
    if not len(values):
        return 0, 0
    top = math.frexp(max(float(values.max()), -float(values.min())))[1] // _BITS
    total = squares = 0
    for start in range(0, len(values), _ROWS):
        limbs = _limbs(values[start : start + _ROWS], top)
        places = [top - i + shift - _LOWEST for i in range(len(limbs))]
        products = limbs @ limbs.T
        for i, (place, limb) in enumerate(zip(places, limbs.sum(axis=1), strict=True)):
            total += _at(limb, place)
            squares += _at(products[i, i], 2 * place)
            for j in range(i):
                squares += _at(2 * products[i, j], place + places[j])
    return total, squares


def _limbs(values: Floats, top: int) -> Floats:
    """Cut into limbs, shape (num_limbs, n): `values` = sum of limbs[i] * 2**((top - i) * 20)."""
    rest = values.copy()
    limbs: list[Floats] = []
    while rest.any() or not limbs:
        unit = math.ldexp(1.0, (top - len(limbs)) * _BITS)
        # Adding and taking away a number whose last bit is `unit` rounds to multiples of it.
        rounder = 1.5 * 2.0**52 * unit
        limb = rest + rounder
        limb -= rounder
        rest -= limb
        limb *= 1 / unit
        limbs.append(limb)
    return np.stack(limbs)


def _at(limb: float, place: int) -> int:
    return int(limb) << (place * _BITS)
