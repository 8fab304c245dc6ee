"""`TuneSearchCV`: a search for hyper-parameters as a scikit-learn estimator.

The one decision: it is scikit-learn's `BaseSearchCV` in all that is seen of it, and its fit is a
plan. So every fold of every trial, and the last fit to all rows, is a unit of the one flat graph,
of a stack around it as well.
"""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_method_params, check_is_fitted

from distml.ensemble.handover import Pool
from distml.ensemble.members import View
from distml.ensemble.planned import Planned
from distml.ensemble.schedule import Plan
from distml.errors import UserError
from distml.tune.arrangement import Arrangement, ScoringError, arrange, check_scoring_names
from distml.tune.folds import Fold
from distml.tune.plan import Turns
from distml.tune.pool import make_pool, spoken
from distml.tune.resource import classes_of
from distml.tune.results import table
from distml.tune.space import Space
from distml.tune.splits import NO_FITS, Split, make_splits
from distml.tune.trials import Course, Trial

__all__ = ["TuneSearchCV"]


class TuneSearchCV(Planned, BaseSearchCV):
    """Search for the configuration of an estimator that is best by cross-validation.

    It stands wherever scikit-learn's `RandomizedSearchCV` does, with its attributes. Searchers and
    schedulers are Ray Tune's; fits are units that run over all CPUs, are stored in a run, and are
    found again when it is resumed.

    Args:
        estimator: What is searched: any estimator, pipeline or ensemble.
        space: Parameter → list, distribution of scipy, or domain of Ray Tune; or a list of such
            dicts, one of which a trial is drawn from.
        search: `random`, `grid`, `optuna`, `hyperopt`, `bohb`, or a searcher of Ray Tune.
        scheduler: Stops trials early: `asha`, `hyperband`, `median`, `pbt`, or a scheduler of Ray
            Tune; `None`: every trial is carried to its end. `asha` lets a third go on after a 27th
            of the resource, a ninth and a third.
        num_samples: Configurations to try; a grid tries all there are.
        time_budget_s: Begin no fit after so many seconds, and end with what is done.
        cv: Folds, as in scikit-learn.
        scoring: One or several scorers, as in scikit-learn.
        refit: Fit the best configuration to all rows; with several scorers, the name of the one
            that searchers and schedulers go by and that decides.
        max_concurrent_trials: Trials that take turns. More keep more CPUs busy, fewer let searchers
            know more. `auto`: from the CPUs there are when the search first begins.
        early_stop_patience: End after so many trials in a row that were not better.
        random_state: Seed of searcher and scheduler.
        error_score: Score of a fold whose fit fails, or `raise`.
        resource: What a trial has more of from step to step, where there is a scheduler: a
            parameter such as `n_estimators`, `max_iter` or `epochs`; `passes` of `partial_fit`;
            `folds`: a configuration that is clearly worse on its first folds is stopped. `auto`:
            whatever the estimator can go on by, else folds.
        max_resource: The most a trial may have of it; `None`: what the estimator's parameter says.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        return_train_score: Keep the scores of training rows as well.
        keep_predictions: Keep what trials say of rows they were not fitted on, so that an ensemble
            of the best of them needs no further fits.
        verbose: Taken as in scikit-learn, and not looked at: a search prints nothing of itself. How
            it goes is shown where a run or a notebook is looked at.

    Attributes:
        cv_results_: As in scikit-learn. Of trials that may have been stopped also `n_resources`,
            how far each came, and `stop_reason`; those that came further rank first.
        best_estimator_: The best configuration, fitted to all rows.
        best_params_: The best configuration.
        best_score_: Its mean score.
        best_index_: Its row in `cv_results_`.
        best_resource_: How far its trial came; only where trials have steps of a resource.
        n_splits_: Number of folds.
        refit_time_: Seconds of the fit to all rows.

    Raises:
        UserError: on `fit`: what was asked for makes no sense; it names what and what to do.
        SearchFailedError: on `fit`: all fits failed. It is a `ValueError` as well.
    """

    _parameter_constraints: ClassVar = {
        **{
            name: constraint
            for name, constraint in BaseSearchCV._parameter_constraints.items()
            if name not in {"pre_dispatch", "scoring"}
        },
        "scoring": "no_validation",
        "space": "no_validation",
        "search": "no_validation",
        "scheduler": "no_validation",
        "num_samples": "no_validation",
        "time_budget_s": [Interval(numbers.Real, 0, None, closed="neither"), None],
        "max_concurrent_trials": [
            Interval(numbers.Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "early_stop_patience": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "resource": [str, None],
        "max_resource": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "keep_predictions": ["boolean"],
    }

    def __init__(
        self,
        estimator: Any,
        space: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        search: Any = "random",
        scheduler: Any = None,
        num_samples: int = 10,
        time_budget_s: float | None = None,
        cv: Any = None,
        scoring: Any = None,
        refit: Any = True,
        max_concurrent_trials: int | Literal["auto"] = "auto",
        early_stop_patience: int | None = None,
        random_state: Any = None,
        error_score: Any = np.nan,
        resource: str | None = "auto",
        max_resource: int | None = None,
        n_jobs: int | None = None,
        return_train_score: bool = False,
        keep_predictions: bool = True,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.space = space
        self.search = search
        self.scheduler = scheduler
        self.num_samples = num_samples
        self.time_budget_s = time_budget_s
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.max_concurrent_trials = max_concurrent_trials
        self.early_stop_patience = early_stop_patience
        self.random_state = random_state
        self.error_score = error_score
        self.resource = resource
        self.max_resource = max_resource
        self.n_jobs = n_jobs
        self.return_train_score = return_train_score
        self.keep_predictions = keep_predictions
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search.

        Args:
            X: Array-like of shape (n_samples, n_features).
            y: Array-like of shape (n_samples,) or (n_samples, n_outputs); `None` where there are no
                targets.
            **params: Arguments of the estimator's `fit`, of scorers and of `cv`, as in
                scikit-learn; `groups` goes to `cv`.
        """
        check_scoring_names(self.scoring)
        scorer, metric = self._get_scorers()
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(_check_method_params(X, params=params))
        space = Space.of(self.space)
        space.check(self.estimator.get_params(deep=True), type(self.estimator).__name__)
        splits = make_splits(self.cv, self.estimator, X, y, routed.splitter.split)
        self.n_splits_ = len(splits)
        parts = arrange(self, space, self._gone_by(metric), self.n_splits_)
        self.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer

        def plan(view: View) -> Plan:
            course = self._course(view, splits, parts, scorer, routed)
            return self._plan(course, parts, metric)

        self._carry_out(plan, X, y)
        return self

    def pool(self, k: int) -> Pool:
        """The best trials and what they said out of fold, for an ensemble's `from_search`.

        Args:
            k: How many at most: of three times as many best, those that differ most.

        Raises:
            UserError: no predictions were kept, or folds overlap, or the search is not fitted.
        """
        check_is_fitted(self)
        return make_pool(getattr(self, "_spoken", None), k)

    def __getstate__(self) -> dict[str, Any]:
        """Without what trials said of training rows: a saved model shall not grow with them."""
        return {name: v for name, v in super().__getstate__().items() if name != "_spoken"}

    def _gone_by(self, metric: Any) -> str:
        """The one of several scorers that is gone by.

        Raises:
            UserError: it is needed, and not named.
        """
        if isinstance(metric, str):
            return metric
        if self.scheduler is not None or self.search not in ("random", "grid"):
            raise UserError(
                f"refit={self.refit!r}: with several scorers, searchers and schedulers go by the "
                "one that refit names; give its name"
            )
        return ""

    def _course(
        self, view: View, splits: list[Split], parts: Arrangement, scorer: Any, routed: Any
    ) -> Course:
        fold = Fold(
            scorer=scorer,
            error_score=self.error_score,
            train_scores=self.return_train_score,
            classes=classes_of(self.estimator, view.y),
            keep_predictions=self.keep_predictions,
        )
        return Course(
            estimator=clone(self.estimator),
            view=view,
            splits=splits,
            fit_params=routed.estimator.fit,
            score_params=routed.scorer.score,
            fold=fold,
            resource=parts.resource,
            max_step=parts.max_step,
        )

    def _plan(self, course: Course, parts: Arrangement, metric: Any) -> Plan:
        limits = parts.limits(self, self.n_splits_)
        metric = self.refit if callable(self.scoring) and isinstance(self.refit, str) else metric
        name = parts.announce(self, course.view.num_rows, metric)
        turns = Turns(
            course,
            parts.proposer,
            parts.decider,
            limits,
            metric=metric,
            name=name,
            check=self._check_first,
        )
        yield from turns.play()
        trials = [trial for trial in turns.trials if trial.folds]
        if not trials:
            raise self._nothing_done()
        in_steps = parts.in_steps or self.time_budget_s is not None
        results = table(self, trials, self.n_splits_, in_steps=in_steps)
        self._choose(results, trials, course, metric)
        self._spoken = spoken(course, trials, metric)
        if self.refit:
            best = trials[self.best_index_]
            (outcome,) = yield [course.whole(best)]
            if outcome.error is not None:
                raise outcome.error
            self.best_estimator_, self.refit_time_ = outcome.value, outcome.seconds
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        self.cv_results_ = results

    def _check_refit_for_multimetric(self, scores: Any) -> None:
        try:
            super()._check_refit_for_multimetric(scores)
        except ValueError as error:
            raise ScoringError(f"{error} Scorers are {', '.join(scores)}.") from None

    def _check_first(self, scores: Any) -> None:
        """Look at the first scores: only then is known what a function gives."""
        self.multimetric_ = isinstance(scores, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(scores)

    def _choose(
        self, results: dict[str, Any], trials: Sequence[Trial], course: Course, metric: Any
    ) -> None:
        """Set which configuration is best, as scikit-learn does."""
        if not self.refit and self.multimetric_:
            return
        self.best_index_ = self._select_best_index(self.refit, metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]
        if course.resource is not None:
            self.best_resource_ = trials[self.best_index_].step

    def _nothing_done(self) -> Exception:
        if self.time_budget_s is not None:
            return UserError(
                f"time_budget_s={self.time_budget_s}: no trial was done in that time; give more"
            )
        return ValueError(NO_FITS)
