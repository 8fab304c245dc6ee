import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer

from distml.fit.baselines import RuleClassifier, RuleRegressor
from distml.fit.evaluate import default_metrics, evaluate


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**16), num_classes=st.sampled_from([2, 3]))
def test_scores_are_scikit_learns(seed, num_classes):
    generator = np.random.default_rng(seed)
    X, y = generator.normal(size=(60, 3)), np.arange(60) % num_classes
    model = LogisticRegression().fit(X[:30], y[:30])
    metrics = default_metrics(num_classes)
    scores = evaluate(model, X[30:], y[30:], metrics)
    expected = {name: get_scorer(name)(model, X[30:], y[30:]) for name in metrics}
    assert scores.values == pytest.approx(expected)
    assert scores.predict_seconds > 0


def test_each_kind_of_prediction_is_made_once():
    class Counting(DummyClassifier):
        calls = 0

        def predict_proba(self, X):
            type(self).calls += 1
            return super().predict_proba(X)

    X, y = np.zeros((8, 1)), np.arange(8) % 2
    evaluate(Counting().fit(X, y), X, y, ["roc_auc", "average_precision", "neg_log_loss"])
    assert Counting.calls == 1


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
