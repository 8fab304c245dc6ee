"""One fold of a trial: its score, what it keeps, and what it says when it fails."""

import cloudpickle
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from xgboost import XGBClassifier

from distml.ensemble.members import OutOfFold, Unit, View
from distml.tune.folds import Fold, Stretch, WholeFit, failure_of
from distml.tune.resource import resource_of

X, Y = make_classification(60, 4, random_state=0)
LABELS = np.array(["a", "b"])[Y]
TRAIN, TEST = np.arange(40), np.arange(40, 60)


def fold(estimator, y=LABELS, train=TRAIN, **work) -> Unit:
    defaults = {
        "scorer": check_scoring(estimator),
        "error_score": np.nan,
        "train_scores": False,
        "classes": np.unique(y),
        "keep_predictions": True,
    }
    return Unit(
        member="trial 1",
        part="fold 1 of 3",
        estimator=estimator,
        view=View(X, y),
        out_of_fold=OutOfFold(train=train, test=TEST, method="predict", num_classes=None),
        own=Fold(**(defaults | work)),
    )


def carried_out(unit: Unit):
    return unit.own.carry_out(unit)


def test_fold_scores_and_keeps_what_was_said():
    score = carried_out(fold(LogisticRegression(), train_scores=True))
    plain = LogisticRegression().fit(X[TRAIN], LABELS[TRAIN])
    assert score.test == plain.score(X[TEST], LABELS[TEST])
    assert score.train == plain.score(X[TRAIN], LABELS[TRAIN])
    np.testing.assert_array_equal(score.said, plain.predict_proba(X[TEST]))
    assert (score.said_by, score.state, score.error) == ("predict_proba", None, None)
    assert score.fit_s > 0


def test_class_that_a_fold_has_not_seen_still_has_its_column():
    three = np.array(["a", "b", "c"])[np.where(TEST[0] > np.arange(60), Y, 2)]
    score = carried_out(fold(LogisticRegression(), y=three))
    assert score.said.shape == (20, 3)
    assert (score.said[:, 2] == 0).all()


def test_what_cannot_be_said_is_not_kept_and_does_no_harm():
    unseen = np.array(["a", "b", "c", "d"])[np.where(TEST[0] > np.arange(60), Y, Y + 2)]
    score = carried_out(fold(SVC(), y=unseen))
    assert score.said is None
    assert score.test == 0


def test_learner_goes_on_from_bytes_with_what_its_configuration_sets_anew():
    estimator = RandomForestClassifier(max_depth=1, random_state=0)
    resource = resource_of(estimator, "n_estimators")
    first = Stretch(config={"max_depth": 1}, end=2)
    begun = carried_out(fold(estimator, resource=resource, way=(first,), keep_state=True))
    second = Stretch(config={"max_depth": 3}, end=5)
    gone_on = carried_out(
        fold(
            RandomForestClassifier(max_depth=3, random_state=0, n_jobs=1),
            resource=resource,
            way=(first, second),
            begin=2,
            state=begun.state,
            keep_state=True,
        )
    )
    learner = cloudpickle.loads(gone_on.state)
    assert [tree.get_depth() for tree in learner.estimators_[:2]] == [1, 1]
    assert (learner.max_depth, len(learner.estimators_), learner.n_jobs) == (3, 5, 1)


def test_content_tells_ways_apart_and_not_the_bytes():
    resource = resource_of(LogisticRegression(), "max_iter")
    contents = [
        Fold(
            scorer=None,
            error_score=np.nan,
            train_scores=False,
            resource=resource,
            way=(Stretch(config={"C": 1.0}, end=end),),
            state=state,
        ).content()
        for end, state in ((2, b"one"), (2, b"other"), (3, b"one"))
    ]
    assert repr(contents[0]) == repr(contents[1]) != repr(contents[2])


class Broken(LogisticRegression):
    def fit(self, X, y):
        raise ValueError("no luck")


def test_traceback_of_a_failing_fit_survives_the_journey_between_processes():
    with pytest.raises(ValueError, match="no luck") as caught:
        carried_out(fold(Broken()))
    there = cloudpickle.loads(cloudpickle.dumps(caught.value))
    assert "in fit" in failure_of(there)
    assert failure_of(there).rstrip().endswith("ValueError: no luck")
    assert failure_of(KeyError("x")) == "KeyError: 'x'\n"


def test_best_way_is_gone_on_all_rows_without_stops_that_change_nothing():
    resource = resource_of(LogisticRegression(), "max_iter")
    way = (Stretch(config={"C": 1.0}, end=4), Stretch(config={"C": 3.0}, end=9))
    unit = Unit(
        member="best configuration",
        part="all rows",
        estimator=LogisticRegression(C=1.0),
        view=View(X, LABELS),
        own=WholeFit(resource=resource, way=way),
    )
    fitted = unit.own.carry_out(unit)
    assert (fitted.C, fitted.max_iter, fitted.warm_start) == (3.0, 9, False)
    assert fitted.classes_.tolist() == ["a", "b"]


class Counting(XGBClassifier):
    """XGBoost that tells on how many threads it was to fit."""

    def fit(self, *arguments, **params):
        self.told_ = self.n_jobs
        return super().fit(*arguments, **params)


@pytest.mark.parametrize(("n_jobs", "told"), [(None, 1), (2, 2)], ids=["unsaid", "said"])
@pytest.mark.parametrize(
    "wrap", [lambda it: it, lambda it: make_pipeline(it)], ids=["bare", "pipe"]
)
def test_xgboost_fits_a_fold_on_one_thread_unless_it_says_on_how_many(n_jobs, told, wrap):
    estimator = wrap(Counting(n_estimators=2, n_jobs=n_jobs))
    carried_out(fold(estimator, y=Y))
    learner = estimator[-1] if hasattr(estimator, "steps") else estimator
    assert (learner.told_, learner.n_jobs) == (told, n_jobs)
