"""Folds and bootstraps as plans of row numbers.

Pure: the plan depends on its arguments alone, and on no library's random stream: rows are ordered
by a hash of their number and the seed (see `rowhash`), so a plan is the same in every version of
NumPy. Refused: fewer rows, groups or rows of a class than folds.
"""

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt

from distml.data.rowhash import Hashes, mix, salt, uniform
from distml.errors import DataError, UserError

__all__ = ["bootstrap_rows", "fold_rows"]

Rows = npt.NDArray[np.int64]


def fold_rows(
    n: int, k: int, seed: int, *, groups: Any | None = None, strata: Any | None = None
) -> list[Rows]:
    """Deal `n` rows into `k` folds that are disjoint and complete.

    Sizes differ by at most one row; with `strata`, so do the rows of each class. With `groups`,
    rows of one group share a fold, and sizes are as equal as dealing the largest group first makes
    them.

    Args:
        n: number of rows.
        k: number of folds.
        seed: another seed, other folds.
        groups: array of shape (n,), any values that can be sorted.
        strata: array of shape (n,), the class of each row.

    Returns:
        The rows of each fold, sorted, int64: what is left out, or tested, in that fold.

    Raises:
        UserError: `k` is below 2, or both `groups` and `strata` are given.
        DataError: fewer rows, groups, or rows of a class than folds.
    """
    if k < 2:
        raise UserError(f"folds: k={k} must be at least 2")
    if groups is not None and strata is not None:
        raise UserError("folds: give groups or strata, not both")
    if n < k:
        raise DataError(f"folds: {n} rows are fewer than {k} folds; use fewer folds")
    if groups is not None:
        fold = _deal_groups(_codes(groups, n, "groups"), k, seed)
    else:
        codes = _codes(np.zeros(n) if strata is None else strata, n, "strata")
        fold = _deal(codes, k, seed)
    return [np.flatnonzero(fold == i) for i in range(k)]


def bootstrap_rows(n: int, seed: int, num_rows: int | None = None) -> Rows:
    """Draw rows with replacement.

    Args:
        n: number of rows to draw from.
        seed: another seed, another sample.
        num_rows: number of draws; `n` by default.

    Returns:
        Array of shape (num_rows,), int64, in the order of drawing.

    Raises:
        UserError: nothing to draw from, or a negative number of draws.
    """
    draws = n if num_rows is None else num_rows
    if n < 1 or draws < 0:
        raise UserError(f"bootstrap: cannot draw {draws} rows from {n}")
    return np.floor(uniform(_row_hashes(draws, "bootstrap", seed)) * n).astype(np.int64)


def _row_hashes(n: int, *words: object) -> Hashes:
    return mix(mix(np.arange(n, dtype=np.uint64)) ^ salt(*words))


def _codes(values: Any, n: int, name: str) -> Rows:
    values = np.asarray(values)
    if values.shape != (n,):
        raise UserError(
            f"folds: {name} has shape {values.shape}; give one value for each of the {n} rows"
        )
    try:
        return np.unique(values, return_inverse=True)[1].astype(np.int64)
    except TypeError as error:
        raise DataError(
            f"folds: {name} mixes types or has nulls; give each row one value"
        ) from error


def _deal(codes: Rows, k: int, seed: int) -> Rows:
    counts = np.bincount(codes)
    if counts.min() < k:
        raise DataError(
            f"folds: a class has {counts.min()} rows, fewer than {k} folds; use fewer folds or "
            "drop the class"
        )
    order = np.lexsort((_row_hashes(len(codes), "folds", seed), codes))
    fold = np.empty(len(codes), dtype=np.int64)
    # One deal through all classes, never starting over: classes and folds are level to one row.
    fold[order] = np.arange(len(codes)) % k
    return fold


def _deal_groups(codes: Rows, k: int, seed: int) -> Rows:
    sizes = np.bincount(codes)
    if len(sizes) < k:
        raise DataError(f"folds: {len(sizes)} groups are fewer than {k} folds; use fewer folds")
    fold_of = np.empty(len(sizes), dtype=np.int64)
    smallest = [(0, fold) for fold in range(k)]
    for group in np.lexsort((_row_hashes(len(sizes), "folds", seed), -sizes)):
        total, fold = smallest[0]
        fold_of[group] = fold
        heapq.heapreplace(smallest, (total + int(sizes[group]), fold))
    return fold_of[codes]
