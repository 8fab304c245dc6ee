"""What estimators can go on by, and that going on comes to what one fit comes to."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from distml import BaggingClassifier, NeuralClassifier
from distml.errors import UserError
from distml.tune.resource import classes_of, largest, resource_of

X, Y = make_classification(80, 5, random_state=0)

FOUND = {
    "forest": (RandomForestClassifier(), "n_estimators", "total", 100),
    "histograms": (HistGradientBoostingClassifier(max_iter=30), "max_iter", "total", 30),
    "xgboost": (XGBClassifier(), "n_estimators", "booster", 100),
    "network": (NeuralClassifier(epochs=7), "epochs", "further", 7),
    "perceptron": (MLPClassifier(max_iter=12), "passes", "passes", 12),
    "stochastic": (SGDClassifier(), "passes", "passes", 1000),
    "logistic": (LogisticRegression(), "max_iter", "further", 100),
    "pipeline": (
        make_pipeline(StandardScaler(), XGBClassifier(n_estimators=5)),
        "xgbclassifier__n_estimators",
        "booster",
        5,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_resource_is_told_by_the_interface(name):
    estimator, parameter, how, most = FOUND[name]
    resource = resource_of(estimator, "auto")
    assert (resource.parameter, resource.how) == (parameter, how)
    assert largest(resource, estimator, None) == most
    assert largest(resource, estimator, 3) == 3
    assert resource_of(estimator, parameter) == resource
    assert resource_of(estimator, parameter.rpartition("__")[2]) == resource


@pytest.mark.parametrize(
    "estimator",
    [Ridge(), KNeighborsClassifier(), BaggingClassifier(), make_pipeline("passthrough")],
    ids=["linear", "neighbours", "ensemble of units", "no learner"],
)
def test_what_cannot_go_on_goes_by_folds(estimator):
    assert resource_of(estimator, "auto") is None
    with pytest.raises(UserError, match="resource='epochs'"):
        resource_of(estimator, "epochs")


@pytest.mark.parametrize("name", ["folds", None])
def test_folds_can_be_asked_for(name):
    assert resource_of(RandomForestClassifier(), name) is None


@pytest.mark.parametrize(
    "estimator",
    [
        ExtraTreesClassifier(8, random_state=0),
        HistGradientBoostingClassifier(max_iter=8, random_state=0),
        XGBClassifier(n_estimators=8, max_depth=2),
    ],
    ids=["trees", "histograms", "rounds"],
)
@pytest.mark.parametrize("stops", [(1, 3, 8), (5, 8)], ids=["three steps", "two steps"])
def test_steps_come_to_one_fit(estimator, stops):
    template, estimator, begin = clone(estimator), clone(estimator), 0
    resource = resource_of(estimator, "auto")
    for end in stops:
        resource.advance(estimator, X, Y, {}, begin=begin, end=end)
        begin = end
    resource.finish(estimator, 8, template)
    assert estimator.get_params() == template.get_params()
    np.testing.assert_array_equal(estimator.predict_proba(X), template.fit(X, Y).predict_proba(X))


def test_passes_are_calls_of_partial_fit_with_all_classes():
    stepped = SGDClassifier(random_state=0)
    resource = resource_of(stepped, "passes")
    classes = classes_of(stepped, np.array(["c", "a", "b"]))
    assert classes.tolist() == ["a", "b", "c"]
    labels = np.array(["a", "b"])[Y]
    resource.advance(stepped, X, labels, {}, begin=0, end=2, classes=classes)
    resource.advance(stepped, X, labels, {}, begin=2, end=3, classes=classes)
    plain = SGDClassifier(random_state=0)
    for _ in range(3):
        plain.partial_fit(X, labels, classes=classes)
    np.testing.assert_array_equal(stepped.coef_, plain.coef_)


def test_steps_do_not_warn_that_they_have_not_converged():
    estimator = LogisticRegression()
    resource = resource_of(estimator, "auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resource.advance(estimator, X, Y, {}, begin=0, end=1)
        resource.advance(estimator, X, Y, {}, begin=1, end=3)
    assert estimator.get_params()["max_iter"] == 2
    resource.finish(estimator, 3, LogisticRegression())
    assert (estimator.max_iter, estimator.warm_start) == (3, False)


@pytest.mark.parametrize("y", [None, np.zeros((4, 2))], ids=["none", "two columns"])
def test_classes_are_those_of_one_column(y):
    assert classes_of(SGDClassifier(), y) is None
    assert classes_of(Ridge(), np.zeros(4)) is None
