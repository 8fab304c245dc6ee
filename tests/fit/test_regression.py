"""What is said of a regression's predictions, judged by NumPy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.dummy import DummyRegressor

from distml.fit.predictions import Predictions
from distml.fit.regression import describe_errors


def case(seed, n):
    generator = np.random.default_rng(seed)
    said = np.round(generator.normal(size=n), 1)
    return Predictions(DummyRegressor(), {"predict": said}), said + generator.normal(size=n)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 60))
def test_deciles_are_errors_from_low_to_high_predictions(seed, n):
    predicted, y = case(seed, n)
    deciles = describe_errors(predicted, y, seed=0)["deciles"]
    assert len(deciles) == min(10, n)
    assert sum(decile["rows"] for decile in deciles) == n
    assert max(d["rows"] for d in deciles) - min(d["rows"] for d in deciles) <= 1
    bounds = [edge for decile in deciles for edge in (decile["from"], decile["to"])]
    assert bounds == sorted(bounds)
    rows = np.array([decile["rows"] for decile in deciles])
    for name, judge in (
        ("mae", metrics.mean_absolute_error(y, predicted.labels)),
        ("label_mean", y.mean()),
        ("prediction_mean", predicted.labels.mean()),
    ):
        assert np.average([d[name] for d in deciles], weights=rows) == pytest.approx(judge)
    squares = np.average([d["rmse"] ** 2 for d in deciles], weights=rows)
    assert squares == pytest.approx(metrics.mean_squared_error(y, predicted.labels))


def test_every_residual_is_counted_and_a_sample_of_them_is_shown():
    predicted, y = case(0, 5_000)
    residuals = describe_errors(predicted, y, seed=0)["residuals"]
    assert sum(residuals["counts"]) == 5_000
    assert len(residuals["edges"]) == len(residuals["counts"]) + 1
    assert len(residuals["predicted"]) == 2_000
    errors = dict(zip(np.round(y - predicted.labels, 12), predicted.labels, strict=True))
    shown = zip(np.round(residuals["residual"], 12), residuals["predicted"], strict=True)
    assert all(errors[residual] == said for residual, said in shown)
