"""What is said of a classifier's predictions, judged by scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.dummy import DummyClassifier

from distml.fit.classification import calibration, describe_classes, thresholds
from distml.fit.predictions import Predictions


def case(seed, num_classes, n=60, digits=2):
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(num_classes), generator.integers(num_classes, size=n)])
    raw = np.round(generator.random((len(y), num_classes)), digits) + 0.01
    said = raw / raw.sum(axis=1, keepdims=True)
    model = DummyClassifier().fit(np.zeros((num_classes, 1)), np.arange(num_classes))
    return y, Predictions(model, {"predict": said.argmax(axis=1), "predict_proba": said})


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**16), num_classes=st.sampled_from([2, 3, 5]))
def test_counts_and_averages_are_scikit_learns(seed, num_classes):
    y, predicted = case(seed, num_classes)
    names = [f"class {number}" for number in range(num_classes)]
    found = describe_classes(predicted, y, names, (1, 1))
    expected = metrics.classification_report(
        y, predicted.labels, target_names=names, output_dict=True, zero_division=0
    )
    assert found["confusion"]["labels"] == names
    np.testing.assert_array_equal(
        found["confusion"]["counts"], metrics.confusion_matrix(y, predicted.labels)
    )
    for row in found["per_class"]:
        judge = expected[row["class"]]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
            [judge["precision"], judge["recall"], judge["f1-score"], judge["support"]]
        )
    assert found["averages"]["macro"]["f1"] == pytest.approx(expected["macro avg"]["f1-score"])
    accuracy = metrics.accuracy_score(y, predicted.labels)
    assert found["averages"]["micro"] == pytest.approx(
        {"precision": accuracy, "recall": accuracy, "f1": accuracy}
    )


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**16))
def test_curves_are_scikit_learns(seed):
    y, predicted = case(seed, 2)
    found, said = (
        describe_classes(predicted, y, ["no", "yes"], (1, 1)),
        predicted.probabilities[:, 1],
    )
    fpr, tpr, _ = metrics.roc_curve(y, said)
    (roc,) = found["roc"]
    assert roc["class"] == "yes"
    np.testing.assert_allclose([roc["fpr"], roc["tpr"]], [fpr, tpr])
    assert roc["auc"] == pytest.approx(metrics.roc_auc_score(y, said))
    precision, recall, _ = metrics.precision_recall_curve(y, said)
    (curve,) = found["pr"]
    np.testing.assert_allclose([curve["recall"], curve["precision"]], [recall, precision])
    assert curve["average_precision"] == pytest.approx(metrics.average_precision_score(y, said))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(y, said))


def test_long_curves_are_thinned_to_points_of_their_own():
    y, predicted = case(0, 2, n=5_000, digits=9)
    (roc,) = describe_classes(predicted, y, [0, 1], (1, 1))["roc"]
    fpr, tpr, _ = metrics.roc_curve(y, predicted.probabilities[:, 1])
    points = set(zip(roc["fpr"], roc["tpr"], strict=True))
    assert 100 < len(roc["fpr"]) <= 200
    assert points <= set(zip(fpr.tolist(), tpr.tolist(), strict=True))
    assert {(0.0, 0.0), (1.0, 1.0)} <= points
    assert metrics.auc(roc["fpr"], roc["tpr"]) == pytest.approx(roc["auc"], abs=0.002)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50))
def test_calibration_is_scikit_learns(rows):
    positive, said = map(np.array, zip(*rows, strict=True))
    found = calibration(positive, said)
    # Of a single class the judge does not know which it is.
    if positive.any() and not positive.all():
        observed, predicted = calibration_curve(positive, said, n_bins=10)
        np.testing.assert_allclose(found["observed"], observed)
        np.testing.assert_allclose(found["predicted"], predicted)
    assert sum(found["count"]) == len(rows)


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40),
    cost=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
def test_the_best_threshold_is_the_cheapest_of_all(rows, cost):
    positive, said = np.array([row[0] for row in rows]), np.array([row[1] / 20 for row in rows])

    def price(at):
        flagged = said >= at
        return cost[0] * (flagged & ~positive).sum() + cost[1] * (~flagged & positive).sum()

    found = thresholds(positive, said, cost)
    cheapest = min(price(at) for at in [*said, 2.0])
    best = next(row for row in found["rows"] if row["threshold"] == found["best"])
    assert best["cost"] == price(found["best"]) == cheapest


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**16))
def test_rows_of_thresholds_are_scikit_learns_scores_there(seed):
    y, predicted = case(seed, 2)
    said = predicted.probabilities[:, 1]
    for row in thresholds(y == 1, said, (1, 5))["rows"]:
        flagged = said >= row["threshold"]
        judge = metrics.precision_recall_fscore_support(
            y, flagged, average="binary", zero_division=0
        )
        assert (row["precision"] is None) == (not flagged.any())
        assert [row["precision"] or 0.0, row["recall"], row["f1"]] == pytest.approx(judge[:3])
        assert row["flagged"] == flagged.sum()


def test_without_probabilities_there_are_no_curves():
    y, predicted = case(0, 2)
    found = describe_classes(predicted.only("predict"), y, [0, 1], (1, 1))
    assert found["roc"] == found["pr"] == found["calibration"] == []
    assert found["brier"] is None
    assert found["thresholds"] is None
    assert found["confusion"] is not None


def test_a_set_that_lacks_a_class_has_no_roc_curve_but_all_else():
    y, predicted = case(0, 2)
    some = np.flatnonzero(y == 0)
    found = describe_classes(predicted.take(some), y[some], [0, 1], (1, 1))
    assert found["roc"] == [{"class": 1, "fpr": [], "tpr": [], "auc": None}]
    assert found["pr"][0]["average_precision"] is None
    assert sum(map(sum, found["confusion"]["counts"])) == len(some)


def test_of_many_classes_the_most_frequent_are_drawn():
    y, predicted = case(0, 70, n=2_000)
    found = describe_classes(predicted, y, list(range(70)), (1, 1))
    frequent = np.argsort(-np.bincount(y), kind="stable")[:20]
    assert [entry["class"] for entry in found["roc"]] == sorted(frequent)
    assert found["confusion"] is None
    assert len(found["per_class"]) == 70
