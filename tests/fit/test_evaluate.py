import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer

from distml.fit.baselines import RuleClassifier, RuleRegressor
from distml.fit.evaluate import default_metrics, scores
from distml.fit.predictions import predict_blocks


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**16), num_classes=st.sampled_from([2, 3]))
def test_scores_are_scikit_learns(seed, num_classes):
    generator = np.random.default_rng(seed)
    X, y = generator.normal(size=(60, 3)), np.arange(60) % num_classes
    model = LogisticRegression().fit(X[:30], y[:30])
    metrics = default_metrics(num_classes)
    predicted = predict_blocks([(model, "X")], {"X": lambda block: X[30:][block]}, 30)[0]
    expected = {name: get_scorer(name)(model, X[30:], y[30:]) for name in metrics}
    assert scores(metrics, predicted, y[30:]) == pytest.approx(expected)
    assert predicted.seconds > 0


def test_a_rule_says_what_the_training_rows_said_on_its_side():
    holds = np.array([True, True, True, True, False, False])
    y = np.array(["late", "late", "late", "on time", "on time", "on time"])
    rule = RuleClassifier().fit(holds, y)
    np.testing.assert_array_equal(rule.predict([True, False]), ["on time", "late"])
    np.testing.assert_allclose(rule.predict_proba([True, False]), [[0.75, 0.25], [0, 1]])


def test_a_rule_that_never_held_in_training_says_what_is_usual():
    rule = RuleClassifier().fit(np.zeros(4, dtype=bool), np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(rule.predict_proba([True, False]), [[0.75, 0.25]] * 2)
    means = RuleRegressor().fit(np.zeros(2, dtype=bool), np.array([1.0, 3.0]))
    np.testing.assert_allclose(means.predict([True, False]), [2.0, 2.0])
