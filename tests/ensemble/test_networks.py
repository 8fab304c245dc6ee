"""Networks as members: in their unit, with workers of their own, and where none of these fit."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from distml import session
from distml.ensemble import (
    BaggingClassifier,
    SelectionClassifier,
    StackingClassifier,
    VotingClassifier,
)
from distml.errors import MemberError
from distml.runs.units import UnitStore, use_units
from distml.train import MLP, NeuralClassifier


def network(**parameters):
    chosen = {"epochs": 15, "lr": 0.01, "random_state": 0, "cpus_per_worker": 1, **parameters}
    return NeuralClassifier(MLP(hidden=(16,)), **chosen)


def last_line(script):
    """What a script prints last, in a process with a Ray of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize(
    "ensemble",
    [
        StackingClassifier(
            [("net", network()), ("tree", DecisionTreeClassifier(max_depth=2))], cv=3
        ),
        VotingClassifier(
            [("net", network()), ("linear", LogisticRegression(max_iter=1000))], voting="soft"
        ),
        BaggingClassifier(network(), 3, random_state=0),
        SelectionClassifier(
            [("net", network()), ("tree", DecisionTreeClassifier(random_state=0))], cv=3
        ),
    ],
    ids=["stacking", "voting", "bagging", "selection"],
)
def test_a_network_is_a_member_like_any_other(ensemble, iris):
    X, y = iris
    with session.inline():
        ensemble.fit(X, y)

    assert ensemble.score(X, y) > 0.9


def test_members_that_differ_by_their_seed_are_a_deep_ensemble(iris):
    X, y = iris
    members = [(f"net{seed}", network(random_state=seed)) for seed in range(3)]
    with session.inline():
        deep = VotingClassifier(members, voting="soft").fit(X, y)
    alone = [member.predict_proba(X) for member in deep.estimators_]

    np.testing.assert_allclose(deep.predict_proba(X), np.mean(alone, axis=0))
    assert np.abs(alone[0] - alone[1]).max() > 1e-4


def test_bagging_without_a_bootstrap_is_a_deep_ensemble(iris):
    X, y = iris
    with session.inline():
        deep = BaggingClassifier(network(), 3, bootstrap=False, random_state=0).fit(X, y)
    seeds = [member.random_state for member in deep.estimators_]
    alone = [network(random_state=seed).fit(X, y).predict_proba(X) for seed in seeds]

    assert len(set(seeds)) == 3
    np.testing.assert_allclose(deep.predict_proba(X), np.mean(alone, axis=0), atol=1e-6)


@pytest.mark.ray
def test_a_network_in_a_worker_is_the_one_of_this_process(iris):
    X, y = iris
    stack = StackingClassifier(
        [("net", network()), ("linear", LogisticRegression(max_iter=1000))], cv=3
    )
    here = stack.fit(X, y)
    with session.inline():
        alone = StackingClassifier(
            [("net", network()), ("linear", LogisticRegression(max_iter=1000))], cv=3
        ).fit(X, y)

    np.testing.assert_array_equal(here.predict_proba(X), alone.predict_proba(X))


def test_epochs_of_a_member_are_kept_while_its_unit_is_under_way(iris, tmp_path):
    X, y = iris
    with session.inline(), use_units(UnitStore(tmp_path / "units")):
        VotingClassifier([("net", network()), ("linear", LogisticRegression(max_iter=1000))]).fit(
            X, y
        )

    assert len(list((tmp_path / "units" / "checkpoints").glob("*/step-*.safetensors"))) >= 1


@pytest.mark.ray
def test_a_member_with_more_workers_than_cpus_is_refused_at_once(iris):
    members = [("net", network(num_workers=64)), ("linear", LogisticRegression(max_iter=1000))]

    with pytest.raises(MemberError, match="its workers need 64 CPUs, and there are 4"):
        VotingClassifier(members).fit(*iris)


TWO_CPUS = """
import sys
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from distml import session
from distml.ensemble import StackingClassifier
from distml.train import MLP, NeuralClassifier

X, y = make_classification(2000, 10, random_state=0)
session.connect(num_cpus=2)
wide = NeuralClassifier(MLP(hidden=(16,)), epochs=2, num_workers=2, random_state=0)
stack = StackingClassifier(
    [("wide", wide), ("forest", RandomForestClassifier(20)), ("linear", LogisticRegression())],
    cv=2,
)
print(stack.fit(X, y).score(X, y))
session.disconnect()
"""


@pytest.mark.slow
def test_a_member_with_two_workers_on_two_cpus_never_waits_for_itself():
    assert float(last_line(TWO_CPUS)) > 0.8


ONE_GPU = """
import json
import numpy as np
import ray
from sklearn.base import ClassifierMixin, BaseEstimator
from sklearn.linear_model import LogisticRegression
from distml import session
from distml.ensemble import VotingClassifier

class Asks(ClassifierMixin, BaseEstimator):
    def __init__(self, num_workers=1, gpus_per_worker=None):
        self.num_workers, self.gpus_per_worker = num_workers, gpus_per_worker
    def fit(self, X, y):
        self.classes_, self.gpus_ = np.unique(y), ray.get_gpu_ids()
        return self
    def predict(self, X):
        return np.full(len(X), self.classes_[0])

# A GPU that Ray gives away, whether there is one or not.
ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR")
X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
nets = [("whole", Asks(gpus_per_worker=1)), ("half", Asks(gpus_per_worker=0.5)), ("none", Asks())]
voting = VotingClassifier([*nets, ("linear", LogisticRegression())]).fit(X, y)
print(json.dumps([each.gpus_ for each in voting.estimators_[:3]]))
session.disconnect()
"""


@pytest.mark.slow
def test_a_member_that_asks_for_a_gpu_is_fitted_where_ray_has_one():
    assert json.loads(last_line(ONE_GPU)) == [[0], [0], []]


@pytest.mark.ray
@pytest.mark.slow
def test_with_workers_of_its_own_it_learns_the_same():
    X, y = make_classification(600, 8, random_state=0)
    predicted = []
    for workers in (0, 2):
        members = [
            ("net", network(num_workers=workers)),
            ("linear", LogisticRegression(max_iter=1000)),
        ]
        voting = VotingClassifier(members, voting="soft").fit(X, y)
        predicted.append(voting.predict_proba(X))

    np.testing.assert_allclose(*predicted, atol=1e-4)
