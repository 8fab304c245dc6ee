"""Ours beside scikit-learn's: the same random_state gives the same predictions, value for value."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from joblib import parallel_config
from sklearn import ensemble as sk
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier, XGBRegressor

import distml.ensemble as ours
from distml import session
from distml.errors import MemberError
from distml.runs.units import UnitStore, use_units

pytestmark = pytest.mark.ray

X, Y = make_classification(600, 12, n_informative=6, n_classes=3, random_state=0)
WEIGHT = np.random.default_rng(0).uniform(0.5, 2, len(Y))
X_REAL, Y_REAL = make_regression(600, 12, noise=10.0, random_state=0)


def classifiers():
    return [
        ("linear", make_pipeline(StandardScaler(), LogisticRegression())),
        ("forest", sk.RandomForestClassifier(10, random_state=1)),
        ("boosting", sk.HistGradientBoostingClassifier(max_iter=10, random_state=1)),
        ("xgboost", XGBClassifier(n_estimators=10, random_state=1)),
    ]


def regressors():
    return [
        ("linear", Ridge()),
        ("forest", sk.RandomForestRegressor(10, random_state=1)),
        ("xgboost", XGBRegressor(n_estimators=10, random_state=1)),
    ]


def nested(module):
    """A stack of a bagging, of a stack with a bagging in it, and of a bagging of votes."""
    vote = module.VotingClassifier(
        [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]
    )
    inner = module.StackingClassifier(
        [
            ("bayes", GaussianNB()),
            ("bag", module.BaggingClassifier(KNeighborsClassifier(), 3, random_state=2)),
        ],
        final_estimator=LogisticRegression(),
        cv=3,
    )
    return module.StackingClassifier(
        [
            ("bag", module.BaggingClassifier(n_estimators=4, max_features=0.7, random_state=1)),
            ("inner", inner),
            ("votes", module.BaggingClassifier(vote, 3, random_state=3)),
        ],
        final_estimator=module.VotingClassifier(
            [("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"
        ),
        cv=3,
    )


CASES = {
    "bagging": lambda m: m.BaggingClassifier(n_estimators=25, oob_score=True, random_state=0),
    "bagging-features": lambda m: m.BaggingClassifier(
        n_estimators=6, max_features=0.5, bootstrap_features=True, random_state=0
    ),
    "bagging-rows": lambda m: m.BaggingClassifier(
        KNeighborsClassifier(), 6, max_samples=0.6, bootstrap=False, random_state=0
    ),
    "bagging-random-state-object": lambda m: m.BaggingClassifier(
        n_estimators=4, random_state=np.random.RandomState(7)
    ),
    "voting-hard": lambda m: m.VotingClassifier(classifiers(), weights=[1, 2, 1, 3]),
    "voting-soft": lambda m: m.VotingClassifier(classifiers(), voting="soft"),
    "stacking": lambda m: m.StackingClassifier(classifiers()),
    "stacking-passthrough": lambda m: m.StackingClassifier(
        classifiers()[:2], cv=StratifiedKFold(4, shuffle=True, random_state=3), passthrough=True
    ),
    "stacking-predict": lambda m: m.StackingClassifier(classifiers()[:2], stack_method="predict"),
    "nested": nested,
}
REGRESSIONS = {
    "bagging": lambda m: m.BaggingRegressor(n_estimators=25, oob_score=True, random_state=0),
    "voting": lambda m: m.VotingRegressor(regressors(), weights=[1, 2, 1]),
    "stacking": lambda m: m.StackingRegressor(
        regressors(), final_estimator=DecisionTreeRegressor(random_state=0), cv=KFold(3)
    ),
}


def predictions(model, X):
    # `n_jobs` decides in which order a bagging sums its members, in threads here as in ours.
    with parallel_config(backend="threading"):
        return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def fitted_with_one_thread(model, X, y):
    with threadpool_limits(1):
        return model.fit(X, y)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_classifiers_predict_what_scikit_learns_do(make, workers):
    theirs = fitted_with_one_thread(make(sk), X, Y).set_params(n_jobs=workers)
    mine = make(ours).set_params(n_jobs=workers).fit(X, Y)
    np.testing.assert_array_equal(predictions(mine, X), predictions(theirs, X))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("make", REGRESSIONS.values(), ids=REGRESSIONS)
def test_regressors_predict_what_scikit_learns_do(make, workers):
    theirs = fitted_with_one_thread(make(sk), X_REAL, Y_REAL).set_params(n_jobs=workers)
    mine = make(ours).set_params(n_jobs=workers).fit(X_REAL, Y_REAL)
    np.testing.assert_array_equal(predictions(mine, X_REAL), predictions(theirs, X_REAL))


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_in_process_fits_are_the_same(make):
    with session.inline():
        mine = fitted_with_one_thread(make(ours), X, Y)
    np.testing.assert_array_equal(predictions(mine, X), predictions(make(ours).fit(X, Y), X))


@pytest.mark.parametrize(
    "make",
    [
        CASES["bagging"],
        lambda m: m.BaggingClassifier(KNeighborsClassifier(), 6, random_state=0),
        lambda m: m.VotingClassifier(classifiers()[1:], voting="soft"),
    ],
    ids=["as-weight", "as-rows", "voting"],
)
def test_sample_weight_reaches_the_members(make):
    mine = make(ours).fit(X, Y, sample_weight=WEIGHT)
    theirs = make(sk).fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_array_equal(predictions(mine, X), predictions(theirs, X))


def test_stack_weighs_rows_in_folds_and_in_the_final_estimator():
    # Not histograms, which take seconds to bin rows of unequal weight.
    members = [learner for learner in classifiers() if learner[0] in ("forest", "xgboost")]
    theirs = sk.StackingClassifier(members).fit(X, Y, sample_weight=WEIGHT)
    mine = ours.StackingClassifier(members).fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_array_equal(mine.predict_proba(X), theirs.predict_proba(X))


def test_metadata_routing_reaches_members_that_ask_for_it():
    def stack(module):
        weighted = GaussianNB().set_fit_request(sample_weight=True)
        plain = LogisticRegression().set_fit_request(sample_weight=False)
        final = LogisticRegression().set_fit_request(sample_weight=True)
        return module.StackingClassifier([("w", weighted), ("p", plain)], final)

    with sklearn.config_context(enable_metadata_routing=True):
        theirs = stack(sk).fit(X, Y, sample_weight=WEIGHT)
        mine = stack(ours).fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_array_equal(mine.predict_proba(X), theirs.predict_proba(X))


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X.astype(np.float32),
        np.asfortranarray,
        sp.csr_matrix,
        lambda X: pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])]),
        lambda X: X.tolist(),
    ],
    ids=["float32", "fortran", "sparse", "dataframe", "lists"],
)
def test_any_matrix_scikit_learn_takes_is_taken(convert):
    data = convert(X)
    for make in (
        lambda m: m.BaggingClassifier(DecisionTreeClassifier(), 4, random_state=0),
        lambda m: m.StackingClassifier([("t", DecisionTreeClassifier(random_state=0))]),
    ):
        mine, theirs = make(ours).fit(data, Y), make(sk).fit(data, Y)
        np.testing.assert_array_equal(mine.predict_proba(data), theirs.predict_proba(data))


def test_missing_values_reach_members_that_take_them():
    # Shared arrays are read-only, and a forest's check for NaN asks for memory it could write.
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X).astype(np.float32)
    holes = np.tile(holes, (10, 1))
    members = classifiers()[1:]
    theirs = sk.VotingClassifier(members, voting="soft").fit(holes, np.tile(Y, 10))
    mine = ours.VotingClassifier(members, voting="soft").fit(holes, np.tile(Y, 10))
    np.testing.assert_array_equal(mine.predict_proba(holes), theirs.predict_proba(holes))


def test_precomputed_kernels_are_cut_on_both_sides():
    kernel = X @ X.T
    members = [("svc", SVC(kernel="precomputed"))]
    mine = ours.StackingClassifier(members, cv=3).fit(kernel, Y)
    theirs = sk.StackingClassifier(members, cv=3).fit(kernel, Y)
    np.testing.assert_array_equal(mine.predict(kernel), theirs.predict(kernel))


def test_prefit_members_are_not_fitted_again():
    members = [(name, clone(e).fit(X, Y)) for name, e in classifiers()[:2]]
    mine = ours.StackingClassifier(members, cv="prefit").fit(X, Y)
    theirs = sk.StackingClassifier(members, cv="prefit").fit(X, Y)
    assert mine.estimators_[0] is members[0][1]
    np.testing.assert_array_equal(mine.predict_proba(X), theirs.predict_proba(X))


def test_warm_start_adds_members():
    mine = ours.BaggingClassifier(n_estimators=3, warm_start=True, random_state=0).fit(X, Y)
    first = mine.estimators_[0]
    mine.set_params(n_estimators=6).fit(X, Y)
    theirs = sk.BaggingClassifier(n_estimators=6, random_state=0).fit(X, Y)
    assert mine.estimators_[0] is first
    np.testing.assert_array_equal(mine.predict_proba(X), theirs.predict_proba(X))
    with pytest.warns(UserWarning, match="does not fit new trees"):
        mine.fit(X, Y)


def test_fitted_members_can_be_changed_in_place():
    # As views of the object store they could not.
    mine = ours.VotingClassifier([("linear", LogisticRegression())]).fit(X, Y)
    mine.estimators_[0].coef_ *= 2


def test_warnings_of_members_are_heard():
    hasty = LogisticRegression(max_iter=1)
    with pytest.warns(ConvergenceWarning):
        ours.VotingClassifier([("hasty", hasty)]).fit(X, Y)


def test_verbose_lines_of_members_are_printed(capsys):
    ours.VotingClassifier([("bayes", GaussianNB())], verbose=True).fit(X, Y)
    said = capsys.readouterr().out
    # As scikit-learn prints it: outside a run there is no log in which a line needs a mark.
    assert said.startswith("[Voting] ...")
    assert "(1 of 1) Processing bayes" in said


class Refuses(ClassifierMixin, BaseEstimator):
    """Fails where there are no more rows than in a fold."""

    def __init__(self, rows=10**9):
        self.rows = rows

    def fit(self, X, y):
        if len(X) < self.rows:
            raise OSError(f"{len(X)} rows are too few")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_an_error_names_the_members_and_is_of_the_causes_kind():
    members = [("bayes", GaussianNB()), ("bad", Refuses()), ("worse", GaussianNB(priors=3))]
    with pytest.raises(
        OSError,
        match=r"2 of 3 members failed \(bad, all rows: OSError: 600 rows "
        r"are too few; worse, all rows: .*\); 1 other fits finished",
    ) as caught:
        ours.VotingClassifier(members).fit(X, Y)
    assert isinstance(caught.value, MemberError)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("kind", ["voting", "stacking"])
def test_failed_members_can_be_dropped(kind):
    kept = [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(random_state=0))]
    # In the stack it fits all 600 rows, and fails in the folds.
    members = [kept[0], ("bad", Refuses() if kind == "voting" else Refuses(rows=600)), kept[1]]
    if kind == "voting":
        mine = ours.VotingClassifier(members, weights=[1, 5, 2], on_error="drop")
        theirs = sk.VotingClassifier(kept, weights=[1, 2])
    else:
        mine = ours.StackingClassifier(members, on_error="drop", cv=3)
        theirs = sk.StackingClassifier(kept, cv=3)
    with pytest.warns(FitFailedWarning, match="goes on without 1 of 3 members: bad"):
        mine.fit(X, Y)
    theirs.fit(X, Y)
    assert mine.dropped_ == ["bad"]
    assert set(mine.fit_times_) == {"bayes", "tree"}
    np.testing.assert_array_equal(mine.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(mine.get_feature_names_out(), theirs.get_feature_names_out())


def test_a_bagging_goes_on_without_members_that_failed():
    mine = ours.BaggingClassifier(
        Moody(), n_estimators=40, oob_score=True, on_error="drop", random_state=0
    )
    with pytest.warns(FitFailedWarning, match="of 40 members"):
        mine.fit(X, Y)
    assert 10 < len(mine.estimators_) < 30
    assert len(mine.estimators_samples_) == len(mine.estimators_)


class Moody(DecisionTreeClassifier):
    """Fails on every other seed."""

    def fit(self, X, y, sample_weight=None):
        if self.random_state % 2:
            raise ValueError("not today")
        return super().fit(X, y, sample_weight=sample_weight)


def test_nothing_left_is_an_error_even_when_dropping():
    with pytest.raises(MemberError, match="1 of 1 members failed"):
        ours.VotingClassifier([("bad", Refuses())], on_error="drop").fit(X, Y)


def test_weight_that_a_member_cannot_take_is_refused_before_anything_is_fitted():
    members = [("neighbours", KNeighborsClassifier()), ("bayes", GaussianNB())]
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample weights"):
        ours.VotingClassifier(members).fit(X, Y, sample_weight=WEIGHT)


def test_a_fitted_ensemble_is_cloned_unfitted():
    mine = ours.StackingClassifier(classifiers()[:1], cv=3, on_error="drop").fit(X, Y)
    copy = clone(mine)
    assert copy.get_params()["on_error"] == "drop"
    assert not hasattr(copy, "estimators_")


def test_copies_fitted_in_one_queue_are_what_each_is_alone(tmp_path):
    parts = [np.arange(start, len(X), 3) for start in range(3)]
    sets = [(f"part {n} of 3", X[rows], Y[rows]) for n, rows in enumerate(parts)]
    alone = [fitted_with_one_thread(nested(ours), *rows) for _, *rows in sets]
    with session.inline(), use_units(UnitStore(tmp_path)) as store:
        nested(ours).fit(*sets[0][1:])
    kept = set(store.keys())
    with use_units(store):
        together = nested(ours).fit_copies(sets)
    for model, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(predictions(model, X), predictions(expected, X))
    # What was fitted alone is found in the queue.
    assert len(set(store.keys())) == 3 * len(kept)


def test_of_copies_in_one_queue_one_that_fails_is_named(tmp_path):
    bag = ours.BaggingClassifier(LogisticRegression(), 2)
    with session.inline(), pytest.raises(MemberError, match="2 of 2 members failed"):
        bag.fit_copies([("good", X, Y), ("bad", np.full_like(X, np.nan), Y)])
