"""Intervals of scores: judged by scikit-learn on drawn rows, closed forms, and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import get_scorer

from distml.fit.bootstrap import Bootstrap
from distml.fit.evaluate import score
from distml.fit.predictions import Predictions
from distml.fit.weighted import formula

BINARY = [
    "accuracy", "average_precision", "balanced_accuracy", "f1", "f1_macro", "f1_weighted",
    "neg_brier_score", "neg_log_loss", "precision", "precision_macro", "precision_weighted",
    "recall", "recall_macro", "recall_weighted", "roc_auc",
]  # fmt: skip
MULTICLASS = [
    "accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "neg_log_loss",
    "precision_macro", "recall_weighted", "roc_auc_ovr",
]  # fmt: skip
REGRESSION = [
    "neg_mean_absolute_error", "neg_mean_squared_error", "neg_root_mean_squared_error", "r2",
]  # fmt: skip


def classifier(generator, n, num_classes, *, digits=1):
    """Labels, and predictions with ties that know something of them."""
    y = np.concatenate([np.arange(num_classes), generator.integers(num_classes, size=n)])
    raw = generator.random((len(y), num_classes)) + 0.5 * (y[:, None] == np.arange(num_classes))
    raw = np.round(raw, digits) + 0.01
    said = raw / raw.sum(axis=1, keepdims=True)
    model = DummyClassifier().fit(np.zeros((num_classes, 1)), np.arange(num_classes))
    return y, Predictions(model, {"predict": said.argmax(axis=1), "predict_proba": said})


def regressor(generator, n):
    y = 100 + generator.normal(size=n)
    model = DummyRegressor().fit(np.zeros((2, 1)), [0, 1])
    return y, Predictions(model, {"predict": y + generator.normal(size=n)})


def case(metric, seed, n=40):
    generator = np.random.default_rng(seed)
    if metric in REGRESSION:
        return generator, *regressor(generator, n)
    num_classes = 3 if metric not in BINARY or (seed % 2 and metric in MULTICLASS) else 2
    return generator, *classifier(generator, n, num_classes)


@pytest.mark.parametrize("metric", sorted({*BINARY, *MULTICLASS, *REGRESSION}))
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**16))
def test_a_formula_gives_scikit_learns_score_of_the_drawn_rows(metric, seed):
    generator, y, predicted = case(metric, seed)
    rows = np.concatenate(
        [np.unique(y, return_index=True)[1], generator.integers(len(y), size=len(y))]
    ) if metric not in REGRESSION else generator.integers(len(y), size=len(y))  # fmt: skip
    counts = np.bincount(rows, minlength=len(y)).astype(float)
    expected = get_scorer(metric)(predicted, rows, y[rows])
    made = formula(metric, predicted, y)
    np.testing.assert_allclose(made.scores(counts[None]), [expected], rtol=1e-9, atol=1e-12)


def test_a_resample_without_a_positive_row_is_left_out():
    y, predicted = classifier(np.random.default_rng(0), 10, 2)
    counts = np.stack([y == 0, np.ones(len(y))]).astype(float)
    first, second = formula("roc_auc", predicted, y).scores(counts)
    assert np.isnan(first)
    assert second == pytest.approx(score("roc_auc", predicted, y))


@pytest.mark.parametrize("metric", ["accuracy", "matthews_corrcoef"], ids=["formula", "anew"])
def test_an_interval_holds_the_score_and_the_difference_of_a_model_to_itself_is_none(metric):
    y, predicted = classifier(np.random.default_rng(1), 400, 2)
    made = Bootstrap({"a": predicted, "b": predicted}, y, [metric], seed=3)
    interval = made.interval("a", metric)
    assert interval["low"] < interval["value"] < interval["high"]
    assert interval["value"] == pytest.approx(score(metric, predicted, y))
    assert made.difference("a", "b", metric) == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert Bootstrap({"a": predicted}, y, [metric], seed=3).interval("a", metric) == interval


def test_what_is_not_defined_has_no_interval():
    y, predicted = classifier(np.random.default_rng(1), 50, 2)
    hard = predicted.only("predict")
    made = Bootstrap({"a": predicted, "b": hard}, y, ["roc_auc"], seed=0)
    nothing = {"value": None, "low": None, "high": None}
    assert made.interval("b", "roc_auc") == made.difference("a", "b", "roc_auc") == nothing


def test_intervals_of_large_sets_are_as_wide_as_if_all_rows_were_drawn():
    y, predicted = classifier(np.random.default_rng(2), 8_000, 2)
    widths = []
    for most in (20_000, 1_000):
        made = Bootstrap({"a": predicted}, y, ["accuracy"], seed=0, most_rows=most)
        interval = made.interval("a", "accuracy")
        widths.append(interval["high"] - interval["low"])
    share = score("accuracy", predicted, y)
    exact = 2 * 1.96 * np.sqrt(share * (1 - share) / len(y))
    np.testing.assert_allclose(widths, exact, rtol=0.25)


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "r2"])
def test_intervals_cover_the_truth_as_often_as_they_say(metric):
    """Of 300 samples of a population, 95 % of the intervals hold the population's score."""
    generator, y, population = case(metric, 7, n=60_000)
    truth, trials, held = score(metric, population, y), 300, 0
    for trial in range(trials):
        rows = generator.integers(len(y), size=250)
        interval = Bootstrap({"a": population.take(rows)}, y[rows], [metric], trial).interval(
            "a", metric
        )
        held += interval["low"] <= truth <= interval["high"]
    # A percentile interval of 200 resamples is known to be a little narrow: 1.5 % are granted.
    assert binom.ppf(0.001, trials, 0.935) <= held <= binom.ppf(0.999, trials, 0.95)


def test_the_interval_of_a_difference_is_paired():
    """Two models that err on the same rows differ by less than their own intervals say."""
    generator = np.random.default_rng(5)
    y, predicted = regressor(generator, 500)
    said = predicted.labels + 0.05 * generator.normal(size=500)
    other = Predictions(DummyRegressor(), {"predict": said})
    made = Bootstrap({"a": predicted, "b": other}, y, ["neg_mean_squared_error"], seed=0)
    paired = made.difference("a", "b", "neg_mean_squared_error")
    alone = made.interval("a", "neg_mean_squared_error")
    assert paired["high"] - paired["low"] < 0.3 * (alone["high"] - alone["low"])


def test_draws_pair_a_model_with_one_of_another_run() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    near = Predictions(DummyRegressor(), {"predict": y + 0.1 * rng.normal(size=300)})
    far = Predictions(DummyRegressor(), {"predict": y + rng.normal(size=300)})
    together = Bootstrap({"near": near, "far": far}, y, ["r2"], 0)
    alone = Bootstrap({"far": far}, y, ["r2"], 0)

    assert alone.draws("far", "r2") == together.draws("far", "r2")
    paired = np.subtract(together.draws("near", "r2"), alone.draws("far", "r2"))
    low, high = np.quantile(paired, [0.025, 0.975])
    value = together.values["near"]["r2"] - alone.values["far"]["r2"]
    assert together.difference("near", "far", "r2") == pytest.approx(
        {"value": value, "low": value + low, "high": value + high}
    )
