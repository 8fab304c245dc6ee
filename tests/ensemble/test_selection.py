"""Selection as an estimator: its units beside a stack's, its members, its errors."""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer, log_loss, root_mean_squared_error
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from distml import session
from distml.ensemble import (
    SelectionClassifier,
    SelectionRegressor,
    StackingClassifier,
    StackingRegressor,
)
from distml.errors import MemberError, UserError
from distml.runs.model_file import dump_estimator, load_estimator
from distml.runs.units import UnitStore, use_units

X, CODES = make_classification(300, 8, n_informative=5, n_classes=3, random_state=0)
Y = np.array(["low", "middle", "high"])[CODES]
WEIGHT = np.random.default_rng(0).uniform(0.5, 2, len(Y))
X_REAL, Y_REAL = make_regression(300, 8, noise=10.0, random_state=0)


class Counted(DecisionTreeClassifier):
    """Notes each fit in a file, since a changing global would be part of its key."""

    def __init__(self, notes, max_depth=None, random_state=0):
        super().__init__(max_depth=max_depth, random_state=random_state)
        self.notes = notes

    def fit(self, X, y, sample_weight=None):
        note(self.notes, X)
        return super().fit(X, y, sample_weight=sample_weight)


class CountedRegressor(DecisionTreeRegressor):
    """The same of a number."""

    def __init__(self, notes, max_depth=None, random_state=0):
        super().__init__(max_depth=max_depth, random_state=random_state)
        self.notes = notes

    def fit(self, X, y, sample_weight=None):
        note(self.notes, X)
        return super().fit(X, y, sample_weight=sample_weight)


def note(path, X):
    with Path(path).open("a") as file:
        file.write("fold\n" if len(X) < 300 else "all rows\n")


class FailsOnAllRows(GaussianNB):
    """Learns folds only."""

    def fit(self, X, y, sample_weight=None):
        if len(X) == 300:
            raise OSError("too many rows")
        return super().fit(X, y, sample_weight=sample_weight)


class FailsInFolds(GaussianNB):
    """Learns all rows only."""

    def fit(self, X, y, sample_weight=None):
        if len(X) < 300:
            raise OSError("too few rows")
        return super().fit(X, y, sample_weight=sample_weight)


def classifiers(tree=DecisionTreeClassifier):
    return [
        ("bayes", GaussianNB()),
        ("shallow", tree(max_depth=3, random_state=0)),
        ("deep", tree(random_state=0)),
        ("linear", LogisticRegression(max_iter=1000)),
    ]


def regressors(tree=DecisionTreeRegressor):
    return [
        ("ridge", Ridge()),
        ("shallow", tree(max_depth=3, random_state=0)),
        ("deep", tree(random_state=0)),
    ]


@pytest.fixture
def inline():
    with session.inline():
        yield


@pytest.fixture
def notes(tmp_path):
    """File with a line a fit of `Counted`."""
    path = tmp_path / "notes"
    path.touch()
    return path


@pytest.fixture
def units(tmp_path, inline):
    store = UnitStore(tmp_path / "units")
    with use_units(store):
        yield store


def counted(notes):
    return Counter(notes.read_text().splitlines())


@pytest.mark.parametrize(
    ("stack", "selection", "pool", "data"),
    [
        (StackingClassifier, SelectionClassifier, (classifiers, Counted), (X, Y)),
        (StackingRegressor, SelectionRegressor, (regressors, CountedRegressor), (X_REAL, Y_REAL)),
    ],
    ids=["classifier", "regressor"],
)
def test_a_selection_after_a_stack_fits_nothing_again(units, notes, stack, selection, pool, data):
    make, tree = pool
    pool = make(partial(tree, str(notes)))
    stack(pool).fit(*data)
    assert counted(notes) == {"fold": 10, "all rows": 2}
    stored = set(units.keys())
    selection(pool, n_init=len(pool)).fit(*data)
    assert counted(notes) == {"fold": 10, "all rows": 2}
    assert set(units.keys()) == stored


def test_only_selected_members_are_fitted_on_all_rows(inline, notes):
    pool = classifiers(partial(Counted, str(notes)))
    mine = SelectionClassifier(pool, cv=4, n_rounds=1).fit(X, Y)
    assert mine.selected_ == ["linear"]
    assert counted(notes) == {"fold": 8}
    assert mine.named_estimators_["deep"] == "drop"
    assert list(mine.fit_times_) == ["linear"]


def test_predictions_are_the_weighted_mean_of_members_fitted_on_all_rows(inline):
    mine = SelectionClassifier(classifiers()).fit(X, Y)
    pool = dict(classifiers())
    fitted = [clone(pool[name]).fit(X, Y).predict_proba(X) for name in mine.selected_]
    expected = np.average(fitted, axis=0, weights=mine.weights_)
    np.testing.assert_allclose(mine.predict_proba(X), expected, rtol=1e-12)
    assert (mine.predict(X) == mine.classes_[expected.argmax(axis=1)]).all()
    assert mine.classes_.tolist() == ["high", "low", "middle"]


@pytest.mark.parametrize("scoring", [None, "accuracy", "roc_auc_ovr", "f1_macro"])
def test_scores_are_those_of_cross_validated_predictions(inline, scoring):
    mine = SelectionClassifier(classifiers(), scoring=scoring, n_rounds=8).fit(X, Y)
    pool = dict(classifiers())
    said = [cross_val_predict(pool[n], X, Y, method="predict_proba") for n in mine.selected_]
    mean = np.average(said, axis=0, weights=mine.weights_)
    fixed = Fixed(mean).fit(X, Y)
    assert mine.score_ == pytest.approx(get_scorer(scoring or "neg_log_loss")(fixed, X, Y))
    assert mine.score_ == pytest.approx(max(mine.history_[0]))
    assert mine.score_ >= max(mine.member_scores_.values())


class Fixed(GaussianNB):
    """Says what it was given."""

    def __init__(self, said):
        self.said = said

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return self.said

    def predict(self, X):
        return self.classes_[self.said.argmax(axis=1)]


def test_a_callable_scorer_is_given_the_rows(inline):
    def recall_of_positive_rows(model, X, y):
        rows = X[:, 0] > 0
        return (model.predict(X) == y)[rows].mean()

    mine = SelectionClassifier(classifiers(), scoring=recall_of_positive_rows, n_rounds=3)
    assert 0.3 < mine.fit(X, Y).score_ <= 1


def test_weights_of_rows_reach_members_and_scores(inline):
    mine = SelectionClassifier(classifiers()[:1]).fit(X, Y, sample_weight=WEIGHT)
    said = cross_val_predict(
        GaussianNB(), X, Y, method="predict_proba", params={"sample_weight": WEIGHT}
    )
    expected = -log_loss(Y, said, labels=mine.classes_, sample_weight=WEIGHT)
    assert mine.score_ == pytest.approx(expected)
    theirs = GaussianNB().fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(mine.predict_proba(X), theirs.predict_proba(X))


def test_a_regressor_selects_by_its_root_mean_squared_error(inline):
    mine = SelectionRegressor(regressors()).fit(X_REAL, Y_REAL)
    pool = dict(regressors())
    said = [cross_val_predict(pool[name], X_REAL, Y_REAL) for name in mine.selected_]
    mean = np.average(said, axis=0, weights=mine.weights_)
    assert -mine.score_ == pytest.approx(root_mean_squared_error(Y_REAL, mean))


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_selects_the_same(workers):
    make = SelectionClassifier(classifiers(), n_bags=5, n_rounds=10, random_state=3)
    with session.inline():
        alone = clone(make).fit(X, Y)
    mine = make.set_params(n_jobs=workers).fit(X, Y)
    assert mine.selected_ == alone.selected_
    assert mine.weights_.tolist() == alone.weights_.tolist()
    np.testing.assert_array_equal(mine.predict_proba(X), alone.predict_proba(X))


def test_bags_are_averaged_and_drawn_by_the_seed(inline):
    bagged = SelectionClassifier(classifiers(), n_bags=6, n_rounds=5, random_state=0).fit(X, Y)
    again = clone(bagged).fit(X, Y)
    assert len(bagged.history_) == 6
    assert bagged.weights_.sum() == pytest.approx(1)
    assert bagged.weights_.tolist() == again.weights_.tolist()
    # No bag has a whole pool, so the best member cannot be in each.
    assert bagged.weights_.max() < 1


def test_fitted_members_are_selected_by_rows_kept_apart(inline, notes):
    pool = classifiers(partial(Counted, str(notes)))
    fitted = [(name, e.fit(X[:200], CODES[:200])) for name, e in pool]
    before = counted(notes)
    mine = SelectionClassifier(fitted, cv="prefit", n_rounds=6).fit(X[200:], Y[200:])
    assert counted(notes) == before
    said = [dict(fitted)[name].predict_proba(X[200:]) for name in mine.selected_]
    mean = np.average(said, axis=0, weights=mine.weights_)
    assert mine.score_ == pytest.approx(-log_loss(Y[200:], mean))


def test_a_selection_can_be_a_member_of_a_stack(units):
    inner = SelectionClassifier(classifiers()[1:], cv=3, n_rounds=4)
    outer = StackingClassifier([("chosen", inner), ("bayes", GaussianNB())], cv=3).fit(X, Y)
    alone = clone(inner).fit(X, Y)
    nested = outer.named_estimators_["chosen"]
    assert nested.selected_ == alone.selected_
    np.testing.assert_array_equal(nested.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SelectionClassifier(classifiers(), n_bags=2, random_state=0).fit(X, Y),
        lambda: SelectionRegressor(regressors()).fit(X_REAL, Y_REAL),
    ],
    ids=["classifier", "regressor"],
)
def test_it_is_saved_without_a_pickle(inline, make):
    mine = make()
    stored, content, _ = dump_estimator(mine)
    assert stored == "skops"
    again = load_estimator(stored, content)
    np.testing.assert_array_equal(again.predict(X), mine.predict(X))
    assert again.selected_ == mine.selected_


@pytest.mark.parametrize(
    ("bad", "goes_on_with"),
    [(FailsOnAllRows(), ["bayes", "linear"]), (FailsInFolds(), ["bayes", "linear"])],
    ids=["on-all-rows", "in-folds"],
)
def test_without_members_that_failed_others_are_selected(inline, bad, goes_on_with):
    pool = [("bad", bad), classifiers()[0], classifiers()[3]]
    with pytest.warns(FitFailedWarning, match="without 1 of 3 members: bad"):
        mine = SelectionClassifier(pool, on_error="drop", n_init=3).fit(X, Y)
    theirs = SelectionClassifier(pool[1:], n_init=2).fit(X, Y)
    assert mine.dropped_ == ["bad"]
    assert mine.selected_ == theirs.selected_ == goes_on_with
    assert mine.weights_.tolist() == theirs.weights_.tolist()


@pytest.mark.parametrize("bad", [FailsOnAllRows(), FailsInFolds()], ids=["all-rows", "folds"])
def test_a_failed_member_is_an_error_with_its_name(inline, bad):
    with pytest.raises(MemberError, match=r"1 of 2 members failed \(bad"):
        SelectionClassifier([("bad", bad), classifiers()[0]], n_init=2).fit(X, Y)


@pytest.mark.parametrize(
    ("make", "y", "message"),
    [
        (lambda: SelectionClassifier([("svm", LinearSVC())]), Y, "LinearSVC. gives no prob"),
        (lambda: SelectionClassifier(classifiers(), scoring="acuracy"), Y, "'acuracy' is no sc"),
        (lambda: SelectionClassifier([("k", KNeighborsClassifier())]), np.c_[CODES > 0, CODES > 1],
         "y is multilabel-indicator; give one label per row"),
    ],
    ids=["no-probabilities", "no-scorer", "several-labels"],
)  # fmt: skip
def test_what_cannot_be_selected_is_refused_before_anything_is_fitted(inline, make, y, message):
    with pytest.raises(UserError, match=message):
        make().fit(X, y)


def test_fitted_members_that_know_other_classes_are_refused(inline):
    fitted = [("bayes", GaussianNB().fit(X, CODES))]
    rows = CODES < 2
    with pytest.raises(UserError, match="'bayes' knows 3 classes, y has 2; give rows"):
        SelectionClassifier(fitted, cv="prefit").fit(X[rows], CODES[rows])
