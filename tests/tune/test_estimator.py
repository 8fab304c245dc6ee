"""`TuneSearchCV` beside scikit-learn's searches, in steps, in a run's store, and inside others."""

import pickle
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform, randint
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from distml import StackingClassifier, TuneSearchCV, session
from distml.errors import UserError
from distml.runs.events import use_events
from distml.runs.units import UnitStore, use_units
from distml.tune.results import SearchFailedError

X, Y = make_classification(120, 6, n_informative=4, random_state=0)
LABELS = np.array(["no", "yes"])[Y]


@pytest.fixture(autouse=True)
def _in_process(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("ray") is not None:
        yield
        return
    with session.inline():
        yield


def assert_same_table(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, column in theirs.items():
        if name.endswith("_time"):
            continue
        if isinstance(column, np.ndarray) and column.dtype.kind == "f":
            np.testing.assert_array_equal(ours[name], column, err_msg=name)
        else:
            assert list(ours[name]) == list(column), name


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "train scores": {"return_train_score": True},
    "several scorers": {"scoring": ["accuracy", "roc_auc"], "refit": "roc_auc"},
    "shuffled folds": {"cv": KFold(4, shuffle=True, random_state=1)},
    "no refit": {"refit": False},
    "function": {"scoring": lambda estimator, X, y: float(estimator.coef_.sum())},
}


@pytest.mark.parametrize("name", CASES)
def test_grid_is_scikit_learns_value_for_value(name):
    grid = {"C": [0.01, 1.0, 100.0], "class_weight": [None, "balanced"]}
    ours = TuneSearchCV(LogisticRegression(), grid, search="grid", **CASES[name]).fit(X, LABELS)
    theirs = GridSearchCV(LogisticRegression(), grid, **CASES[name]).fit(X, LABELS)
    assert_same_table(ours.cv_results_, theirs.cv_results_)
    assert ours.n_splits_ == theirs.n_splits_
    assert ours.best_params_ == theirs.best_params_
    if theirs.refit:
        np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
        assert ours.score(X, LABELS) == theirs.score(X, LABELS)


def test_random_search_is_scikit_learns_value_for_value():
    space = {"max_depth": randint(1, 9), "min_samples_leaf": [1, 2, 5], "ccp_alpha": [0.0, 0.01]}
    tree = DecisionTreeClassifier(random_state=0)
    ours = TuneSearchCV(tree, space, num_samples=8, random_state=3).fit(X, Y)
    theirs = RandomizedSearchCV(tree, space, n_iter=8, random_state=3).fit(X, Y)
    assert_same_table(ours.cv_results_, theirs.cv_results_)


def test_weights_and_groups_go_where_scikit_learn_sends_them():
    weight, groups = np.random.default_rng(0).random(len(Y)), np.arange(len(Y)) % 7
    grid, arguments = {"C": [0.01, 1.0]}, {"sample_weight": weight, "groups": groups}
    ours = TuneSearchCV(LogisticRegression(), grid, search="grid", cv=GroupKFold(3))
    theirs = GridSearchCV(LogisticRegression(), grid, cv=GroupKFold(3))
    assert_same_table(
        ours.fit(X, Y, **arguments).cv_results_, theirs.fit(X, Y, **arguments).cv_results_
    )


def test_regression_over_alternatives_is_scikit_learns():
    X, y = make_regression(60, 4, noise=5.0, random_state=0)
    grid = [{"alpha": [0.1, 1.0]}, {"alpha": [10.0], "fit_intercept": [False]}]
    ours = TuneSearchCV(Ridge(), grid, search="grid").fit(X, y)
    assert_same_table(ours.cv_results_, GridSearchCV(Ridge(), grid).fit(X, y).cv_results_)


class Fragile(ClassifierMixin, BaseEstimator):
    """Cannot be fitted where its parameter is negative."""

    def __init__(self, level=0):
        self.level = level

    def fit(self, X, y):
        if self.level < 0:
            raise ValueError(f"level {self.level} is negative")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[self.level % 2])


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.parametrize("error_score", [np.nan, 0.0])
def test_failing_fits_are_scored_and_warned_of_as_scikit_learn_does(error_score):
    arguments = {"cv": 3, "error_score": error_score}
    with pytest.warns(Warning, match="3 fits failed out of a total of 9") as caught:
        ours = TuneSearchCV(Fragile(), {"level": [0, -1, 1]}, search="grid", **arguments).fit(X, Y)
    assert any("level -1 is negative" in str(warning.message) for warning in caught)
    with pytest.warns(Warning, match="3 fits failed"):
        theirs = GridSearchCV(Fragile(), {"level": [0, -1, 1]}, **arguments).fit(X, Y)
    assert_same_table(ours.cv_results_, theirs.cv_results_)


def test_search_in_which_all_fits_fail_says_so_in_scikit_learns_words():
    search = TuneSearchCV(Fragile(), {"level": [-1, -2]}, search="grid", cv=3)
    with pytest.raises(SearchFailedError, match="All the 6 fits failed") as caught:
        search.fit(X, Y)
    assert isinstance(caught.value, ValueError)
    assert "level -2 is negative" in str(caught.value)


def test_error_of_a_fit_is_raised_where_that_is_asked_for():
    search = TuneSearchCV(Fragile(), {"level": [0, -1]}, search="grid", error_score="raise")
    with pytest.raises(ValueError, match="level -1 is negative"):
        search.fit(X, Y)


GO_ON = {
    "trees": (RandomForestClassifier(9, random_state=0), {"max_depth": [1, 3, 6]}, "n_estimators"),
    "boosting": (GradientBoostingClassifier(n_estimators=9), {"max_depth": [1, 2]}, "n_estimators"),
    "histograms": (
        HistGradientBoostingClassifier(max_iter=9),
        {"max_leaf_nodes": [3, 9]},
        "max_iter",
    ),
    "rounds": (XGBClassifier(n_estimators=9), {"max_depth": [1, 2, 3]}, "n_estimators"),
    "passes": (
        SGDClassifier(loss="log_loss", random_state=0),
        {"alpha": loguniform(1e-5, 1)},
        "passes",
    ),
    "pipeline": (
        make_pipeline(StandardScaler(), RandomForestClassifier(9, random_state=0)),
        {"randomforestclassifier__max_depth": [1, 3]},
        "randomforestclassifier__n_estimators",
    ),
}


@pytest.mark.parametrize("name", GO_ON)
def test_halving_over_iterations_goes_on_from_where_learners_are(name):
    estimator, space, parameter = GO_ON[name]
    before = estimator.get_params(deep=True)
    search = TuneSearchCV(
        estimator,
        space,
        scheduler="asha",
        resource=parameter,
        max_resource=9,
        num_samples=6 if name == "passes" else min(6, len(next(iter(space.values())))),
        random_state=0,
        cv=3,
    ).fit(X, Y)
    table = search.cv_results_
    assert set(table["n_resources"]) <= {1, 3, 9}
    assert search.best_resource_ == max(table["n_resources"]) == 9
    assert table["rank_test_score"][search.best_index_] == 1
    assert (table["stop_reason"] == "completed").tolist() == (table["n_resources"] == 9).tolist()
    assert np.isfinite(table["mean_test_score"]).all()
    after = search.best_estimator_.get_params(deep=True)
    assert {k: after[k] for k in after if k.endswith("warm_start")} == {
        k: before[k] for k in before if k.endswith("warm_start")
    }
    assert (search.predict(X) == Y).mean() > 0.6


@pytest.mark.parametrize("name", ["trees", "histograms", "rounds"])
def test_steps_come_to_what_one_fit_comes_to(name):
    estimator, space, parameter = GO_ON[name]
    parameter_grid = {key: values[-1:] for key, values in space.items()}
    stepped = TuneSearchCV(
        estimator, parameter_grid, scheduler="asha", resource=parameter, num_samples=1, cv=3
    )
    whole = GridSearchCV(estimator, parameter_grid, cv=3).fit(X, Y)
    scores = stepped.fit(X, Y).cv_results_
    np.testing.assert_allclose(scores["mean_test_score"], whole.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(stepped.predict(X), whole.predict(X))


def test_halving_over_folds_stops_what_is_worse_on_the_first_two():
    space = {"max_depth": [1, 2, 3, 4, 5, 6, 7, 8]}
    search = TuneSearchCV(
        DecisionTreeClassifier(random_state=0),
        space,
        search="grid",
        scheduler="asha",
        max_concurrent_trials=2,
        return_train_score=True,
    ).fit(X, Y)
    table = search.cv_results_
    assert set(table["n_resources"]) == {2, 5}
    stopped = table["n_resources"] == 2
    assert np.isnan(table["split2_test_score"][stopped]).all()
    np.testing.assert_allclose(
        table["mean_test_score"][stopped],
        (table["split0_test_score"] + table["split1_test_score"])[stopped] / 2,
    )
    assert table["rank_test_score"][stopped].min() > table["rank_test_score"][~stopped].max()
    whole = GridSearchCV(DecisionTreeClassifier(random_state=0), space).fit(X, Y)
    np.testing.assert_array_equal(
        table["mean_test_score"][~stopped], whole.cv_results_["mean_test_score"][~stopped]
    )


def test_population_perturbs_learners_that_go_on_and_the_best_way_is_gone_again():
    search = TuneSearchCV(
        SGDClassifier(loss="log_loss", random_state=0, learning_rate="constant", eta0=0.1),
        {"eta0": loguniform(1e-5, 10)},
        scheduler="pbt",
        num_samples=4,
        max_resource=20,
        random_state=0,
        cv=2,
    ).fit(X, Y)
    assert set(search.cv_results_["n_resources"]) == {20}
    assert search.best_estimator_.get_params()["eta0"] == search.best_params_["eta0"]


@pytest.mark.parametrize("scheduler", ["asha", None])
def test_searchers_of_ray_tune_propose(scheduler):
    pytest.importorskip("optuna")
    found = [
        TuneSearchCV(
            RandomForestClassifier(9, random_state=0),
            {"max_depth": randint(1, 9).rvs(5, random_state=0).tolist(), "max_features": [1, 2, 3]},
            search="optuna",
            scheduler=scheduler,
            num_samples=6,
            max_concurrent_trials=3,
            random_state=0,
            cv=2,
        ).fit(X, Y)
        for _ in range(2)
    ]
    assert len(found[0].cv_results_["params"]) == 6
    assert found[0].cv_results_["params"] == found[1].cv_results_["params"]
    assert found[0].best_params_ == found[1].best_params_


def test_resumed_search_finds_every_fold_and_the_same_best(tmp_path):
    def search() -> TuneSearchCV:
        return TuneSearchCV(
            RandomForestClassifier(9, random_state=0),
            {"max_depth": [1, 2, 3, 4]},
            search="grid",
            scheduler="asha",
            cv=2,
        )

    tables = []
    for _ in range(2):
        events: list[dict[str, Any]] = []
        with (
            use_units(UnitStore(tmp_path)),
            use_events(
                lambda kind, events=events, **fields: events.append({"kind": kind} | fields)
            ),
        ):
            tables.append((search().fit(X, Y).cv_results_, events))
    (first, fresh), (second, again) = tables
    assert not any(event.get("cached") for event in fresh)
    assert all(event["cached"] for event in again if event["kind"] == "unit_done")
    assert first["params"] == second["params"]
    np.testing.assert_array_equal(first["mean_test_score"], second["mean_test_score"])
    np.testing.assert_array_equal(first["mean_fit_time"], second["mean_fit_time"])


@pytest.mark.ray
def test_verbose_is_taken_and_prints_nothing(capsys):
    TuneSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, search="grid", verbose=3).fit(
        X, Y
    )
    assert capsys.readouterr().out == ""


def test_search_runs_inside_a_stack_and_a_stack_inside_a_search():
    tree = DecisionTreeClassifier(random_state=0)
    inner = TuneSearchCV(tree, {"max_depth": [1, 3]}, search="grid", cv=2)
    stack = StackingClassifier([("tree", inner), ("line", LogisticRegression())], cv=2)
    outer = TuneSearchCV(stack, {"final_estimator__C": [0.1, 1.0]}, search="grid", cv=2)
    outer.set_params(estimator__final_estimator=LogisticRegression())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outer.fit(X, Y)
    with session.inline():
        again = clone(outer).fit(X, Y)
    np.testing.assert_array_equal(
        outer.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(outer.predict_proba(X), again.predict_proba(X))
    assert outer.best_estimator_.named_estimators_["tree"].best_params_["max_depth"] in (1, 3)


@pytest.mark.ray
def test_search_over_ray_is_the_search_in_this_process():
    search = TuneSearchCV(
        GradientBoostingClassifier(n_estimators=9, subsample=0.5, random_state=0),
        {"learning_rate": loguniform(0.01, 1), "max_depth": [1, 2, 3]},
        scheduler="asha",
        max_concurrent_trials=3,
        random_state=1,
        cv=2,
    )
    spread = clone(search).fit(X, Y).cv_results_
    with session.inline():
        here = clone(search).fit(X, Y).cv_results_
    assert spread["params"] == here["params"]
    for name in ("mean_test_score", "n_resources", "rank_test_score"):
        np.testing.assert_array_equal(spread[name], here[name])


@pytest.mark.ray
def test_many_small_fits_share_journeys_and_come_to_scikit_learns_table(monkeypatch):
    # Small whatever they take: how fast the machine is today is not asked.
    monkeypatch.setattr("distml.ensemble.queue._SMALL_S", 60.0)
    monkeypatch.setattr("distml.ensemble.queue._TOGETHER_S", 600.0)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    weight = np.random.default_rng(0).random(len(Y))
    grid = {"C": np.logspace(-3, 3, 25)}
    ours = TuneSearchCV(LogisticRegression(), grid, search="grid", return_train_score=True)
    theirs = GridSearchCV(LogisticRegression(), grid, return_train_score=True)
    events: list[dict[str, Any]] = []
    with use_events(lambda kind, **fields: events.append({"kind": kind} | fields)):
        ours.fit(frame, LABELS, sample_weight=weight)
    assert_same_table(ours.cv_results_, theirs.fit(frame, LABELS, sample_weight=weight).cv_results_)
    assert ours.feature_names_in_.tolist() == list("abcdef")
    assert any(event.get("cpus") == 0 for event in events if event["kind"] == "unit_started")


def test_fitted_search_travels_as_a_pickle():
    search = TuneSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, search="grid").fit(X, Y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_what_has_no_targets_is_searched():
    from sklearn.neighbors import KernelDensity

    search = TuneSearchCV(KernelDensity(), {"bandwidth": [0.1, 1.0]}, search="grid").fit(X)
    theirs = GridSearchCV(KernelDensity(), {"bandwidth": [0.1, 1.0]}).fit(X)
    assert_same_table(search.cv_results_, theirs.cv_results_)
    np.testing.assert_array_equal(search.score_samples(X), theirs.score_samples(X))


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "unknown parameter": (Ridge(), {"space": {"alpa": [1]}}, "did you mean 'alpha'"),
    "empty space": (Ridge(), {"space": {}}, "space is empty"),
    "empty list": (Ridge(), {"space": {"alpha": []}}, "non-empty"),
    "no samples": (Ridge(), {"num_samples": 0}, "num_samples is 0"),
    "unknown search": (Ridge(), {"search": "annealing"}, "'annealing' is not known"),
    "unknown scheduler": (Ridge(), {"scheduler": "ahsa"}, "'ahsa' is not known"),
    "unknown scorer": (Ridge(), {"scoring": "acuracy"}, "did you mean 'accuracy'"),
    "unknown scorer of several": (
        Ridge(),
        {"scoring": ["r2", "acuracy"], "refit": "r2"},
        "did you mean 'accuracy'",
    ),
    "population of what cannot go on": (Ridge(), {"scheduler": "pbt"}, "cannot go on"),
    "resource it has not": (Ridge(), {"scheduler": "asha", "resource": "epochs"}, "epochs"),
    "resource without a limit": (
        SGDClassifier(max_iter=None),
        {"space": {"alpha": [1]}, "scheduler": "asha", "resource": "passes"},
        "max_resource",
    ),
    "limit without steps": (Ridge(), {"max_resource": 9}, "scheduler='asha'"),
    "resource that varies": (
        RandomForestClassifier(),
        {"space": {"n_estimators": [1, 2]}, "scheduler": "asha"},
        "resource='folds'",
    ),
    "scorer to go by": (
        Ridge(),
        {"scoring": ["r2", "neg_max_error"], "refit": False, "scheduler": "asha"},
        "give its name",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_said_in_one_line_before_any_fit(name):
    estimator, arguments, said = BAD[name]
    arguments = {"space": {"alpha": [0.1, 1.0]}, "num_samples": 2} | arguments
    with pytest.raises(UserError, match=said) as caught:
        TuneSearchCV(estimator, **arguments).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_metric_that_no_trial_reports_is_said_after_the_first():
    calls: list[int] = []

    def scorer(estimator, X, y):
        calls.append(len(X))
        return {"hits": estimator.score(X, y)}

    search = TuneSearchCV(
        Ridge(), {"alpha": [0.1, 1.0]}, scoring=scorer, refit="misses", num_samples=2
    )
    with pytest.raises(UserError, match="misses"):
        search.fit(X, Y)
    assert len(calls) <= 2


def test_time_budget_in_which_nothing_is_done_is_refused():
    search = TuneSearchCV(Ridge(), {"alpha": loguniform(0.1, 1.0)}, time_budget_s=1e-9)
    table = search.fit(X, Y).cv_results_
    assert len(table["params"]) == 1
    assert table["stop_reason"][0] == "time_budget_s"
