"""The worker's side of a fit: a unit and its arrays in, an outcome out.

`run_unit` never raises what a fit raises: the error is part of the outcome, so one failed member
does not cancel the others. What the fit prints and warns of is carried back and said in the
driver's process, as if the fit had run there.
"""

import contextlib
import copy
import io
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import joblib
import numpy as np
import sklearn
from sklearn.base import clone
from threadpoolctl import ThreadpoolController

from distml import session
from distml.ensemble.members import Unit, View, fit_member
from distml.ensemble.memory import Memory
from distml.ensemble.parcel import Outcome, Packed, WorkerLostError, pack
from distml.errors import StorageError
from distml.runs.units import UnitStore, use_units

__all__ = [
    "Outcome",
    "Packed",
    "Settings",
    "WorkerLostError",
    "attach",
    "detach",
    "perform",
    "run_unit",
    "run_units",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a worker must know besides the unit and its arrays."""

    cpus: int | None = None
    """Threads the fit may use. `None`: it runs in the driver, as it is."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """scikit-learn's configuration in the driver."""
    units: UnitStore | None = None
    """Where to store the value."""
    key: str | None = None
    """Under which key."""
    has_workers: bool = False
    """The fit spreads itself over workers of its own."""


def run_unit(shell: Unit, settings: Settings, *arrays: Any) -> Packed:
    """Carry out a unit in a worker.

    Args:
        shell: The unit without its arrays, as `detach` leaves it.
        settings: Threads, configuration, store.
        *arrays: What `detach` took out, in its order.
    """
    unit = attach(shell, arrays)
    printed = io.StringIO()
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        warnings.simplefilter("always")
        outcome = perform(unit, settings)
    return pack(outcome, printed.getvalue(), caught)


def run_units(
    shells: Sequence[Unit],
    settings: Sequence[Settings],
    places: Sequence[Sequence[int]],
    *arrays: Any,
) -> list[Packed]:
    """Carry out units one after another that are too small for a journey each.

    Args:
        shells: The units without their arrays.
        settings: Of each.
        places: Of each, which of the arrays are its own, in the order of `detach`.
        *arrays: The arrays of all, each once.
    """
    return [
        run_unit(shell, each, *(arrays[place] for place in own))
        for shell, each, own in zip(shells, settings, places, strict=True)
    ]


def perform(unit: Unit, settings: Settings) -> Outcome:
    """Fit, measure, store. Errors of the fit and of the store become part of the outcome."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    before, started = Memory.mark(), time.perf_counter()
    try:
        value = fit_member(unit) if settings.cpus is None else _fit_shared(unit, settings)
    except Exception as error:
        return Outcome(error=error, seconds=time.perf_counter() - started, worker=worker)
    seconds, peak = time.perf_counter() - started, Memory.now().peak_since(before)
    outcome = Outcome(value=value, seconds=seconds, peak_bytes=peak, worker=worker)
    if settings.units is None or settings.key is None:
        return outcome
    try:
        settings.units.put(settings.key, outcome, {"unit": unit.name, "seconds": seconds})
    except StorageError as error:
        return replace(outcome, value=None, error=error)
    return outcome


def _fit_shared(unit: Unit, settings: Settings) -> Any:
    """Fit on the shared arrays, which cannot be written to; on copies if the estimator must.

    scikit-learn's forests do with missing values, though they only read: their check for NaN asks
    for memory it could write.
    """
    spare = unit.estimator if unit.fitted else clone(unit.estimator)
    try:
        return _fit_within(unit, settings)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
    view = replace(unit.view, X=copy.copy(unit.view.X), y=copy.copy(unit.view.y))
    return _fit_within(replace(unit, estimator=spare, view=view), settings)


def _fit_within(unit: Unit, settings: Settings) -> Any:
    """Fit with the driver's scikit-learn configuration, on as many threads as the unit has CPUs."""
    with (
        contextlib.nullcontext() if settings.has_workers else session.inline(),
        _units_of(settings),
        sklearn.config_context(**settings.config),
        _thread_pools(len(sys.modules)).limit(limits=settings.cpus),
        joblib.parallel_config(backend="threading", n_jobs=settings.cpus),
        _capped_jobs(unit.estimator, settings.cpus or 1),
    ):
        return fit_member(unit)


@lru_cache(maxsize=1)
def _thread_pools(num_modules: int) -> ThreadpoolController:
    """The thread pools of this process; looked for again once a module was loaded since.

    To look for them takes as long as a small fit.
    """
    return ThreadpoolController()


@contextlib.contextmanager
def _units_of(settings: Settings) -> Iterator[None]:
    """Let a long fit keep what it has done where the driver keeps its units."""
    if settings.units is None:
        yield
        return
    with use_units(settings.units):
        yield


@contextlib.contextmanager
def _capped_jobs(estimator: Any, cpus: int) -> Iterator[None]:
    """Lower an `n_jobs` that asks for more than the unit has, and put it back after the fit."""
    asked = {
        name: value
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "n_jobs" and value is not None and not 0 < value <= cpus
    }
    if asked:
        estimator.set_params(**dict.fromkeys(asked, cpus))
    try:
        yield
    finally:
        if asked:
            estimator.set_params(**asked)


def detach(unit: Unit) -> tuple[Unit, list[Any]]:
    """Take the arrays out of a unit, so that each can be shared by itself.

    Returns:
        The unit without them, and the arrays: `X` first.
    """
    view, fold, draw = unit.view, unit.out_of_fold, unit.draw
    arrays = [
        *(view.X, view.y, view.rows, view.columns),
        *((fold.train, fold.test) if fold else (None, None)),
        draw.sample_weight if draw else None,
        *unit.fit_params.values(),
        *unit.own_params.values(),
    ]
    shell = replace(
        unit,
        view=View(None, None),
        out_of_fold=fold and replace(fold, train=_ABSENT, test=_ABSENT),
        draw=draw and replace(draw, sample_weight=None),
        fit_params=dict.fromkeys(unit.fit_params),
        own_params=dict.fromkeys(unit.own_params),
    )
    return shell, arrays


def attach(shell: Unit, arrays: tuple[Any, ...]) -> Unit:
    """Undo `detach`."""
    X, y, rows, columns, train, test, sample_weight, *values = arrays
    fold, draw, num_fit = shell.out_of_fold, shell.draw, len(shell.fit_params)
    return replace(
        shell,
        view=View(X, y, rows, columns),
        out_of_fold=fold and replace(fold, train=train, test=test),
        draw=draw and replace(draw, sample_weight=sample_weight),
        fit_params=dict(zip(shell.fit_params, values[:num_fit], strict=True)),
        own_params=dict(zip(shell.own_params, values[num_fit:], strict=True)),
    )


_ABSENT = np.empty(0, dtype=np.intp)
