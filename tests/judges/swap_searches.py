"""A pytest plugin: scikit-learn's tests of its searches import ours instead.

Loaded by `test_search_suite.py` in a process of its own (`pytest -p swap_searches`), whose tests
share one Ray. `JUDGED=scikit-learn` judges scikit-learn's own classes. Ours is one class for both
searches, so each is ours under scikit-learn's signature.
"""

import os
from typing import Any, ClassVar

import numpy as np
import pytest
import sklearn.model_selection

from distml import session
from distml.tune import TuneSearchCV

_THEIRS = {
    name: getattr(sklearn.model_selection, name) for name in ("GridSearchCV", "RandomizedSearchCV")
}


class _Judged(TuneSearchCV):
    """What scikit-learn's signatures do not have."""

    scheduler = time_budget_s = early_stop_patience = max_resource = None
    max_concurrent_trials = resource = "auto"
    keep_predictions = True


class GridSearchCV(_Judged):
    search = "grid"
    num_samples = 1
    random_state = None
    _parameter_constraints: ClassVar = _THEIRS["GridSearchCV"]._parameter_constraints

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
        self.cv = cv
        self.verbose = verbose
        self.pre_dispatch = pre_dispatch
        self.error_score = error_score
        self.return_train_score = return_train_score

    @property
    def space(self) -> Any:
        return self.param_grid


class RandomizedSearchCV(_Judged):
    search = "random"
    _parameter_constraints: ClassVar = _THEIRS["RandomizedSearchCV"]._parameter_constraints

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
        self.cv = cv
        self.verbose = verbose
        self.pre_dispatch = pre_dispatch
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score

    @property
    def space(self) -> Any:
        return self.param_distributions

    @property
    def num_samples(self) -> int:
        return self.n_iter


_OURS = {"GridSearchCV": GridSearchCV, "RandomizedSearchCV": RandomizedSearchCV}
_JUDGED = _THEIRS if os.environ.get("JUDGED") == "scikit-learn" else _OURS


def pytest_configure() -> None:
    for name, judged in _JUDGED.items():
        setattr(sklearn.model_selection, name, judged)
    session.connect(num_cpus=2)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Undo the swap; refuse tests that hold on to a class of scikit-learn's: they judge nothing."""
    for name, theirs in _THEIRS.items():
        setattr(sklearn.model_selection, name, theirs)
        for module in {item.module for item in session.items}:
            if getattr(module, name, None) is not _JUDGED[name]:
                raise pytest.UsageError(f"{module.__name__}.{name} was imported before the swap")


def pytest_unconfigure() -> None:
    session.disconnect()
