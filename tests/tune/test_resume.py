"""A search that is broken off anywhere goes on, and ends as it would have ended."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import loguniform
from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from distml import TuneSearchCV, session
from distml.ensemble.worker import WorkerLostError
from distml.runs.events import use_events
from distml.runs.units import UnitStore, use_units
from distml.tune.concurrency import concurrent_trials

X, Y = make_classification(60, 4, n_informative=3, n_redundant=0, random_state=0)


@pytest.fixture(autouse=True)
def _in_process() -> Iterator[None]:
    with session.inline():
        yield


class BrokenOffError(BaseException):
    """Stands for a kill: nothing catches it."""


def search(scheduler: Any = "asha") -> TuneSearchCV:
    return TuneSearchCV(
        SGDClassifier(loss="log_loss", random_state=0, learning_rate="constant", eta0=0.1),
        {"eta0": loguniform(1e-4, 10)},
        scheduler=scheduler,
        num_samples=4,
        max_resource=9 if scheduler == "asha" else 3,
        max_concurrent_trials=3,
        random_state=0,
        cv=2,
    )


def fitted(folder: Any, break_off_after: int | None = None, **params: Any) -> tuple[Any, list[str]]:
    """The search, fitted as far as it comes, and the units that were not stored before."""
    fresh: list[str] = []

    def listen(kind: str, **fields: Any) -> None:
        if kind == "unit_done" and not fields["cached"]:
            fresh.append(fields["unit"])
            if len(fresh) == break_off_after:
                raise BrokenOffError

    found = search(**params)
    with use_units(UnitStore(folder)), use_events(listen):
        try:
            found.fit(X, Y)
        except BrokenOffError:
            return None, fresh
    return found, fresh


@pytest.mark.parametrize("scheduler", ["asha", "pbt"])
@settings(
    deadline=None,
    max_examples=4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_search_goes_on_where_it_was_broken_off(tmp_path_factory, scheduler, cuts):
    whole, all_units = fitted(tmp_path_factory.mktemp("whole"), scheduler=scheduler)
    folder, done = tmp_path_factory.mktemp("broken"), []
    for cut in cuts:
        found, fresh = fitted(folder, cut, scheduler=scheduler)
        done += fresh
        if found is not None:
            break
    else:
        found, fresh = fitted(folder, scheduler=scheduler)
        done += fresh
    assert sorted(done) == sorted(all_units)
    assert found.best_params_ == whole.best_params_
    assert found.best_resource_ == whole.best_resource_
    for name in ("mean_test_score", "n_resources", "rank_test_score"):
        np.testing.assert_array_equal(found.cv_results_[name], whole.cv_results_[name])


class Unlucky(GaussianNB):
    """Runs out of memory the first time it is fitted."""

    lost = 0

    def fit(self, X, y):
        if type(self).lost < 2:
            type(self).lost += 1
            raise MemoryError if type(self).lost == 1 else WorkerLostError("worker died")
        return super().fit(X, y)


@pytest.mark.filterwarnings("ignore")
def test_fit_that_ran_out_of_memory_is_tried_again(caplog):
    found = TuneSearchCV(
        Unlucky(), {"var_smoothing": [1e-9, 1e-3]}, search="grid", cv=2, error_score="raise"
    ).fit(X, Y)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert "trying again with at most 1 at a time" in caplog.text


def test_number_of_trials_at_one_time_stays_what_it_was_at_the_beginning(tmp_path, monkeypatch):
    counts = []
    for cpus in (16, 2):
        monkeypatch.setattr("distml.tune.concurrency.num_cpus", lambda search, cpus=cpus: cpus)
        with use_units(UnitStore(tmp_path)):
            counts.append(concurrent_trials(search(), 2))
    monkeypatch.setattr("distml.tune.concurrency.num_cpus", lambda search: 2)
    assert counts == [16, 16]
    assert concurrent_trials(search(), 2) == 2
