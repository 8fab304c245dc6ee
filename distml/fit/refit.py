"""The job's recipe fitted again on other rows: folds of a cross-validation, a learning curve.

One decision: a refit is a unit. Its scores are kept under a key of all that determines them (rows,
labels, encoder, estimator, scorers, versions), so a run that is resumed, or one that asks for more
of them, fits only what is not there. Refits come one after another, and an ensemble inside one
spreads its members over the workers as always, each of them a unit by itself.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from distml.fit.evaluate import scores
from distml.fit.recipe import Recipe
from distml.runs.provenance import library_versions
from distml.runs.units import active_units, digest, unit_key

__all__ = ["Refit", "carry_out"]

Scores = Mapping[str, Mapping[str, float | None]]
"""Name of a set → scorer → score."""

_HERE = "driver"
"""Refits are fitted in the driver's process, but for the members of an ensemble."""

_FORMAT = 1
"""Of what is kept under a key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refit:
    """Rows to learn from and rows to be scored on."""

    name: str
    """Such as `cross-validation, fold 1 of 5`."""
    train: np.ndarray
    """Integer array of rows."""
    tests: Mapping[str, np.ndarray]
    """Name of a set → integer array of rows."""


def carry_out(
    refits: Sequence[Refit],
    recipe: Recipe,
    rows: pa.Table,
    y: np.ndarray,
    metrics: Sequence[str],
    emit: Callable[..., None],
) -> list[Scores]:
    """Fit and score each, or find what a former run has kept.

    Args:
        refits: What to fit.
        recipe: What is fitted anew for each; encoder included, which must not see other rows.
        rows: All rows that refits name.
        y: Array of shape (n_rows,).
        metrics: scikit-learn's scorer names.
        emit: Reports plan and units as events.

    Returns:
        Scores of each, in their order.

    Raises:
        MemberError: members of an ensemble failed.
        StorageError: the storage is full or refuses.
    """
    store = active_units()
    keys = [None] * len(refits) if store is None else _keys(refits, recipe, rows, y, metrics)
    kept = [_kept(key) for key in keys]
    # An ensemble of ours reports its members, which would count twice inside of a unit.
    report = _silent if "on_error" in recipe.estimator.get_params(deep=False) else emit
    report("plan", units=len(refits), cached=sum(found is not None for found in kept))
    results = []
    for refit, key, found in zip(refits, keys, kept, strict=True):
        started = time.perf_counter()
        if found is None:
            report("unit_started", unit=refit.name, member=refit.name, worker=_HERE, cpus=1)
        scored = found or _fit(refit, recipe, rows, y, metrics)
        if found is None and store is not None and key is not None:
            store.put(key, scored, {"member": refit.name})
        report("unit_done", **_done(refit, time.perf_counter() - started, found is not None))
        results.append(scored)
    return results


def _done(refit: Refit, seconds: float, cached: bool) -> dict[str, Any]:
    """What is reported of a refit that is there."""
    names = {"unit": refit.name, "member": refit.name, "worker": _HERE}
    return {**names, "seconds": seconds, "peak_bytes": 0, "cached": cached}


def _fit(
    refit: Refit, recipe: Recipe, rows: pa.Table, y: np.ndarray, metrics: Sequence[str]
) -> Scores:
    fitted = recipe.anew().fit(rows.take(pa.array(refit.train)), y[refit.train])
    return {
        name: scores(metrics, fitted.predict(rows.take(pa.array(test))), y[test])
        for name, test in refit.tests.items()
    }


def _keys(
    refits: Sequence[Refit],
    recipe: Recipe,
    rows: pa.Table,
    y: np.ndarray,
    metrics: Sequence[str],
) -> list[str]:
    common = digest([_FORMAT, rows, y, recipe.anew(), list(metrics), library_versions()])
    return [
        unit_key(kind="refit", common=common, train=refit.train, tests=dict(refit.tests))
        for refit in refits
    ]


def _kept(key: str | None) -> Any:
    store = active_units()
    if store is None or key is None:
        return None
    try:
        return store.get(key)
    except KeyError:
        return None


def _silent(kind: str, **fields: Any) -> None:
    """Report nothing."""
