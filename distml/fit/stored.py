"""Which fits of a job its storage already has, found out without fitting any.

One decision: an ensemble of ours says itself which of its units are stored, just before it starts
the first that is not; there the survey interrupts it. What would wait for that one is taken to be
missing. All rows are read and encoded for it, since they are part of a unit's name.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from distml.fit.recipe import Recipe
from distml.fit.refit import Refits
from distml.fit.sampling import kind_of
from distml.runs.events import use_events

__all__ = ["survey"]


class _EnoughError(Exception):
    """A fit would start."""


def survey(
    recipe: Recipe, rows: pa.Table, y: np.ndarray, refits: Sequence[Refits], *, has_members: bool
) -> Counter[str]:
    """Count the units that the active store has.

    Args:
        recipe: Unfitted.
        rows: Features of the training rows.
        y: Array of shape (n_rows,).
        refits: Of a cross-validation and a learning curve, if they are asked for.
        has_members: Whether the estimator is, or has in it, an ensemble of ours.

    Returns:
        Kind of fit → how many are stored.
    """
    found: Counter[str] = Counter()
    with use_events(_counting(found)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if has_members:
            with suppress(_EnoughError):
                recipe.anew().fit(rows, y)
        for each in refits:
            _look(each, found)
    return found


def _look(refits: Refits, found: Counter[str]) -> None:
    if not refits.are_one_queue:
        found.update(kind_of(refits.each[place].name) for place in refits.kept()[1])
        return
    for wave in refits.waves(range(len(refits.each))):
        with suppress(_EnoughError):
            refits.fit_wave(wave)


def _counting(found: Counter[str]) -> Callable[..., None]:
    def listen(kind: str, **fields: Any) -> None:
        if kind == "unit_started":
            raise _EnoughError
        if kind == "unit_done":
            found[kind_of(fields["unit"])] += 1

    return listen
