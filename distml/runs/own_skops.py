"""A copy of skops of our own, without its lists of all that could be in a model.

The one decision: for its list of estimators skops imports all of scikit-learn with its tests, and
for that of functions it looks for each of 600 in every module: the better part of a second, in
which a small job does its whole work. What a list would say of a name is looked up when the name
occurs (see `model_file`). A program that imports skops itself gets it whole.
"""

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np

__all__ = ["own_skops"]


@functools.cache
def own_skops() -> ModuleType:
    """The module `skops.io` of the copy, imported when it is first asked for."""
    import scipy.special
    import sklearn.utils

    whole = {name: sys.modules.pop(name) for name in _loaded("skops")}
    try:
        with (
            _listing_nothing(sklearn.utils, "all_estimators"),
            _listing_nothing(scipy.special, "__dir__"),
            _listing_nothing(np, "__dir__"),
        ):
            return importlib.import_module("skops.io")
    finally:
        for name in _loaded("skops"):
            del sys.modules[name]
        sys.modules.update(whole)


@contextlib.contextmanager
def _listing_nothing(module: ModuleType, name: str) -> Iterator[None]:
    """Let a function of a module, which lists what there is, list nothing."""
    there = vars(module)
    before = there.get(name)
    there[name] = list
    try:
        yield
    finally:
        if before is None:
            del there[name]
        else:
            there[name] = before


def _loaded(package: str) -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == package]
