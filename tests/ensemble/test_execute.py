"""What only real workers can show."""

import logging
import os
import signal
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_info

from distml import session
from distml.ensemble import BaggingClassifier, VotingClassifier
from distml.ensemble.execute import RayExecutor
from distml.ensemble.members import Unit, View
from distml.runs.events import use_events

pytestmark = pytest.mark.ray


class Loads(GaussianNB):
    """Cannot be loaded by the first process that tries to, however often that tries."""

    def __init__(self, mark=""):
        super().__init__()
        self.mark = mark

    def __setstate__(self, state):
        broken, own = Path(state["mark"]), str(os.getpid())
        if not broken.exists():
            broken.write_text(own)
        if broken.read_text() == own:
            raise ImportError("half of it is missing")
        super().__setstate__(state)


X = np.random.default_rng(0).normal(size=(20_000, 10))
Y = (X[:, 0] > 0).astype(int)


class Probe(ClassifierMixin, BaseEstimator):
    """Keeps what it saw of its worker."""

    def __init__(self, n_jobs=None):
        self.n_jobs = n_jobs

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.pid_ = os.getpid()
        self.writeable_ = X.flags.writeable
        self.dtype_ = X.dtype
        self.jobs_ = joblib.effective_n_jobs(self.n_jobs)
        self.threads_ = max(pool["num_threads"] for pool in threadpool_info())
        self.inline_ = session.is_inline()
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


class Dies(GaussianNB):
    """Takes its worker down with it, until a file says that it has done so."""

    def __init__(self, mark=""):
        super().__init__()
        self.mark = mark

    def fit(self, X, y, sample_weight=None):
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y, sample_weight)


def fit(estimator, **options):
    return VotingClassifier([("probe", estimator)], **options).fit(X, Y).estimators_[0]


@pytest.mark.parametrize(
    ("asked", "n_jobs", "given"),
    [(None, None, 4), (-1, None, 4), (2, None, 2), (-1, 1, 1), (8, 2, 2)],
    ids=["unsaid", "all", "two", "capped-at-one", "capped-at-two"],
)
def test_a_fit_has_as_many_threads_as_its_unit_has_cpus(asked, n_jobs, given):
    probe = fit(Probe(asked), n_jobs=n_jobs)
    assert probe.jobs_ == given
    assert probe.threads_ <= given
    assert probe.n_jobs == asked


def test_large_arrays_are_shared_and_small_ones_sent():
    probe = fit(Probe())
    assert probe.pid_ != os.getpid()
    assert not probe.writeable_
    assert probe.dtype_ == np.float64


def test_arrays_are_put_once_for_all_units():
    executor = RayExecutor()
    view = View(X, Y)
    for number in range(6):
        unit = Unit(member=f"m{number}", part="all rows", estimator=Probe(), view=view)
        executor.submit(number, unit, cpus=1, gpus=0, memory_bytes=0, key=None, has_workers=False)
    shared = {id(array) for array, _ in executor._shared.values()}
    outcomes = [executor.wait() for _ in range(6)]
    executor.close()
    assert shared == {id(X), id(Y)}
    assert sorted(number for number, _ in outcomes) == list(range(6))


def test_trees_are_given_the_precision_they_copy_to():
    # The same trees as from double precision, without a copy in every fit.
    executor = RayExecutor()
    for estimator in (DecisionTreeClassifier(max_depth=2), Probe()):
        unit = Unit(member="m", part="all rows", estimator=estimator, view=View(X, Y))
        executor.submit(
            estimator, unit, cpus=1, gpus=0, memory_bytes=0, key=None, has_workers=False
        )
    get = executor._ray.get
    given = [get(shared).dtype for array, shared in executor._shared.values() if array is X]
    executor.close()
    assert given == [np.float32, np.float64]
    mine = BaggingClassifier(DecisionTreeClassifier(max_depth=4), 2, random_state=0).fit(X, Y)
    with session.inline():
        here = BaggingClassifier(DecisionTreeClassifier(max_depth=4), 2, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(mine.predict_proba(X), here.predict_proba(X))


def test_a_worker_that_is_killed_costs_only_its_fit(tmp_path, caplog):
    events = []
    members = [("dies", Dies(str(tmp_path / "mark"))), ("bayes", GaussianNB())]
    with (
        caplog.at_level(logging.WARNING),
        use_events(lambda kind, **fields: events.append((kind, fields.get("member")))),
    ):
        vote = VotingClassifier(members, voting="soft").fit(X, Y)
    assert ("unit_retried", "dies") in events
    assert "trying again with at most" in caplog.text
    plain = VotingClassifier([("a", GaussianNB()), ("b", GaussianNB())], voting="soft").fit(X, Y)
    np.testing.assert_array_equal(vote.predict_proba(X), plain.predict_proba(X))


def test_the_peak_of_a_fit_is_measured():
    class Hungry(Probe):
        def fit(self, X, y):
            self.kept = np.ones(80 * 2**20 // 8)
            del self.kept
            return super().fit(X, y)

    events = []
    with use_events(lambda kind, **fields: events.append((kind, fields))):
        fit(Hungry())
    (peak,) = [fields["peak_bytes"] for kind, fields in events if kind == "unit_done"]
    assert 70 * 2**20 < peak < 160 * 2**20


def test_an_ensemble_inside_a_pipeline_fits_in_its_units_own_process():
    inner = VotingClassifier([("probe", Probe()), ("bayes", GaussianNB())])
    pipeline = fit(make_pipeline(StandardScaler(), inner))
    probe = pipeline[-1].estimators_[0]
    assert probe.inline_
    assert probe.pid_ != os.getpid()


def test_limits_of_the_session_hold_on_a_larger_ray():
    with session.limited(num_cpus=1, memory_bytes=10**9):
        executor = RayExecutor()
    assert (executor.num_cpus, executor.cpus_per_node) == (1, 1)
    assert executor.memory_bytes == 10**9


def test_a_members_own_n_jobs_comes_back_as_it_was():
    forest = fit(RandomForestClassifier(4, n_jobs=-1, random_state=0))
    assert forest.n_jobs == -1


def test_an_error_that_cannot_travel_still_says_what_it_said():
    class StubbornError(Exception):
        def __reduce__(self):
            raise TypeError("I stay here")

    class Raises(Probe):
        def fit(self, X, y):
            raise StubbornError("no and no")

    with pytest.raises(Exception, match="StubbornError: no and no"):
        fit(Raises())


def test_a_process_that_can_load_nothing_is_not_used_again(tmp_path):
    events = []
    with use_events(lambda kind, **fields: events.append({"kind": kind, **fields})):
        fitted = BaggingClassifier(Loads(str(tmp_path / "broken")), 40, random_state=0).fit(X, Y)
    assert len(fitted.estimators_) == 40
    reasons = [event["reason"] for event in events if event["kind"] == "unit_retried"]
    assert reasons
    assert all("half of it is missing" in reason for reason in reasons)
