"""The best trials of a search as a pool for an ensemble, with what they have said out of fold.

The one decision: predictions are kept of the best trials only, up to so many bytes. A search of a
thousand trials over a million rows would keep more predictions than there is data.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier

from distml.ensemble.handover import HandedOver, Pool, fingerprint
from distml.errors import UserError
from distml.tune.trials import Course, Trial

__all__ = ["Kept", "Spoken", "make_pool", "spoken"]

_MAX_BYTES = 256 * 1024**2
_BREADTH = 3
"""Members are chosen among so many times as many of the best."""


class Kept:
    """Trials whose predictions are kept: the best that there is room for.

    Args:
        max_bytes: Room.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._room = max_bytes
        self._worst_first: list[tuple[tuple[int, float], int, Trial]] = []

    def add(self, trial: Trial, rank: tuple[int, float]) -> None:
        """A trial ended; others may have to give way to it.

        Args:
            trial: It.
            rank: How far it came, and its score.
        """
        heapq.heappush(self._worst_first, (rank, -trial.number, trial))
        self._room -= trial.said_bytes
        while self._room < 0:
            _, _, worst = heapq.heappop(self._worst_first)
            self._room += worst.said_bytes
            worst.forget_said()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Spoken:
    """What trials of a finished search have said of rows they were not fitted on."""

    splits: list[tuple[np.ndarray, np.ndarray]]
    """The folds."""
    fingerprint: str
    """Of the rows and fit parameters."""
    estimators: Mapping[str, BaseEstimator]
    """Trial → what it fitted, unfitted; best first."""
    methods: Mapping[str, str]
    """Trial → the method that said it."""
    said: Mapping[str, Sequence[Any]]
    """Trial → its predictions, fold by fold."""


def spoken(course: Course, trials: Sequence[Trial], metric: str) -> Spoken:
    """Gather what trials have said: of those that came furthest, and whose fit is one fit.

    Args:
        course: What the trials had to do.
        trials: They.
        metric: Which score they are ordered by.
    """
    furthest = max(trial.step for trial in trials)
    able = [
        trial
        for trial in trials
        if trial.step == furthest
        and trial.has_spoken(len(course.splits))
        and course.is_plain(trial)
    ]
    able.sort(key=lambda trial: trial.value(metric), reverse=True)
    numbers = range(len(course.splits))
    classes = is_classifier(course.estimator)
    return Spoken(
        splits=list(course.splits),
        fingerprint=fingerprint(course.view, course.fit_params, classes=classes) if able else "",
        estimators={trial.name: course.member(trial) for trial in able},
        methods={trial.name: trial.folds[0].said_by for trial in able},
        said={trial.name: [trial.folds[number].said for number in numbers] for trial in able},
    )


def make_pool(told: Spoken | None, k: int) -> Pool:
    """The best trials that differ most in what they say.

    Args:
        told: What trials have said.
        k: How many at most.

    Raises:
        UserError: there are none, or their folds are no partition of the rows.
    """
    if not isinstance(k, Integral) or k < 1:
        raise UserError(f"k={k!r}: give a whole number, an ensemble takes at least 1 trial")
    if told is None or not told.estimators:
        raise UserError(
            "the search has kept no predictions of trials that went to their end by one fit; fit "
            "it here with keep_predictions=True, and with resource='folds' if it made passes"
        )
    rows = np.sort(np.concatenate([test for _, test in told.splits]))
    if not np.array_equal(rows, np.arange(len(rows))):
        raise UserError(
            "cv: a pool needs each row in one test fold; give KFold or another partition"
        )
    names = _diverse(told, k)
    handed_over = HandedOver(
        fingerprint=told.fingerprint,
        methods={name: told.methods[name] for name in names},
        said={name: told.said[name] for name in names},
    )
    estimators = [(name, told.estimators[name]) for name in names]
    return Pool(estimators=estimators, splits=told.splits, handed_over=handed_over)


def _diverse(told: Spoken, k: int) -> list[str]:
    """The best, then again and again the one that is least like any of those chosen."""
    names = list(told.estimators)[: _BREADTH * k]
    flat = np.stack([np.concatenate([np.ravel(part) for part in told.said[n]]) for n in names])
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.abs(np.nan_to_num(np.atleast_2d(np.corrcoef(flat)), nan=1.0))
    chosen = [0]
    while len(chosen) < min(k, len(names)):
        nearest = alike[:, chosen].max(axis=1)
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
    return [names[number] for number in sorted(chosen)]
