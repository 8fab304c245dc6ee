"""One fold of one step of a trial: fit or go on, score, and keep what is said of rows held out.

The one decision: a trial's learners are described by where they have been (`Stretch` after
`Stretch`), and that joins the key of the unit; the learners themselves travel as bytes beside it.
So a step that was done in a former run is found, whatever was fitted in between.
"""

import contextlib
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._validation import _enforce_prediction_order, _score
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from distml.ensemble.members import OutOfFold, Unit
from distml.tune.resource import Resource, classes_of
from distml.tune.turns import Config

__all__ = ["Fold", "FoldScore", "Stretch", "WholeFit", "failure_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of a trial's way: a configuration, and how far the trial got with it."""

    config: Config
    """The configuration."""
    end: int
    """Amount of the resource at its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldScore:
    """What came of one fold of one step."""

    test: Any
    """Score of the rows held out; scorer → score where there are several."""
    train: Any = None
    """The same of the rows it was fitted on, where asked for."""
    fit_s: float = 0.0
    """Seconds of wall time to fit."""
    score_s: float = 0.0
    """Seconds of wall time to score the rows held out."""
    said: Any = None
    """What the learner says of the rows held out; see `Fold.keep_predictions`."""
    said_by: str = ""
    """The method that said it."""
    state: bytes | None = None
    """The learner, where there are further steps."""
    error: str | None = None
    """Why the fit failed, with the traceback."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fold:
    """The work of a unit that is one fold of one step of a trial."""

    scorer: Any
    """A scorer of scikit-learn, or a function of estimator, `X` and `y`."""
    error_score: Any
    """What a score is where a scorer fails; `raise`."""
    train_scores: bool
    """Score the rows it was fitted on as well."""
    classes: Any = None
    """Array of shape (n_classes,) of a classifier's classes in all rows; `None`: not a classifier,
    or several outputs."""
    keep_predictions: bool = False
    """Keep what it says of the rows held out: probabilities, else decisions, else predictions."""
    resource: Resource | None = None
    """What it goes on by; `None`: one fit."""
    way: Sequence[Stretch] = ()
    """Where its learners have been, and to where it goes now."""
    begin: int = 0
    """How far they are."""
    state: bytes | None = None
    """The learner as it is there."""
    keep_state: bool = False
    """Whether there are further steps."""

    @property
    def failed(self) -> Any:
        """The score of a fold whose fit fails; scorer → score where several are known."""
        if isinstance(self.scorer, _MultimetricScorer):
            return dict.fromkeys(self.scorer._scorers, self.error_score)
        return self.error_score

    def content(self) -> Any:
        """What determines the value."""
        return [
            self.scorer,
            self.error_score,
            self.train_scores,
            self.keep_predictions,
            self.keep_state,
            self.resource and [self.resource.parameter, self.resource.how],
            [[dict(stretch.config), stretch.end] for stretch in self.way],
        ]

    def carry_out(self, unit: Unit) -> FoldScore:
        """Fit and score.

        Raises:
            Exception: what `fit` raises, with its traceback as a note; what a scorer raises where
                `error_score="raise"`.
        """
        started = time.perf_counter()
        try:
            fitted = unit.estimator if unit.fitted else self._fit(unit)
        except Exception as error:
            # The traceback does not travel between processes.
            error.add_note(_MARK + traceback.format_exc())
            raise
        fit_s = time.perf_counter() - started
        part, view = _part(unit), unit.view
        X = part.test_matrix(fitted, view)
        y = None if view.y is None else _safe_indexing(view.y, part.test)
        test = self._score(fitted, X, y, unit, part.test)
        score = FoldScore(test=test, fit_s=fit_s, score_s=time.perf_counter() - started - fit_s)
        if self.train_scores:
            rows = view.select(part.train)
            train = self._score(fitted, rows.matrix(fitted), rows.y, unit, part.train)
            score = replace(score, train=train)
        if self.keep_predictions:
            # What scores well need not be able to feed an ensemble, and has warned enough.
            with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
                score = replace(score, **self._say(fitted, X))
        return replace(score, state=cloudpickle.dumps(fitted) if self.keep_state else None)

    def _fit(self, unit: Unit) -> BaseEstimator:
        view, params = unit.training_data()
        estimator = unit.estimator
        if self.state is not None:
            estimator = cloudpickle.loads(self.state)
            estimator.set_params(**_threads(unit.estimator), **_changed(self.way))
        X = view.matrix(estimator)
        with _same_on_any_cpus(estimator):
            if self.resource is None:
                estimator.fit(*((X,) if view.y is None else (X, view.y)), **params)
            else:
                end = self.way[-1].end
                self.resource.advance(
                    estimator, X, view.y, params, begin=self.begin, end=end, classes=self.classes
                )
        return estimator

    def _score(self, fitted: Any, X: Any, y: Any, unit: Unit, positions: np.ndarray) -> Any:
        params = _check_method_params(
            range(unit.view.num_rows), params=dict(unit.own_params), indices=positions
        )
        return _score(fitted, X, y, self.scorer, params, self.error_score)

    def _say(self, fitted: Any, X: Any) -> dict[str, Any]:
        methods = ("predict_proba", "decision_function", "predict")
        method = next(name for name in methods if hasattr(fitted, name))
        said = getattr(fitted, method)(X)
        if method != "predict" and self.classes is not None:
            columns = np.searchsorted(self.classes, fitted.classes_)
            said = _enforce_prediction_order(columns, said, len(self.classes), method)
        return {"said": said, "said_by": method}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WholeFit:
    """The work of a unit that fits the best configuration to all rows, the way its trial went."""

    resource: Resource | None = None
    """What the trial went on by; `None`: one fit."""
    way: Sequence[Stretch] = ()
    """Where it has been; only where its configuration changed it stops in between."""

    def content(self) -> Any:
        """What determines the value."""
        way = [[dict(stretch.config), stretch.end] for stretch in self.way]
        return [self.resource and [self.resource.parameter, self.resource.how], way]

    def carry_out(self, unit: Unit) -> BaseEstimator:
        """Fit.

        Raises:
            Exception: what `fit` raises.
        """
        estimator, (view, params) = unit.estimator, unit.training_data()
        if unit.fitted:
            return estimator
        X = view.matrix(estimator)
        if self.resource is None:
            estimator.fit(*((X,) if view.y is None else (X, view.y)), **params)
            return estimator
        template, begin, classes = clone(estimator), 0, classes_of(estimator, view.y)
        for number, stretch in enumerate(self.way, start=1):
            estimator.set_params(**_changed(self.way[:number]))
            self.resource.advance(
                estimator, X, view.y, params, begin=begin, end=stretch.end, classes=classes
            )
            begin = stretch.end
        self.resource.finish(estimator, begin, template)
        return estimator


def failure_of(error: Exception) -> str:
    """An error of a fit with its traceback, also where the fit ran in another process."""
    for note in getattr(error, "__notes__", ()):
        if note.startswith(_MARK):
            return str(note.removeprefix(_MARK))
    return "".join(traceback.format_exception(error))


_MARK = "in the fit:\n"


def _part(unit: Unit) -> OutOfFold:
    assert unit.out_of_fold is not None
    return unit.out_of_fold


def _threads(template: BaseEstimator) -> Config:
    """The threads that the unit has, which its learner has to keep to as well."""
    params = template.get_params(deep=True)
    return {name: value for name, value in params.items() if name.split("__")[-1] == "n_jobs"}


@contextlib.contextmanager
def _same_on_any_cpus(estimator: BaseEstimator) -> Iterator[None]:
    """Fit XGBoost on one thread, unless it says on how many.

    It adds up in another order on more, and a fifth digit decides which trial is stopped.
    """
    params = estimator.get_params(deep=True)
    parts = {"": estimator, **{f"{name}__": value for name, value in params.items()}}
    threads = [f"{name}n_jobs" for name, part in parts.items() if _is_xgboost(part)]
    unsaid = [name for name in threads if params[name] is None]
    # Not every estimator takes a call that sets nothing.
    if unsaid:
        estimator.set_params(**dict.fromkeys(unsaid, 1))
    try:
        yield
    finally:
        if unsaid:
            estimator.set_params(**dict.fromkeys(unsaid))


def _is_xgboost(part: Any) -> bool:
    modules = (kind.__module__.split(".")[0] for kind in type(part).__mro__)
    return "xgboost" in modules and hasattr(part, "get_params")


def _changed(way: Sequence[Stretch]) -> Config:
    """What the last stretch's configuration sets anew. The rest is left: it may be fitted."""
    if len(way) < 2:
        return {}
    former, config = way[-2].config, way[-1].config
    return {
        k: v
        for k, v in config.items()
        if k not in former or (former[k] is not v and former[k] != v)
    }
