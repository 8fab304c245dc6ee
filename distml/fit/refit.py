"""The job's recipe fitted again on other rows: folds of a cross-validation, a learning curve.

One decision: a refit is a unit. Its scores are kept under a key of all that determines them (rows,
labels, encoder, estimator, scorers, versions), so a run that is resumed, or one that asks for more
of them, fits only what is not there. Refits run beside each other: those of an ensemble of ours put
the fits of all their members into one queue, each of them a unit by itself; those of any other
estimator go to processes of their own, where that is worth it.
"""

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import sklearn

from distml import spread
from distml.fit.evaluate import scores
from distml.fit.recipe import Recipe
from distml.runs.provenance import library_versions
from distml.runs.units import active_units, digest, unit_key

__all__ = ["Refit", "Refits", "carry_out"]

Scores = Mapping[str, Mapping[str, float | None]]
"""Name of a set → scorer → score."""

_HERE = "driver"
"""Where refits of ensembles are, but for their members, and those that are over soon."""

_FORMAT = 1
"""Of what is kept under a key."""

_MOST_COPIES = 4
"""Rows of the matrices that exist at once, as a multiple of all rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refit:
    """Rows to learn from and rows to be scored on."""

    name: str
    """Such as `cross-validation, fold 1 of 5`."""
    train: np.ndarray
    """Integer array of rows."""
    tests: Mapping[str, np.ndarray]
    """Name of a set → integer array of rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refits:
    """Fits of one recipe on several choices of rows, each scored on others."""

    recipe: Recipe
    """What is fitted anew for each; encoder included, which must not see other rows."""
    rows: pa.Table
    """All rows that they name."""
    y: np.ndarray
    """Array of shape (n_rows,)."""
    metrics: Sequence[str]
    """scikit-learn's scorer names."""
    each: Sequence[Refit]
    """They."""
    config: Mapping[str, Any] = field(default_factory=sklearn.get_config)
    """scikit-learn's."""

    @property
    def are_one_queue(self) -> bool:
        """Whether the recipe is an ensemble of ours, which can be fitted on all of them at once."""
        return hasattr(self.recipe.estimator, "fit_copies")

    def kept(self) -> tuple[list[str | None], dict[int, "_Done"]]:
        """Key of each, and what former runs have kept: its place → what came of it."""
        store = active_units()
        if store is None:
            return [None] * len(self.each), {}
        keys, found = self._keys(), {}
        for place, key in enumerate(keys):
            with contextlib.suppress(KeyError):
                found[place] = _Done(scores=store.get(key), cached=True)
        return list(keys), found

    def waves(self, places: Sequence[int]) -> Iterator[Sequence[int]]:
        """The places in groups whose matrices may exist at one time."""
        wave: list[int] = []
        num_rows, most = 0, _MOST_COPIES * self.rows.num_rows
        for place in places:
            num_rows += len(self.each[place].train)
            if wave and num_rows > most:
                yield wave
                wave, num_rows = [], len(self.each[place].train)
            wave.append(place)
        if wave:
            yield wave

    def fit_wave(self, wave: Sequence[int]) -> list[Recipe]:
        """Fit an ensemble of ours at some places, the fits of all its members in one queue."""
        recipes = [self.recipe.anew() for _ in wave]
        sets = [
            (self.each[place].name, *self._training_data(recipe, self.each[place]))
            for place, recipe in zip(wave, recipes, strict=True)
        ]
        estimator: Any = self.recipe.estimator
        pairs = zip(recipes, estimator.fit_copies(sets), strict=True)
        return [replace(recipe, estimator=fitted) for recipe, fitted in pairs]

    def fit_one(self, place: int, cpus: int | None = None) -> "_Done":
        """Fit and score one; in a worker if it is told how many CPUs it may use."""
        started, recipe = time.perf_counter(), self.recipe.anew()
        worker = _HERE if cpus is None else f"{socket.gethostname()}:{os.getpid()}"
        if cpus is not None:
            _cap_jobs(recipe.estimator, cpus)
        with sklearn.config_context(**self.config):
            recipe.train(*self._training_data(recipe, self.each[place]))
            scored = self.scored(recipe, place)
        return _Done(scores=scored, seconds=time.perf_counter() - started, worker=worker)

    def scored(self, fitted: Recipe, place: int) -> Scores:
        """Scores of the recipe fitted at a place."""
        return {
            name: scores(self.metrics, fitted.predict(self.rows.take(pa.array(test))), self.y[test])
            for name, test in self.each[place].tests.items()
        }

    def _training_data(self, recipe: Recipe, refit: Refit) -> tuple[Any, np.ndarray]:
        """The matrix and labels that a refit learns from; fits the recipe's encoder."""
        y = self.y[refit.train]
        return recipe.learn(self.rows.take(pa.array(refit.train)), y), y

    def _keys(self) -> list[str]:
        recipe = self.recipe.anew()
        content = [_FORMAT, self.rows, self.y, recipe, list(self.metrics), library_versions()]
        common = digest(content)
        return [
            unit_key(kind="refit", common=common, train=refit.train, tests=dict(refit.tests))
            for refit in self.each
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Done:
    """What came of a refit."""

    scores: Scores
    seconds: float = 0.0
    worker: str = _HERE
    cached: bool = False


def carry_out(
    refits: Refits, emit: Callable[..., None], *, seconds: float | None = None
) -> list[Scores]:
    """Fit and score each, or find what a former run has kept.

    Args:
        refits: What to fit.
        emit: Reports plan and units as events.
        seconds: What all are expected to take one after another, if that is known.

    Returns:
        Scores of each, in their order.

    Raises:
        MemberError: members of an ensemble failed.
        StorageError: the storage is full or refuses.
    """
    # An ensemble of ours reports its members, which would count twice inside of a unit.
    report = _silent if refits.are_one_queue else emit
    keys, done = refits.kept()
    report("plan", units=len(keys), cached=len(done))
    for place, found in done.items():
        report("unit_done", **_told(refits.each[place], found))
    store, missing = active_units(), [place for place in range(len(keys)) if place not in done]
    fitted = (
        _together(refits, missing)
        if refits.are_one_queue
        else _apart(refits, missing, report, seconds)
    )
    for place, found in fitted:
        key = keys[place]
        if store is not None and key is not None:
            store.put(key, found.scores, {"member": refits.each[place].name})
        report("unit_done", **_told(refits.each[place], found))
        done[place] = found
    return [done[place].scores for place in range(len(keys))]


def _together(refits: Refits, places: Sequence[int]) -> Iterator[tuple[int, _Done]]:
    for wave in refits.waves(places):
        for place, fitted in zip(wave, refits.fit_wave(wave), strict=True):
            started = time.perf_counter()
            scored = refits.scored(fitted, place)
            yield place, _Done(scores=scored, seconds=time.perf_counter() - started)


def _apart(
    refits: Refits, places: Sequence[int], report: Callable[..., None], seconds: float | None
) -> Iterator[tuple[int, _Done]]:
    """Fit each by itself; gives each as soon as it is scored."""

    def started(place: int) -> None:
        refit = refits.each[place]
        names = {"unit": refit.name, "member": refit.name}
        report("unit_started", **names, rows=len(refit.train), cpus=1)

    if _has_workers(refits.recipe.estimator):
        # Its own workers would wait for CPUs that a refit holds.
        for place in places:
            started(place)
            yield place, refits.fit_one(place)
        return
    work = spread.Work(
        do=Refits.fit_one,
        shared=refits,
        name=lambda place: refits.each[place].name,
        most_cpus=math.inf,
    )
    yield from spread.spread(work, places, started, seconds=seconds)


def _cap_jobs(estimator: Any, cpus: int) -> None:
    """Lower every `n_jobs` that asks for more than there is."""
    asked = {
        name: cpus
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "n_jobs" and value is not None and not 0 < value <= cpus
    }
    estimator.set_params(**asked)


def _has_workers(estimator: Any) -> bool:
    """Whether it trains in several processes of its own, as a network may."""
    return any(
        name.split("__")[-1] == "num_workers" and isinstance(value, int) and value > 1
        for name, value in estimator.get_params(deep=True).items()
    )


def _told(refit: Refit, done: _Done) -> dict[str, Any]:
    """What is reported of a refit that is there."""
    return {
        "unit": refit.name,
        "member": refit.name,
        "rows": len(refit.train),
        "worker": done.worker,
        "seconds": done.seconds,
        "peak_bytes": 0,
        "cached": done.cached,
    }


def _silent(kind: str, **fields: Any) -> None:
    """Report nothing."""
