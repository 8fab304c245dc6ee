"""Trials, and the units that a step of one consists of.

The one decision: a trial is a record. It takes in what its folds came to and knows how far it is;
whether and when it goes on is the plan's affair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from distml.ensemble.members import OutOfFold, Unit, View
from distml.tune.folds import Fold, FoldScore, Stretch, WholeFit
from distml.tune.resource import Resource
from distml.tune.turns import Config

__all__ = ["Course", "Reason", "Trial"]


class Reason(StrEnum):
    """Why a trial ended."""

    COMPLETED = "completed"
    STOPPED = "scheduler"
    FAILED = "failed"
    TIME = "time_budget_s"
    PATIENCE = "early_stop_patience"


@dataclass(slots=True, eq=False)
class Trial:
    """One configuration, and what has come of it."""

    number: int
    """0, 1, 2, … in the order in which they were proposed."""
    config: Config
    """Its configuration now."""
    way: tuple[Stretch, ...] = ()
    """Where its learners have been."""
    step: int = 0
    """How far it is: amount of the resource, or folds done."""
    target: int = 0
    """How far it will be after the step in work."""
    missing: set[int] = field(default_factory=set)
    """Folds of the step in work that are not done."""
    arrived: dict[int, FoldScore] = field(default_factory=dict)
    """Folds of the step in work that are done."""
    folds: dict[int, FoldScore] = field(default_factory=dict)
    """Each fold as it was after the last step."""
    learners: dict[int, dict[int, bytes | None]] = field(default_factory=dict)
    """Step → fold → the learner as it was then, as long as it may be needed."""
    reason: Reason | None = None
    """Why it ended."""

    @property
    def name(self) -> str:
        """For people, who count from one."""
        return f"trial {self.number + 1}"

    @property
    def failed(self) -> bool:
        """Whether a fit of it failed."""
        return any(score.error is not None for score in self.folds.values())

    @property
    def error(self) -> str | None:
        """Why its first fit that failed did, in a line; `None`: none failed."""
        told = (score.error for score in self.folds.values() if score.error)
        lines = next(told, "").strip().splitlines()
        return lines[-1].strip() if lines else None

    @property
    def said_bytes(self) -> int:
        """Memory of what its learners said of rows held out."""
        return sum(int(getattr(fold.said, "nbytes", 0)) for fold in self.folds.values())

    def has_spoken(self, num_folds: int) -> bool:
        """Whether what its learners said of all folds is known."""
        said = [fold.said for fold in self.folds.values() if isinstance(fold.said, np.ndarray)]
        return len(said) == num_folds

    def forget_said(self) -> None:
        """Let go of what its learners said."""
        self.folds = {number: replace(fold, said=None) for number, fold in self.folds.items()}

    def value(self, metric: str) -> float:
        """Mean score of the folds, of the first scorer if none is named; NaN if there is none."""
        return self._mean(self.folds, metric)

    def reached(self, metric: str) -> float:
        """What its value will be once the step in work is settled."""
        return self._mean(self.folds | self.arrived, metric)

    def spread(self, metric: str) -> float | None:
        """Standard deviation of the score over the folds; `None` where there are not several."""
        scores = [_score(fold.test, metric) for fold in self.folds.values()]
        return float(np.std(scores)) if len(scores) > 1 else None

    @staticmethod
    def _mean(folds: Mapping[int, FoldScore], metric: str) -> float:
        scores = [_score(fold.test, metric) for fold in folds.values()]
        return float(np.mean(scores)) if scores else float("nan")

    @property
    def seconds(self) -> float:
        """Seconds that its folds took to fit and to score, together."""
        return sum(fold.fit_s + fold.score_s for fold in self.folds.values())

    def take(self, fold: int, score: FoldScore) -> None:
        """Take in what came of a fold of the step in work."""
        former = self.folds.get(fold)
        if former is not None:
            times = {"fit_s": former.fit_s, "score_s": former.score_s}
            score = replace(score, **{k: v + getattr(score, k) for k, v in times.items()})
        self.missing.discard(fold)
        self.arrived[fold] = score

    def settle(self, *, keep_all: bool) -> None:
        """The step in work is done.

        Args:
            keep_all: Keep the learners of former steps as well.
        """
        # In the order of folds: a sum of numbers depends on the order they come in.
        for number, score in sorted(self.arrived.items()):
            self.folds[number] = replace(score, state=None)
        if not keep_all:
            self.learners.clear()
        self.learners[self.target] = {k: score.state for k, score in self.arrived.items()}
        self.way = (*self.way, Stretch(config=self.config, end=self.target))
        self.step, self.arrived = self.target, {}

    def exploit(self, donor: "Trial", step: int, config: Config) -> None:
        """Go on from where another trial was after a step, with another configuration."""
        self.way = tuple(stretch for stretch in donor.way if stretch.end <= step)
        self.learners[step] = donor.learners[step]
        self.step, self.config = step, {**self.config, **config}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Course:
    """What all trials of a search have to do: the rows, the folds, and how far they go."""

    estimator: BaseEstimator
    """Unfitted, as the user gave it."""
    view: View
    """All rows."""
    splits: Sequence[tuple[np.ndarray, np.ndarray]]
    """Positions to learn from and to score, of each fold."""
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `fit`."""
    score_params: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of scorers."""
    fold: Fold
    """What is done with each fold, but for what differs between trials."""
    resource: Resource | None = None
    """What trials go on by; `None`: their steps are folds."""
    max_step: int
    """The last step."""

    def begin(self, trial: Trial, target: int) -> list[Unit]:
        """Put a step in work: its units."""
        trial.target = target
        first = 0 if self.resource is not None else trial.step
        last = len(self.splits) if self.resource is not None else target
        trial.missing = set(range(first, last))
        return [self._unit(trial, number) for number in sorted(trial.missing)]

    def configured(self, config: Config) -> BaseEstimator:
        """An unfitted estimator with a configuration.

        Parameters that are estimators are cloned as well: two trials may share one.
        """
        return clone(self.estimator).set_params(**clone(dict(config), safe=False))

    def whole(self, trial: Trial) -> Unit:
        """The fit of a trial's configuration to all rows, by the way that the trial has gone."""
        way: list[Stretch] = []
        for stretch in trial.way:
            if way and way[-1].config == stretch.config:
                way.pop()
            way.append(stretch)
        plain = self.resource is None and self.view.y is not None
        return Unit(
            member="best configuration",
            part="all rows",
            estimator=self.configured(way[0].config),
            view=self.view,
            fit_params=self.fit_params,
            # Without work of its own it is the unit of an ensemble that has it as a member.
            own=None if plain else WholeFit(resource=self.resource, way=way),
        )

    def is_plain(self, trial: Trial) -> bool:
        """Whether one fit of one configuration comes to what the trial has come to."""
        one = all(stretch.config == trial.config for stretch in trial.way)
        return one and (self.resource is None or self.resource.how != "passes")

    def member(self, trial: Trial) -> BaseEstimator:
        """An unfitted estimator whose fit is what the trial has come to."""
        estimator = self.configured(trial.config)
        if self.resource is not None:
            self.resource.finish(estimator, trial.step, self.estimator)
        return estimator

    def _unit(self, trial: Trial, number: int) -> Unit:
        train, test = self.splits[number]
        part = f"fold {number + 1} of {len(self.splits)}"
        work = self.fold
        if self.resource is not None:
            part += f", {self.resource.parameter}={trial.target}"
            work = replace(
                work,
                resource=self.resource,
                way=(*trial.way, Stretch(config=trial.config, end=trial.target)),
                begin=trial.step,
                state=trial.learners.get(trial.step, {}).get(number),
                keep_state=trial.target < self.max_step,
            )
        return Unit(
            member=trial.name,
            part=part,
            estimator=self.configured(trial.config),
            view=self.view,
            fit_params=self.fit_params,
            out_of_fold=OutOfFold(train=train, test=test, method="predict", num_classes=None),
            own=work,
            own_params=self.score_params,
        )


def _score(scores: Any, metric: str) -> float:
    if not isinstance(scores, Mapping):
        return float(scores)
    return float(scores[metric] if metric in scores else next(iter(scores.values())))
