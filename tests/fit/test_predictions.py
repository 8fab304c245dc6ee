"""Predictions in the place of models: blocks change nothing, and scorers cannot tell."""

import pickle
import threading

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from distml.fit.evaluate import decisive_methods, score
from distml.fit.leaderboard import Entry, named_apart, size_bytes
from distml.fit.predictions import blocks, predict_blocks
from distml.jobfile import load

X = np.random.default_rng(0).normal(size=(100, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def predicted(model, methods=None):
    inputs = {"X": lambda block: X[block]}
    return predict_blocks([(model, "X")], inputs, len(X), methods)[0]


@pytest.mark.parametrize("rows", [0, 1, 6, 7])
def test_blocks_cover_every_row_once(rows):
    found = [row for block in blocks(rows, 3) for row in range(rows)[block]]
    assert found == list(range(rows))


def test_no_more_than_a_block_is_predicted_at_once(monkeypatch):
    sizes = []

    class Watching(DecisionTreeClassifier):
        def predict_proba(self, X):
            sizes.append(len(X))
            return super().predict_proba(X)

    monkeypatch.setattr(blocks, "__defaults__", (30,))
    model = Watching(max_depth=3).fit(X, Y)
    said = predicted(model)
    assert max(sizes) == 30
    np.testing.assert_array_equal(said.probabilities, model.predict_proba(X))
    np.testing.assert_array_equal(said.labels, model.predict(X))


@pytest.mark.parametrize(
    ("model", "metric"),
    [
        (LogisticRegression(), "roc_auc"),
        (LogisticRegression(), "accuracy"),
        (LinearSVC(), "roc_auc"),
        (LinearSVC(), "average_precision"),
        (LinearRegression(), "r2"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_scorers_cannot_tell_them_from_the_model(model, metric):
    fitted = clone(model).fit(X, Y)
    said = predicted(fitted)
    assert is_classifier(said) is is_classifier(fitted)
    assert is_regressor(said) is is_regressor(fitted)
    rows = np.array([0, 5, 5, 7, 20, 30])
    assert score(metric, said, Y) == pytest.approx(get_scorer(metric)(fitted, X, Y))
    assert score(metric, said, Y, rows) == pytest.approx(
        get_scorer(metric)(fitted, X[rows], Y[rows])
    )


@pytest.mark.parametrize(
    ("metric", "methods"),
    [
        ("roc_auc", ["predict_proba"]),
        ("accuracy", ["predict"]),
        ("neg_mean_gamma_deviance", ["predict", "predict_proba"]),
    ],
    ids=["probabilities", "labels", "none is enough"],
)
def test_only_what_a_scorer_needs_is_predicted(metric, methods, caplog):
    said = predicted(LogisticRegression().fit(X, Y))
    with caplog.at_level("INFO"):
        assert decisive_methods(metric, said, Y) == methods
    # In the log it would read as if the model had no probabilities.
    assert caplog.messages == []


def test_a_prediction_of_one_column_is_an_array_of_rows():
    class Column(LinearRegression):
        def predict(self, X):
            return super().predict(X)[:, None]

    assert predicted(Column().fit(X, Y)).labels.shape == (len(X),)


def test_a_baseline_gives_way_to_a_member_of_the_same_name():
    def entry(name, kind):
        return Entry(name=name, kind=kind, model=LinearRegression(), fit_seconds=None)

    entries = [
        entry("stack", "ensemble"),
        entry("constant", "member"),
        entry("constant", "baseline"),
    ]
    names = [each.name for each in named_apart(entries)]
    assert names == ["stack", "constant", "constant (baseline)"]


def test_a_models_size_is_that_of_its_pickle():
    model = DecisionTreeClassifier().fit(X, Y)
    assert size_bytes(model) == len(pickle.dumps(model, protocol=5))
    model.lock = threading.Lock()
    assert size_bytes(model) is None


def test_a_model_of_a_job_file_has_a_size_as_well(tmp_path):
    job_file = tmp_path / "job.py"
    job_file.write_text(
        "import distml\n"
        "from sklearn.linear_model import LinearRegression\n\n"
        "class Mine(LinearRegression):\n    def run(self, context):\n        pass\n\n"
        "def job() -> distml.Job:\n    return distml.Job(task=Mine())\n"
    )
    model = load(job_file).build({}).task.fit(X, Y)
    assert size_bytes(model) > 200
