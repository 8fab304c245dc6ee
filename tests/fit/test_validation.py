"""Refits: folds and points of a learning curve, judged by scikit-learn, and kept as units."""

import copy
import pickle

import numpy as np
import pyarrow as pa
import pytest
from sklearn import ensemble as sk
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.model_selection import cross_validate as judge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from distml import ensemble as ours
from distml import session
from distml.data import fold_rows
from distml.ensemble import BaggingClassifier, BaggingRegressor
from distml.errors import DataError, MemberError
from distml.fit import refit
from distml.fit.evaluate import scores
from distml.fit.evaluation import Question
from distml.fit.left_out import left_out_scores
from distml.fit.predictions import Predictions
from distml.fit.recipe import Recipe
from distml.fit.tables import Labels, Parts
from distml.fit.validation import cross_validate, learning_curve
from distml.runs.events import use_events
from distml.runs.units import UnitStore, use_units

COLUMNS = ["a", "b"]
N = 200


def parts(*, classes):
    generator = np.random.default_rng(0)
    table = pa.table({name: generator.normal(size=N) for name in COLUMNS})
    y = 2 * table["a"].to_numpy() + generator.normal(size=N)
    if classes:
        labels = Labels(y=(y > 0).astype(np.int64), classes=np.array(["no", "yes"]))
    else:
        labels = Labels(y=y, classes=None)
    rows = {"train": np.arange(0, N, 2), "new": np.arange(1, N, 2)}
    return Parts(table=table, labels=labels, rows=rows)


def question(given, *metrics):
    names = given.labels.classes
    return Question(label="y", classes=None if names is None else names.tolist(), metrics=metrics)


def recipe(estimator):
    return Recipe.of(StandardScaler(), None, estimator, seed=0)


class Events(list):
    def __init__(self):
        self.workers = []

    def __call__(self, kind, **fields):
        self.append((kind, fields.get("unit"), fields.get("cached")))
        self.workers.append((kind, fields.get("worker")))


@pytest.mark.parametrize(
    ("estimator", "metrics"),
    [(LogisticRegression(), ("roc_auc", "neg_log_loss")), (LinearRegression(), ("r2",))],
    ids=["classes", "numbers"],
)
def test_folds_are_scored_as_scikit_learn_scores_them(estimator, metrics):
    given = parts(classes="roc_auc" in metrics)
    asked = question(given, *metrics)
    found = cross_validate(asked, recipe(estimator), given, COLUMNS, folds=4, emit=Events())
    y = given.y("train")
    fold = np.empty(len(y), dtype=int)
    for number, rows in enumerate(fold_rows(len(y), 4, 0, strata=y if asked.classes else None)):
        fold[rows] = number
    X = given.features("train", COLUMNS).to_pandas()
    pipeline = make_pipeline(StandardScaler(), estimator)
    expected = judge(pipeline, X, y, cv=PredefinedSplit(fold), scoring=metrics)
    assert found["folds"] == 4
    for name in metrics:
        scores = expected[f"test_{name}"]
        assert found["scores"][name]["folds"] == pytest.approx(scores)
        assert found["scores"][name]["mean"] == pytest.approx(scores.mean())
        assert found["scores"][name]["std"] == pytest.approx(scores.std())


def test_a_curve_ends_where_the_fit_on_all_rows_is():
    given = parts(classes=True)
    found = learning_curve(
        question(given, "roc_auc"), recipe(LogisticRegression()), given, COLUMNS,
        sizes=[10, 0.5, 1.0, 5_000], emit=Events(),
    )  # fmt: skip
    assert found["rows"] == [10, 50, 100]
    fitted = make_pipeline(StandardScaler(), LogisticRegression())
    X = {name: given.features(name, COLUMNS).to_pandas() for name in given.rows}
    fitted.fit(X["train"], given.y("train"))
    scorer = get_scorer("roc_auc")
    assert found["train"][-1] == pytest.approx(scorer(fitted, X["train"], given.y("train")))
    assert found["sets"]["new"][-1] == pytest.approx(scorer(fitted, X["new"], given.y("new")))


def test_the_smallest_size_has_every_class():
    given = parts(classes=True)
    given.labels.y[:] = 0
    given.labels.y[[20, 30, 41]] = 1
    found = learning_curve(
        question(given, "accuracy"), recipe(LogisticRegression()), given, COLUMNS,
        sizes=[1], emit=Events(),
    )  # fmt: skip
    assert found["rows"] == [2]


def test_what_is_kept_is_not_fitted_again(tmp_path):
    given = parts(classes=True)

    def folds(estimator, k):
        events = Events()
        with use_units(UnitStore(tmp_path)):
            asked = question(given, "roc_auc")
            found = cross_validate(asked, recipe(estimator), given, COLUMNS, folds=k, emit=events)
        return found, [unit for kind, unit, _ in events if kind == "unit_started"], events

    first, started, _ = folds(LogisticRegression(), 3)
    assert started == [f"cross-validation, fold {number} of 3" for number in (1, 2, 3)]
    again, started, events = folds(LogisticRegression(), 3)
    assert (again, started) == (first, [])
    assert events[0] == ("plan", None, 3)
    assert [cached for kind, _, cached in events if kind == "unit_done"] == [True] * 3
    assert len(folds(LogisticRegression(C=2), 3)[1]) == 3


class Failing(LinearRegression):
    """Fails at its second fit while a file is there, which is no part of what it is."""

    def __init__(self, folder=None):
        super().__init__()
        self.folder = folder

    def fit(self, X, y):
        begun = self.folder / "begun"
        if begun.exists() and (self.folder / "fails").exists():
            raise MemberError("no")
        begun.touch()
        return super().fit(X, y)


def test_a_fold_that_failed_leaves_the_others_kept(tmp_path):
    given, events = parts(classes=False), Events()

    def folds():
        with use_units(UnitStore(tmp_path / "units")):
            model = recipe(Failing(tmp_path))
            cross_validate(question(given, "r2"), model, given, COLUMNS, folds=3, emit=events)

    (tmp_path / "fails").touch()
    with pytest.raises(MemberError):
        folds()
    (tmp_path / "fails").unlink()
    folds()
    started = [unit[-6:] for kind, unit, _ in events if kind == "unit_started"]
    assert started == ["1 of 3", "2 of 3", "2 of 3", "3 of 3"]


def test_a_class_rarer_than_folds_is_refused():
    given = parts(classes=True)
    given.labels.y[:] = 0
    given.labels.y[[0, 2]] = 1
    with pytest.raises(DataError, match="2 rows, fewer than 3 folds"):
        cross_validate(
            question(given, "accuracy"), recipe(LogisticRegression()), given, COLUMNS,
            folds=3, emit=Events(),
        )  # fmt: skip


def test_what_an_ensemble_knows_of_rows_left_out_is_its_validation():
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(150, 2)), generator.normal(size=150)
    labels = (X[:, 0] + y > 0).astype(int)
    forest = RandomForestClassifier(60, oob_score=True, random_state=0).fit(X, labels)
    found = left_out_scores(forest, labels, ["accuracy", "roc_auc"])["RandomForestClassifier"]
    assert found["accuracy"] == pytest.approx(forest.oob_score_)
    assert 0.5 < found["roc_auc"] < 1
    bag = BaggingRegressor(LinearRegression(), 40, oob_score=True, random_state=0)
    with session.inline():
        bag.fit(X, X[:, 0] + y)
    found = left_out_scores(bag, X[:, 0] + y, ["r2"])
    assert found["BaggingRegressor"]["r2"] == pytest.approx(bag.oob_score_)
    assert left_out_scores(LinearRegression().fit(X, y), y, ["r2"]) == {}


def folds_of(estimator, store, **options):
    given, events = parts(classes=True), Events()
    with use_units(store):
        found = cross_validate(
            question(given, "roc_auc"), recipe(estimator), given, COLUMNS, folds=3, emit=events,
            **options,
        )  # fmt: skip
    return found, events


@pytest.mark.ray
def test_folds_in_workers_score_the_same_and_are_kept_under_the_same_keys(tmp_path):
    forest = RandomForestClassifier(5, n_jobs=-1)
    with session.inline():
        here, _ = folds_of(forest, UnitStore(tmp_path / "here"))
    there, events = folds_of(forest, UnitStore(tmp_path / "there"), seconds=1e9)
    assert there == here
    assert sorted(UnitStore(tmp_path / "there").keys()) == sorted(
        UnitStore(tmp_path / "here").keys()
    )
    assert "driver" not in [worker for kind, worker in events.workers if kind == "unit_done"]


def test_folds_of_an_ensemble_put_their_fits_into_one_queue(tmp_path):
    bag, store = BaggingClassifier(LogisticRegression(), 4), UnitStore(tmp_path)
    given, seen = parts(classes=True), []
    with session.inline(), use_units(store), use_events(lambda kind, **_: seen.append(kind)):
        asked = question(given, "roc_auc")
        found = cross_validate(asked, recipe(bag), given, COLUMNS, folds=3, emit=Events())
    # All is planned before anything starts.
    assert seen[:12] == ["plan"] * 12
    assert seen.count("unit_done") == 12
    X, y, one = given.features("train", COLUMNS), given.y("train"), recipe(bag)
    test = fold_rows(len(y), 3, 0, strata=y)[0]
    train = np.setdiff1d(np.arange(len(y)), test)
    with session.inline():
        alone = one.anew().fit(X.take(pa.array(train)), y[train])
    expected = scores(["roc_auc"], alone.predict(X.take(pa.array(test))), y[test])
    assert found["scores"]["roc_auc"]["folds"][0] == expected["roc_auc"]


def test_no_more_matrices_are_there_at_once_than_memory_is_planned_for(monkeypatch):
    given, seen = parts(classes=True), []
    monkeypatch.setattr(refit, "_MOST_COPIES", 1.5)
    bag = BaggingClassifier(LogisticRegression(), 1)
    with session.inline(), use_events(lambda kind, **_: seen.append(kind)):
        asked = question(given, "roc_auc")
        cross_validate(asked, recipe(bag), given, COLUMNS, folds=3, emit=Events())
    assert "".join(kind[5] if kind != "plan" else "p" for kind in seen) == "ppsdsdpsd"


def test_an_estimator_with_workers_of_its_own_is_fitted_by_the_driver(tmp_path):
    with session.inline():
        assert not refit._has_workers(make_pipeline(StandardScaler(), LogisticRegression()))
    assert refit._has_workers(make_pipeline(Networked(num_workers=2)))
    assert not refit._has_workers(Networked(num_workers=1))


class Networked(LinearRegression):
    """Stands for a network."""

    def __init__(self, num_workers=1):
        super().__init__()
        self.num_workers = num_workers


def both(classes):
    """Rows, labels, and members that differ."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(240, 3))
    y = X[:, 0] + X[:, 1] * X[:, 2] + generator.normal(size=240)
    if not classes:
        return (
            X,
            y,
            [
                ("linear", LinearRegression()),
                ("tree", DecisionTreeRegressor(max_depth=3, random_state=0)),
            ],
        )
    y = np.digitize(y, [-0.5, 0.5][: classes - 1])
    return (
        X,
        y,
        [
            ("linear", LogisticRegression()),
            ("tree", DecisionTreeClassifier(max_depth=3, random_state=0)),
        ],
    )


@pytest.mark.parametrize("classes", [0, 2, 3], ids=["numbers", "two classes", "three classes"])
def test_out_of_fold_scores_of_members_are_those_of_a_cross_validation(classes):
    X, y, members = both(classes)
    make, metrics = (ours.StackingClassifier, ["accuracy", "neg_log_loss"])
    if not classes:
        make, metrics = ours.StackingRegressor, ["r2"]
    stack = make(members, cv=4)
    with session.inline():
        found = left_out_scores(stack.fit(X, y), y, metrics)
    for name, member in members:
        method = "predict_proba" if classes else "predict"
        said = cross_val_predict(clone(member), X, y, cv=4, method=method)
        model = Predictions(stack, {method: said, "predict": said.argmax(1) if classes else said})
        assert found[name] == pytest.approx(scores(metrics, model, y))
    # Not the final estimator's score on the rows it learnt from.
    name = type(stack).__name__
    nested = judge(stack_of_scikit_learn(stack), X, y, cv=4, scoring=metrics[0])
    assert found[name][metrics[0]] == pytest.approx(nested["test_score"].mean(), abs=0.07)
    assert set(found) == {name, "linear", "tree"}


def stack_of_scikit_learn(stack):
    kind = getattr(sk, type(stack).__name__)
    return kind(stack.estimators, cv=stack.cv)


@pytest.mark.parametrize(
    "changes",
    [{"passthrough": True}, {"final_estimator": DecisionTreeClassifier()}],
    ids=["passthrough", "final estimator that is not linear"],
)
def test_a_stack_whose_own_score_would_take_real_fits_has_none(changes):
    X, y, members = both(2)
    with session.inline():
        stack = ours.StackingClassifier(members, cv=3, **changes).fit(X, y)
    assert set(left_out_scores(stack, y, ["roc_auc"])) == {"linear", "tree"}


@pytest.mark.parametrize("method", ["decision_function", "predict"])
def test_members_that_give_no_probabilities_are_scored_by_what_they_give(method):
    X, y, members = both(2)
    with session.inline():
        stack = ours.StackingClassifier(members[:1], cv=3, stack_method=method).fit(X, y)
    found = left_out_scores(stack, y, ["accuracy", "roc_auc"])["linear"]
    said = cross_val_predict(LogisticRegression(), X, y, cv=3)
    assert found["accuracy"] == accuracy_score(y, said)
    assert (found["roc_auc"] is None) == (method == "predict")


def test_a_selection_is_scored_by_all_metrics_out_of_fold():
    X, y, members = both(2)
    with session.inline():
        chosen = ours.SelectionClassifier(members, cv=3, scoring="roc_auc").fit(X, y)
    found = left_out_scores(chosen, y, ["roc_auc", "accuracy"])
    assert found["SelectionClassifier"]["roc_auc"] == pytest.approx(chosen.score_)
    assert found["tree"]["roc_auc"] == pytest.approx(chosen.member_scores_["tree"])
    assert 0.5 < found["SelectionClassifier"]["accuracy"] < 1


def test_what_members_said_of_training_rows_is_not_saved_with_the_model():
    X, y, members = both(2)
    with session.inline():
        stack = ours.StackingClassifier(members, cv=3).fit(X, y)
    assert hasattr(stack, "out_of_fold_")
    assert not hasattr(pickle.loads(pickle.dumps(stack)), "out_of_fold_")
    assert not hasattr(copy.deepcopy(stack), "out_of_fold_")
