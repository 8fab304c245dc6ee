"""Ensembles of a search's best trials, with what was said out of fold already."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import RandomizedSearchCV, ShuffleSplit
from sklearn.tree import DecisionTreeClassifier

from distml import (
    SelectionClassifier,
    SelectionRegressor,
    StackingClassifier,
    StackingRegressor,
    TuneSearchCV,
    session,
)
from distml.errors import UserError
from distml.runs.events import use_events
from distml.tune.folds import FoldScore
from distml.tune.pool import Kept
from distml.tune.trials import Trial

X, Y = make_classification(150, 6, n_informative=4, random_state=0)
LABELS = np.array(["no", "yes"])[Y]
TREE = DecisionTreeClassifier(random_state=0)


@pytest.fixture(autouse=True)
def _in_process() -> Iterator[None]:
    with session.inline():
        yield


def search(y: Any = LABELS, **params: Any) -> TuneSearchCV:
    defaults = {"search": "grid", "refit": False, "cv": 3}
    space = {"max_depth": [1, 2, 3, 4, 5], "criterion": ["gini", "entropy"]}
    return TuneSearchCV(TREE, space, **(defaults | params)).fit(X, y)


def units_of(ensemble: Any, y: Any = LABELS) -> list[str]:
    """The units that a fit carries out."""
    events: list[dict[str, Any]] = []
    with use_events(lambda kind, **fields: events.append({"kind": kind} | fields)):
        ensemble.fit(X, y)
    return [event["unit"] for event in events if event["kind"] == "unit_done"]


@pytest.mark.parametrize("kind", [SelectionClassifier, StackingClassifier])
@pytest.mark.parametrize("y", [LABELS, Y], ids=["names", "numbers"])
def test_no_fold_is_fitted_again_and_nothing_differs(kind, y):
    ensemble = kind.from_search(search(y), k=4)
    # A clone knows parameters alone, and fits the folds.
    plain = clone(ensemble)
    units = units_of(ensemble, y)
    assert len(ensemble.estimators) == 4
    assert not any(", fold " in unit for unit in units)
    assert sum(", fold " in unit for unit in units_of(plain, y)) == 12
    np.testing.assert_array_equal(ensemble.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("kind", [SelectionRegressor, StackingRegressor])
def test_regressors_are_handed_over_as_well(kind):
    features, y = make_regression(90, 5, noise=20.0, random_state=0)
    found = TuneSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, search="grid").fit(features, y)
    ensemble = kind.from_search(found, k=3)
    plain = clone(ensemble).fit(features, y)
    np.testing.assert_array_equal(
        ensemble.fit(features, y).predict(features), plain.predict(features)
    )


def test_other_rows_are_fitted_anew():
    ensemble = SelectionClassifier.from_search(search(), k=2)
    events: list[dict[str, Any]] = []
    with use_events(lambda kind, **fields: events.append({"kind": kind} | fields)):
        ensemble.fit(X[::-1].copy(), LABELS[::-1].copy())
    assert sum(", fold " in e.get("unit", "") for e in events if e["kind"] == "unit_done") == 6
    assert any("not those of the search" in e.get("message", "") for e in events)


def test_weights_of_the_search_belong_to_what_was_said():
    weight = np.random.default_rng(0).random(len(Y))
    found = clone(search()).fit(X, LABELS, sample_weight=weight)
    ensemble = SelectionClassifier.from_search(found, k=2)
    assert sum(", fold " in unit for unit in units_of(clone(ensemble))) == 6
    ensemble.fit(X, LABELS, sample_weight=weight)
    plain = clone(ensemble).fit(X, LABELS, sample_weight=weight)
    np.testing.assert_array_equal(ensemble.predict_proba(X), plain.predict_proba(X))


def test_members_are_the_best_and_unlike_each_other():
    found = search()
    names = [name for name, _ in SelectionClassifier.from_search(found, k=3).estimators]
    best = f"trial {int(found.cv_results_['rank_test_score'].argmin()) + 1}"
    assert best in names
    said = found._spoken.said
    flat = {name: np.concatenate(said[name])[:, 1] for name in said}
    assert len({flat[name].tobytes() for name in names}) == 3


def test_trials_by_resource_become_members_with_what_they_came_to():
    found = TuneSearchCV(
        RandomForestClassifier(100, random_state=0),
        {"max_depth": [1, 2, 3, 4]},
        search="grid",
        scheduler="asha",
        max_resource=9,
        cv=2,
        max_concurrent_trials=2,
    ).fit(X, LABELS)
    ensemble = StackingClassifier.from_search(found, k=9)
    assert {member.n_estimators for _, member in ensemble.estimators} == {9}
    assert len(ensemble.estimators) == (found.cv_results_["n_resources"] == 9).sum()
    assert not any(", fold " in unit for unit in units_of(ensemble))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"keep_predictions": False}, "keep_predictions"),
        ({"cv": ShuffleSplit(3, random_state=0)}, "partition"),
    ],
    ids=["nothing kept", "overlapping folds"],
)
def test_search_without_a_pool_says_why(params, said):
    with pytest.raises(UserError, match=said):
        StackingClassifier.from_search(search(**params))


@pytest.mark.parametrize(
    ("found", "k", "error", "said"),
    [
        (lambda: TuneSearchCV(TREE, {"max_depth": [1, 2]}), 2, NotFittedError, "not fitted"),
        (lambda: RandomizedSearchCV(TREE, {"max_depth": [1]}), 2, UserError, "TuneSearchCV"),
        (search, 0, UserError, "k=0: give a whole number, an ensemble takes at least 1"),
        (search, "2", UserError, "k='2': give a whole number"),
        (search, -2, UserError, "k=-2: give a whole number, an ensemble takes at least 1"),
    ],
    ids=["not fitted", "another's", "none", "no number", "fewer"],
)
def test_pool_that_cannot_be_made_says_why(found, k, error, said):
    with pytest.raises(error, match=said):
        StackingClassifier.from_search(found(), k=k)


def test_predictions_are_not_part_of_a_saved_model():
    found = search(refit=True)
    ensemble = SelectionClassifier.from_search(found, k=2)
    assert not hasattr(pickle.loads(pickle.dumps(found)), "_spoken")
    assert pickle.loads(pickle.dumps(ensemble))._handed_over is None


def test_predictions_of_the_best_are_kept_as_far_as_there_is_room():
    kept, trials = Kept(max_bytes=100), []
    for number, score in enumerate([0.5, 0.9, 0.1, 0.7]):
        trial = Trial(number, {})
        trial.folds = {0: FoldScore(test=score, said=np.zeros(5))}
        trials.append(trial)
        kept.add(trial, (1, score))
    assert [trial.folds[0].said is None for trial in trials] == [True, False, True, False]
