"""The job's recipe fitted again on other rows: folds of a cross-validation, a learning curve.

One decision: a refit is a unit. Its scores are kept under a key of all that determines them (rows,
labels, encoder, estimator, scorers, versions), so a run that is resumed, or one that asks for more
of them, fits only what is not there. Refits run beside each other: those of an ensemble of ours put
the fits of all their members into one queue, each of them a unit by itself; those of any other
estimator go to processes of their own, where that is worth it.
"""

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

__all__ = ["Refit", "carry_out"]

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
class _Task:
    """What all refits share."""

    recipe: Recipe
    """Unfitted."""
    rows: pa.Table
    y: np.ndarray
    metrics: Sequence[str]
    config: Mapping[str, Any] = field(default_factory=sklearn.get_config)

    def keys(self, refits: Sequence[Refit]) -> list[str]:
        content = [_FORMAT, self.rows, self.y, self.recipe, list(self.metrics), library_versions()]
        common = digest(content)
        return [
            unit_key(kind="refit", common=common, train=refit.train, tests=dict(refit.tests))
            for refit in refits
        ]

    def training_data(self, recipe: Recipe, refit: Refit) -> tuple[Any, np.ndarray]:
        """The matrix and labels that a refit learns from; fits the recipe's encoder."""
        y = self.y[refit.train]
        return recipe.learn(self.rows.take(pa.array(refit.train)), y), y

    def scores(self, fitted: Recipe, refit: Refit) -> Scores:
        return {
            name: scores(self.metrics, fitted.predict(self.rows.take(pa.array(test))), self.y[test])
            for name, test in refit.tests.items()
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Done:
    """What came of a refit."""

    scores: Scores
    seconds: float = 0.0
    worker: str = _HERE
    cached: bool = False


def carry_out(
    refits: Sequence[Refit],
    recipe: Recipe,
    rows: pa.Table,
    y: np.ndarray,
    metrics: Sequence[str],
    emit: Callable[..., None],
    *,
    seconds: float | None = None,
) -> list[Scores]:
    """Fit and score each, or find what a former run has kept.

    Args:
        refits: What to fit.
        recipe: What is fitted anew for each; encoder included, which must not see other rows.
        rows: All rows that refits name.
        y: Array of shape (n_rows,).
        metrics: scikit-learn's scorer names.
        emit: Reports plan and units as events.
        seconds: What all refits are expected to take one after another, if that is known.

    Returns:
        Scores of each, in their order.

    Raises:
        MemberError: members of an ensemble failed.
        StorageError: the storage is full or refuses.
    """
    task = _Task(recipe=recipe.anew(), rows=rows, y=y, metrics=list(metrics))
    store = active_units()
    keys: Sequence[str | None] = [None] * len(refits) if store is None else task.keys(refits)
    done = {place: found for place, key in enumerate(keys) if (found := _kept(key)) is not None}
    together = hasattr(task.recipe.estimator, "fit_copies")
    # An ensemble of ours reports its members, which would count twice inside of a unit.
    report = _silent if together else emit
    report("plan", units=len(refits), cached=len(done))
    for place, found in done.items():
        report("unit_done", **_told(refits[place], found))
    missing = [place for place in range(len(refits)) if place not in done]
    for place, found in _fitted(task, refits, missing, report, seconds, together=together):
        key = keys[place]
        if store is not None and key is not None:
            store.put(key, found.scores, {"member": refits[place].name})
        report("unit_done", **_told(refits[place], found))
        done[place] = found
    return [done[place].scores for place in range(len(refits))]


def _kept(key: str | None) -> _Done | None:
    store = active_units()
    if store is None or key is None:
        return None
    try:
        return _Done(scores=store.get(key), cached=True)
    except KeyError:
        return None


def _fitted(
    task: _Task,
    refits: Sequence[Refit],
    places: Sequence[int],
    report: Callable[..., None],
    seconds: float | None,
    *,
    together: bool,
) -> Iterator[tuple[int, _Done]]:
    """Fit those at some places; gives each as soon as it is scored."""
    if together:
        yield from _together(task, refits, places)
        return

    def started(place: int) -> None:
        name = refits[place].name
        report("unit_started", unit=name, member=name, rows=len(refits[place].train), cpus=1)

    given = (task, list(refits))
    if _has_workers(task.recipe.estimator):
        # Its own workers would wait for CPUs that a refit holds.
        for place in places:
            started(place)
            yield place, _refit(given, place)
        return
    work = spread.Work(
        do=_refit, shared=given, name=lambda place: refits[place].name, most_cpus=math.inf
    )
    yield from spread.spread(work, places, started, seconds=seconds)


def _refit(given: tuple[_Task, Sequence[Refit]], place: int, cpus: int | None = None) -> _Done:
    """Fit and score one; in a worker if it is told how many CPUs it may use."""
    task, refits = given
    started, recipe = time.perf_counter(), task.recipe.anew()
    worker = _HERE if cpus is None else f"{socket.gethostname()}:{os.getpid()}"
    if cpus is not None:
        _cap_jobs(recipe.estimator, cpus)
    with sklearn.config_context(**task.config):
        recipe.train(*task.training_data(recipe, refits[place]))
        scored = task.scores(recipe, refits[place])
    return _Done(scores=scored, seconds=time.perf_counter() - started, worker=worker)


def _together(
    task: _Task, refits: Sequence[Refit], places: Sequence[int]
) -> Iterator[tuple[int, _Done]]:
    """Fit an ensemble of ours on all of them, the fits of all members in one queue."""
    for wave in _waves(refits, places, _MOST_COPIES * task.rows.num_rows):
        recipes = [task.recipe.anew() for _ in wave]
        sets = [
            (refits[place].name, *task.training_data(recipe, refits[place]))
            for place, recipe in zip(wave, recipes, strict=True)
        ]
        fitted = task.recipe.estimator.fit_copies(sets)
        for place, recipe, estimator in zip(wave, recipes, fitted, strict=True):
            started = time.perf_counter()
            scored = task.scores(replace(recipe, estimator=estimator), refits[place])
            yield place, _Done(scores=scored, seconds=time.perf_counter() - started)


def _waves(
    refits: Sequence[Refit], places: Sequence[int], most_rows: int
) -> Iterator[Sequence[int]]:
    """The places in groups whose matrices may exist at one time."""
    wave: list[int] = []
    num_rows = 0
    for place in places:
        num_rows += len(refits[place].train)
        if wave and num_rows > most_rows:
            yield wave
            wave, num_rows = [], len(refits[place].train)
        wave.append(place)
    if wave:
        yield wave


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
