"""Scores of ensembles with one more member, beside scikit-learn's scorers of the same means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from distml.ensemble import additions

ROWS, MEMBERS, CLASSES = 60, 4, 3
SEEDS = st.integers(0, 2**31 - 1)
COUNTS = arrays(float, MEMBERS, elements=st.integers(0, 5))


def noisy_classifiers(seed):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(CLASSES), rng.integers(CLASSES, size=ROWS - CLASSES)]
    logits = rng.normal(size=(MEMBERS, ROWS, CLASSES)) * 2 + np.eye(CLASSES)[y]
    return y, np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)


DIRECT = {
    "neg_log_loss": lambda p, y, w: additions.log_loss(p[:, np.arange(ROWS), y], w),
    "accuracy": additions.accuracy,
}


@given(SEEDS, COUNTS)
def test_squared_errors_are_scikit_learns_for_every_addition(seed, counts):
    rng = np.random.default_rng(seed)
    y, predictions = rng.normal(size=ROWS), rng.normal(size=(MEMBERS, ROWS))
    weight = rng.uniform(0.1, 3, ROWS)
    found = additions.squared_error(predictions - y, weight, lambda error: -np.sqrt(error))(counts)
    for member, score in enumerate(found):
        added = counts + np.eye(MEMBERS)[member]
        mean = added @ predictions / added.sum()
        expected = metrics.root_mean_squared_error(y, mean, sample_weight=weight)
        assert score == pytest.approx(-expected, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(SEEDS, COUNTS, st.booleans())
@pytest.mark.parametrize("name", DIRECT)
def test_direct_scores_of_classes_are_those_of_scikit_learns_scorer(name, seed, counts, weighted):
    y, said = noisy_classifiers(seed)
    weight = np.random.default_rng(seed).uniform(0.1, 3, ROWS) if weighted else None
    scorer, classes = metrics.get_scorer(name), np.array(["a", "b", "c"])
    by_scorer = additions.by_scorer(scorer, said, None, classes[y], weight, classes)(counts)
    np.testing.assert_allclose(DIRECT[name](said, y, weight)(counts), by_scorer, rtol=1e-9)


@settings(deadline=None)
@given(SEEDS, COUNTS, st.sampled_from([1, 8]))
def test_areas_under_roc_are_scikit_learns_with_ties_too(seed, counts, decimals):
    y, said = noisy_classifiers(seed)
    said = np.round(said[:, :, :2] / said[:, :, :2].sum(axis=2, keepdims=True), decimals)
    y = (y == 0).astype(int)
    scorer = metrics.get_scorer("roc_auc")
    expected = additions.by_scorer(scorer, said, None, y, None, np.array([0, 1]))(counts)
    np.testing.assert_allclose(additions.roc_auc(said[:, :, 1], y == 1)(counts), expected)
