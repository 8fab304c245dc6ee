"""An ensemble of the best trials as one expression, beside a search and `from_search` by hand."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from distml import (
    SelectionClassifier,
    SelectionRegressor,
    StackingClassifier,
    TunedEnsemble,
    TuneSearchCV,
    session,
)
from distml.errors import UserError
from distml.runs.events import use_events

X, Y = make_classification(150, 6, n_informative=4, random_state=0)
SEARCH = TuneSearchCV(
    DecisionTreeClassifier(random_state=0),
    {"max_depth": [1, 2, 3, 4, 5]},
    search="grid",
    refit=False,
    cv=3,
)


@pytest.fixture(autouse=True)
def _in_process() -> Iterator[None]:
    with session.inline():
        yield


@pytest.mark.parametrize(
    "ensemble",
    [StackingClassifier([], final_estimator=LogisticRegression(C=0.1)), SelectionClassifier([])],
    ids=["stack", "selection"],
)
def test_it_is_what_one_would_do_by_hand(ensemble):
    tuned = TunedEnsemble(SEARCH, ensemble, k=3)
    given = {
        k: v
        for k, v in clone(ensemble).get_params(deep=False).items()
        if k not in ("estimators", "cv")
    }
    by_hand = type(ensemble).from_search(clone(SEARCH).fit(X, Y), k=3, **given).fit(X, Y)
    tuned.fit(X, Y)
    np.testing.assert_array_equal(tuned.predict_proba(X), by_hand.predict_proba(X))
    np.testing.assert_array_equal(tuned.predict(X), by_hand.predict(X))
    assert [name for name, _ in tuned.ensemble_.estimators] == [
        name for name, _ in by_hand.estimators
    ]


def test_no_fold_is_fitted_twice():
    events: list[dict[str, Any]] = []
    with use_events(lambda kind, **fields: events.append({"kind": kind} | fields)):
        TunedEnsemble(SEARCH, StackingClassifier([]), k=3).fit(X, Y)
    done = [event["unit"] for event in events if event["kind"] == "unit_done"]
    assert sum(", fold " in unit for unit in done) == 15
    assert len(done) == 15 + 3 + 1


def test_it_is_an_estimator_of_its_ensembles_kind():
    tuned = TunedEnsemble(SEARCH, StackingClassifier([]), k=2, n_jobs=1)
    assert is_classifier(tuned)
    assert not hasattr(tuned, "classes_")
    assert clone(tuned).get_params()["search__estimator__random_state"] == 0
    regression = TuneSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, search="grid")
    assert is_regressor(TunedEnsemble(regression, SelectionRegressor([])))
    assert not hasattr(TunedEnsemble(regression, SelectionRegressor([])), "predict_proba")


def test_a_member_of_a_stack_joins_its_graph():
    tuned = TunedEnsemble(SEARCH, SelectionClassifier([]), k=2)
    stack = StackingClassifier([("tuned", tuned), ("tree", DecisionTreeClassifier())], cv=2)
    assert stack.fit(X, Y).predict(X).shape == (150,)


def test_a_search_without_predictions_is_refused_in_a_line():
    search = clone(SEARCH).set_params(keep_predictions=False)
    with pytest.raises(UserError, match="keep_predictions"):
        TunedEnsemble(search, StackingClassifier([])).fit(X, Y)
