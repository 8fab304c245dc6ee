"""How far new rows have moved away from those a model was fitted on, column by column.

Two measures, taken from two profiles (see `distml.runs.profile`) and not from rows: the population
stability index over the deciles or values of the earlier rows, nulls counting as a value (Siddiqi,
Credit Risk Scorecards, 2006, whose limits of 0.1 and 0.25 are used), and for numbers the distance
of Kolmogorov and Smirnov. One decision: what sampling alone would show in one of twenty cases is no
drift, so small sets do not cry wolf (Yurdakul and Naranjo, Statistical Properties of the Population
Stability Index, 2020). Profiles keep at most 1,000 quantiles of a column, so both are exact up to
that many rows and good to about 0.001 beyond.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import chdtri

from distml.runs.profile import OTHER

__all__ = ["LARGE", "SOME", "drift", "ks_distance", "psi"]

SOME, LARGE = 0.1, 0.25
"""Stability indices from which a column is said to have moved, somewhat or far."""

_LEAST_SHARE = 1e-4
_ALL_DECILES = 11
_CHANCE = 0.05

Profile = Mapping[str, Any]


def drift(before: Profile, after: Profile) -> list[dict[str, Any]]:
    """Compare the columns that two profiles share.

    Args:
        before: Of the rows the model was fitted on.
        after: Of new rows.

    Returns:
        For each column, in the order of `before`: `column`, `kind`, `psi`, `chance` (what the index
        exceeds by chance in one of twenty cases), `ks` (`None` for a category), `nulls_before`,
        `nulls_after` (shares), and `moved`: `no`, `some` or `far`.
    """
    rows = before["rows"], after["rows"]
    return [
        {"column": name, **_compare(known, after["columns"][name], rows)}
        for name, known in before["columns"].items()
        if known["kind"] == after["columns"].get(name, {}).get("kind")
    ]


def psi(expected: np.ndarray, actual: np.ndarray, least: float = _LEAST_SHARE) -> float:
    """The population stability index: sum of (actual - expected) * ln(actual / expected).

    Args:
        expected: Float array of shape (n_bins,), shares that sum to 1.
        actual: The same of the new rows.
        least: What smaller shares count as, in both.
    """
    expected, actual = (np.maximum(shares, least) for shares in (expected, actual))
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def ks_distance(before: np.ndarray, after: np.ndarray) -> float:
    """Largest distance of two empirical distributions, as `scipy.stats.ks_2samp` has it.

    Args:
        before: Sorted float array, not empty.
        after: The same of the new rows.
    """
    points = np.concatenate([before, after])
    first, second = (np.searchsorted(v, points, side="right") / len(v) for v in (before, after))
    return float(np.abs(first - second).max())


def _compare(before: Profile, after: Profile, rows: tuple[int, int]) -> dict[str, Any]:
    is_number = before["kind"] == "number"
    expected, actual = _shares_of_numbers(before, after) if is_number else _shares(before, after)
    # A bin without any row counts as half a row: in a small set that is no sign of an empty one.
    least = max(_LEAST_SHARE, 0.5 / max(1, min(rows)))
    index, chance = psi(expected, actual, least), _by_chance(expected, actual, rows)
    known = is_number and before["sample"] and after["sample"]
    return {
        "kind": before["kind"],
        "psi": index,
        "chance": chance,
        "ks": ks_distance(_sample(before), _sample(after)) if known else None,
        "nulls_before": before["nulls"],
        "nulls_after": after["nulls"],
        "moved": _verdict(index, chance),
    }


def _verdict(index: float, chance: float) -> str:
    if index <= max(SOME, chance):
        return "no"
    return "far" if index > LARGE else "some"


def _by_chance(expected: np.ndarray, actual: np.ndarray, rows: tuple[int, int]) -> float:
    """The index's upper 5 % point if both were drawn from one distribution: scaled chi-square."""
    num_bins = int(((expected > 0) | (actual > 0)).sum())
    if num_bins < 2 or not all(rows):
        return 0.0
    return float(chdtri(num_bins - 1, _CHANCE) * sum(1 / n for n in rows))


def _shares_of_numbers(before: Profile, after: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the rows between the deciles of `before`, and of nulls."""
    cuts = _cuts(np.array(before["edges"]))
    return _binned(before, cuts), _binned(after, cuts)


def _cuts(edges: np.ndarray) -> np.ndarray:
    """Where bins end; a value that several deciles share gets an end of its own."""
    if len(edges) == 1:
        return np.array([np.nextafter(edges[0], -np.inf), edges[0]])
    return edges[1:-1] if len(edges) == _ALL_DECILES else edges[:-1]


def _binned(column: Profile, cuts: np.ndarray) -> np.ndarray:
    sample = _sample(column)
    counts = np.bincount(np.searchsorted(cuts, sample), minlength=len(cuts) + 1)
    return _with_nulls(counts / max(len(sample), 1), column["nulls"])


def _shares(before: Profile, after: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the values that `before` knows, of all others, and of nulls."""
    known = [value for value in before["values"] if value != OTHER]
    return _valued(before, known), _valued(after, known)


def _valued(column: Profile, known: Sequence[str]) -> np.ndarray:
    shares = [column["values"].get(value, 0.0) for value in known]
    rest = sum(column["values"].values()) - sum(shares)
    return _with_nulls(np.array([*shares, max(rest, 0.0)]), column["nulls"])


def _with_nulls(shares: np.ndarray, nulls: float) -> np.ndarray:
    return np.append(shares * (1 - nulls), nulls)


def _sample(column: Profile) -> np.ndarray:
    return np.array(column["sample"], dtype=np.float64)
