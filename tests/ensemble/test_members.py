import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from distml.ensemble.members import Bootstrap, OutOfFold, Unit, View, fit_member

X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3

positions = arrays(np.intp, st.integers(1, 20), elements=st.integers(0, 29))


@given(first=positions, picks=st.data())
def test_a_view_of_a_view_is_an_index_of_an_index(first, picks):
    inner = picks.draw(arrays(np.intp, st.integers(1, 10), elements=st.integers(0, len(first) - 1)))
    view = View(X, Y).select(first).select(inner)
    assert view.X is X
    assert view.num_rows == len(inner)
    np.testing.assert_array_equal(view.matrix(), X[first][inner])
    np.testing.assert_array_equal(view.y, Y[first][inner])


def test_a_whole_view_copies_nothing():
    assert View(X, Y).matrix(LogisticRegression()) is X


@pytest.mark.parametrize("member", [DecisionTreeClassifier(), KNeighborsClassifier()])
@pytest.mark.parametrize("rows", [None, np.arange(0, 30, 2)], ids=["all", "every-second"])
@pytest.mark.parametrize(
    "options",
    [{}, {"max_features": 2}, {"max_samples": 7, "bootstrap": False}, {"bootstrap_features": True}],
    ids=["rows", "features", "without-replacement", "features-with-replacement"],
)
def test_draws_are_scikit_learns(member, rows, options):
    view = View(X, Y) if rows is None else View(X, Y).select(rows)
    theirs = BaggingClassifier(member, 3, random_state=0, **options).fit(view.matrix(), view.y)
    by_weight = isinstance(member, DecisionTreeClassifier)
    for seed, sample, features in zip(
        theirs._seeds, theirs.estimators_samples_, theirs.estimators_features_, strict=True
    ):
        bootstrap = Bootstrap(
            seed=int(seed),
            max_samples=theirs._max_samples,
            max_features=theirs._max_features,
            bootstrap=theirs.bootstrap,
            bootstrap_features=theirs.bootstrap_features,
            by_weight=by_weight,
        )
        drawn, params = bootstrap.draw(view, {"sample_weight": np.ones(view.num_rows)})
        weight = np.bincount(sample, minlength=view.num_rows)
        if by_weight:
            np.testing.assert_array_equal(params["sample_weight"], weight)
            np.testing.assert_array_equal(drawn.matrix(), view.matrix()[:, features])
        else:
            np.testing.assert_array_equal(drawn.matrix(), view.matrix()[sample][:, features])
            assert len(params["sample_weight"]) == len(sample)


def test_folds_predict_what_cross_val_predict_does():
    # Without shuffling, the folds of sorted labels lack a class each: their columns must be there.
    y = np.sort(Y)
    folds = list(KFold(3).split(X))
    with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
        theirs = cross_val_predict(LogisticRegression(), X, y, cv=KFold(3), method="predict_proba")
    for train, test in folds:
        unit = Unit(
            member="m",
            part="fold",
            estimator=LogisticRegression(),
            view=View(X, y),
            out_of_fold=OutOfFold(train=train, test=test, method="predict_proba", num_classes=(3,)),
        )
        with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
            mine = fit_member(unit)
        np.testing.assert_array_equal(mine, theirs[test])


def test_fit_parameters_with_a_value_per_row_follow_the_rows():
    train = np.arange(10, 20)
    weight, names = np.arange(30.0), ["a", "b"]
    unit = Unit(
        member="m",
        part="fold",
        estimator=LogisticRegression(),
        view=View(X, Y),
        fit_params={"sample_weight": weight, "names": names},
        out_of_fold=OutOfFold(train=train, test=np.arange(10), method="predict", num_classes=None),
    )
    _, params = unit.training_data()
    np.testing.assert_array_equal(params["sample_weight"], weight[train])
    assert params["names"] is names


def test_an_estimator_need_not_return_itself():
    class Silent(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)

    silent = Silent()
    unit = Unit(member="m", part="all rows", estimator=silent, view=View(X, Y))
    assert fit_member(unit) is silent
