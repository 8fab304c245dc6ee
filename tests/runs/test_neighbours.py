"""Nearest neighbours are kept without their trees and predict as before, wherever they stand."""

import contextlib

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    RadiusNeighborsClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from distml.errors import DataError
from distml.runs.model_file import dump_estimator, load_estimator, reachable
from distml.runs.neighbours import grow_search_trees, without_search_trees

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 3))
X[100:150] = X[:50]
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
NEW = RANDOM.normal(size=(200, 3))

MODELS = {
    "kd tree": KNeighborsClassifier(),
    "ball tree": KNeighborsClassifier(algorithm="ball_tree", leaf_size=3),
    "brute": KNeighborsClassifier(algorithm="brute"),
    "manhattan": KNeighborsClassifier(metric="manhattan", weights="distance"),
    "haversine": KNeighborsRegressor(metric="haversine", algorithm="ball_tree"),
    "power": KNeighborsClassifier(metric="minkowski", p=3),
    "radius": RadiusNeighborsClassifier(radius=9.0),
    "outliers": LocalOutlierFactor(novelty=True),
    "pipeline": make_pipeline(StandardScaler(), KNeighborsClassifier()),
    "bagging": BaggingClassifier(KNeighborsClassifier(), 3, max_features=0.7, random_state=0),
    "stack": StackingClassifier([("k", KNeighborsClassifier()), ("l", LogisticRegression())]),
    "search": GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3]}),
}


def columns(model, rows):
    return rows[:, :2] if getattr(model, "metric", None) == "haversine" else rows


@pytest.mark.parametrize("name", MODELS)
def test_they_come_back_without_a_pickle_and_predict_the_same(name):
    model = MODELS[name].fit(columns(MODELS[name], X), Y)
    new = columns(model, NEW)
    expected = model.predict(new)

    stored, content, reason = dump_estimator(model)
    back = load_estimator(stored, content)

    assert (stored, reason) == ("skops", None)
    np.testing.assert_array_equal(back.predict(new), expected)
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(back.predict_proba(new), model.predict_proba(new))
    # The model that was saved is as it was.
    np.testing.assert_array_equal(model.predict(new), expected)


def test_trees_are_put_back_when_writing_fails():
    model = KNeighborsClassifier().fit(X, Y)
    tree = model._tree

    with contextlib.suppress(OSError), without_search_trees(reachable(model)):
        assert model._tree is None
        raise OSError("full")

    assert model._tree is tree


@pytest.mark.parametrize(
    ("name", "value"),
    [("leaf_size", 0), ("effective_metric_", "as the crow flies"), ("_fit_X", np.ones(3))],
    ids=["leaf size", "metric", "rows"],
)
def test_rows_that_no_tree_can_be_grown_of_are_refused(name, value):
    model = KNeighborsClassifier().fit(X, Y)
    with without_search_trees(reachable(model)):
        setattr(model, name, value)
        with pytest.raises(ValueError):  # noqa: PT011 - the words are scikit-learn's
            grow_search_trees(reachable(model))
        content = pytest.importorskip("skops.io").dumps(model)

    with pytest.raises(DataError, match="it cannot be read"):
        load_estimator("skops", content)
