"""The key of a unit in the run's store: a hash of everything that determines its value.

Neither the place, nor the number of workers, nor the time is part of it, so a run that was begun
elsewhere goes on with what is there.
"""

from collections import Counter
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from distml.ensemble.members import Unit
from distml.ensemble.worker import Outcome
from distml.runs.units import UnitStore, digest, unit_key

__all__ = ["Keys"]

_FORMAT = 2
"""What is stored under a key: an `Outcome`. Another number for another form, so that a store that
an earlier distml has filled is passed over, not misread."""

_DECIDING_PACKAGES = ("distml", "numpy", "scipy", "scikit-learn", "torch", "xgboost")


class Keys:
    """Keys of the units of one fit. Arrays are hashed once, however many units name them."""

    def __init__(self, units: UnitStore | None) -> None:
        self._units = units
        self._digests: dict[int, tuple[Any, str]] = {}
        self._seen: Counter[str] = Counter()

    def key(self, unit: Unit) -> str | None:
        """The key of a unit; `None` without a store, and for a prediction of a fitted ensemble.

        Units with the same content are numbered: two forests without a seed are two forests.

        Raises:
            UserError: a parameter that cannot be told by its content, an open file for example.
        """
        if self._units is None or unit.fitted:
            return None
        view, fold, draw = unit.view, unit.out_of_fold, unit.draw
        content = unit_key(
            format=_FORMAT,
            estimator=unit.estimator,
            data=[self._digest(part) for part in (view.X, view.y, view.rows, view.columns)],
            fit_params={name: self._digest(value) for name, value in unit.fit_params.items()},
            fold=fold and [self._digest(fold.train), self._digest(fold.test), fold.method],
            classes=fold and fold.num_classes,
            draw=draw,
            versions=_versions(),
            **self._own_parts(unit),
        )
        self._seen[content] += 1
        return unit_key(content=content, occurrence=self._seen[content])

    def load(self, key: str | None) -> Outcome | None:
        """What came of the unit when it was fitted; `None` if the store does not have it."""
        if self._units is None or key is None:
            return None
        try:
            return replace(self._units.get(key), cached=True)
        except KeyError:
            return None

    def _own_parts(self, unit: Unit) -> dict[str, Any]:
        if unit.own is None:
            return {}
        params = {name: self._digest(value) for name, value in unit.own_params.items()}
        return {"own": [type(unit.own).__name__, unit.own.content()], "own_params": params}

    def _digest(self, array: Any) -> str:
        # The array is held beside its digest so that its id is not given to another one meanwhile.
        if id(array) not in self._digests:
            self._digests[id(array)] = (array, digest(array))
        return self._digests[id(array)][1]


@cache
def _versions() -> dict[str, str | None]:
    return {package: _version(package) for package in _DECIDING_PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
