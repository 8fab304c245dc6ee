"""How a cost grows with rows: a curve through a few measurements, and what it says of more rows.

One decision: a cost is `a + b * rows**c` with nothing negative, and `c` is drawn towards 1. Three
or four timings of a fit cannot tell a fixed cost from a gentle bend; without that pull, a hundredth
of a second of noise at the smallest size would become a factor of two at full size.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

__all__ = ["Estimate", "Growth", "expect", "fit_growth", "makespan", "total"]

_EXPONENTS = np.linspace(0.5, 2.5, 81)
_PULL = 0.01
"""Squared noise of a timing (3 %) over the squared spread of exponents (0.3), as in a ridge."""
_FLOOR = 0.05
"""Share of the largest value that counts as noise: what is small was timed worse."""
_LEAST_SPREAD = 0.1
"""The same fit, timed again, takes up to this much more or less."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that is expected, and the range it is expected in."""

    value: float
    low: float
    high: float

    def plus(self, other: "Estimate") -> "Estimate":
        """The sum. Ranges add up, since what misleads one estimate misleads the others too."""
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> "Estimate":
        """So many of it."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high)


@dataclass(frozen=True, slots=True)
class Growth:
    """The curve `fixed + slope * rows**exponent`."""

    fixed: float
    slope: float
    exponent: float

    def at(self, rows: float) -> float:
        """The cost of this many rows."""
        return float(self.fixed + self.slope * rows**self.exponent)


def fit_growth(
    rows: Sequence[float], costs: Sequence[float], *, exponents: Sequence[float] | None = None
) -> Growth:
    """Fit the curve to measurements by non-negative least squares over a grid of exponents.

    Args:
        rows: Array of shape (n_sizes,), at least 1, of different sizes.
        costs: Array of shape (n_sizes,), not negative: seconds or bytes at each size.
        exponents: Exponents that are possible; 0.5 to 2.5 by default.

    Returns:
        The curve; through the origin where there is one size only.
    """
    n, y = np.asarray(rows, dtype=float), np.asarray(costs, dtype=float)
    if len(n) == 1 or not y.any():
        return Growth(0.0, float(y[-1] / n[-1]), 1.0)
    tried = [_fitted(n, y, c) for c in (_EXPONENTS if exponents is None else exponents)]
    return min(tried, key=lambda pair: pair[0])[1]


def expect(
    rows: Sequence[float],
    costs: Sequence[float],
    at: float,
    *,
    exponents: Sequence[float] | None = None,
) -> Estimate:
    """What a cost will be at a size that was not measured.

    The range holds every curve that is fitted without one of the sizes (jackknife), widened by the
    spread of the measurements around the curve.

    Args:
        rows: Array of shape (n_sizes,): measured sizes.
        costs: Array of shape (n_sizes,): measured costs.
        at: The size asked about.
        exponents: See `fit_growth`.
    """
    curve = fit_growth(rows, costs, exponents=exponents)
    value, guesses = curve.at(at), [curve.at(at)]
    if len(rows) > 2:
        for left_out in range(len(rows)):
            some = [i for i in range(len(rows)) if i != left_out]
            fewer = [rows[i] for i in some], [costs[i] for i in some]
            guesses.append(fit_growth(*fewer, exponents=exponents).at(at))
    elif len(rows) == 1 and at > rows[0]:
        guesses.append(costs[0])
    spread = 1 + _LEAST_SPREAD + 2 * _residual(curve, rows, costs)
    return Estimate(value, min(guesses) / spread, max(guesses) * spread)


def makespan(seconds: Iterable[float], num_cpus: int) -> float:
    """Wall time of independent fits on some CPUs, the longest first.

    Graham (1969), "Bounds on multiprocessing timing anomalies": at most 4/3 of the best there is.

    Args:
        seconds: Duration of each fit, on one CPU.
        num_cpus: CPUs, at least 1.
    """
    busy_until = [0.0] * num_cpus
    for duration in sorted(seconds, reverse=True):
        heapq.heappush(busy_until, heapq.heappop(busy_until) + duration)
    return max(busy_until)


def total(estimates: Iterable[Estimate]) -> Estimate:
    """The sum of estimates."""
    whole = Estimate(0.0, 0.0, 0.0)
    for estimate in estimates:
        whole = whole.plus(estimate)
    return whole


def _fitted(n: np.ndarray, y: np.ndarray, exponent: float) -> tuple[float, Growth]:
    """The best curve of this exponent, and what is against it."""
    most, largest = n.max(), y.max()
    design, shares = np.column_stack([np.ones_like(n), (n / most) ** exponent]), y / largest
    weights = 1 / (shares + _FLOOR)
    (fixed, slope), miss = nnls(design * weights[:, None], shares * weights)
    slope = largest * slope / most**exponent
    growth = Growth(float(largest * fixed), float(slope), float(exponent))
    return miss**2 + _PULL * (exponent - 1) ** 2, growth


def _residual(curve: Growth, rows: Sequence[float], costs: Sequence[float]) -> float:
    """Root mean square of the relative distance of measurements from the curve."""
    floor = _FLOOR * max(costs) or 1.0
    misses = [(curve.at(n) - y) / (y + floor) for n, y in zip(rows, costs, strict=True)]
    return math.sqrt(sum(miss**2 for miss in misses) / len(misses))
