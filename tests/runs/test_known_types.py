"""What scikit-learn makes models of is known; other names of its are strangers."""

import numpy as np
import pytest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes it importable
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from distml.runs.known_types import strangers_among
from distml.runs.model_file import dump_estimator, load_estimator

X = np.random.default_rng(0).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "model",
    [
        GaussianProcessClassifier(1.0 * RBF()),
        GaussianProcessRegressor(RBF() + WhiteKernel()),
        GridSearchCV(Ridge(), {"alpha": [1, 2]}),
        RandomizedSearchCV(LogisticRegression(), {"C": [1, 2]}, n_iter=2, scoring="roc_auc"),
        GridSearchCV(
            LogisticRegression(), {"C": [1, 2]}, scoring={"f": make_scorer(f1_score)}, refit="f"
        ),
        TunedThresholdClassifierCV(LogisticRegression()),
        make_pipeline(IterativeImputer(), LogisticRegression()),
        make_pipeline(SplineTransformer(), LogisticRegression()),
    ],
    ids=["kernels", "sum of kernels", "grid", "draws", "scorers", "threshold", "holes", "splines"],
)
def test_models_come_back_without_a_pickle(model):
    model.fit(X, Y)

    stored, content, reason = dump_estimator(model)
    back = load_estimator(stored, content)

    assert (stored, reason) == ("skops", None)
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.metrics._classification._check_targets",
        "sklearn.metrics.f1_score",
        "sklearn.metrics._scorer.get_scorer",
        "sklearn.metrics._scorer.Bunch",
        "sklearn.gaussian_process.kernels._approx_fprime",
        "sklearn.datasets._base.load_files",
        "sklearn.gaussian_process.kernels.nothing",
        "sklearn.nowhere.Thing",
        "os.system",
    ],
)
def test_other_names_are_strangers(name):
    assert strangers_among([name, "sklearn.metrics._classification.f1_score"]) == [name]
