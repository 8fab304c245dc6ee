"""Models of nearest neighbours are written without their search trees, which are grown anew.

The one decision: a search tree is compiled code's own memory, so a crafted one could crash the
process, and it holds a second copy of all rows. It follows from the rows alone, and a tree of the
same rows is the same tree, so predictions are, too.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["grow_search_trees", "without_search_trees"]

_GROWN = ("kd_tree", "ball_tree")


@contextlib.contextmanager
def without_search_trees(objects: Iterable[Any]) -> Iterator[None]:
    """Take the search trees out of estimators while the block runs.

    Args:
        objects: All that a model holds; who has no search tree is left alone.
    """
    taken = [(model, model._tree) for model in _neighbours(objects)]
    try:
        for model, _ in taken:
            model._tree = None
        yield
    finally:
        for model, tree in taken:
            model._tree = tree


def grow_search_trees(objects: Iterable[Any]) -> None:
    """Give estimators that were written without their search trees such trees, as `fit` does.

    Args:
        objects: All that a model holds.

    Raises:
        ValueError: the rows or the metric are none that a tree can be grown of.
    """
    for model in _neighbours(objects):
        if model._tree is None:
            from sklearn.neighbors import BallTree, KDTree

            grow = KDTree if model._fit_method == "kd_tree" else BallTree
            metric, params = model.effective_metric_, model.effective_metric_params_
            model._tree = grow(model._fit_X, model.leaf_size, metric=metric, **params)


def _neighbours(objects: Iterable[Any]) -> list[Any]:
    """Estimators that search by a tree; where there is one, its module is loaded."""
    base = sys.modules.get("sklearn.neighbors._base")
    if base is None:
        return []
    return [
        item
        for item in objects
        if isinstance(item, base.NeighborsBase) and getattr(item, "_fit_method", None) in _GROWN
    ]
