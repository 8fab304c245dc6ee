"""Importance and dependence of raw columns, judged by scikit-learn's inspection module."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import inspection
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from distml.data import Encoder
from distml.fit import importance
from distml.fit.dependence import partial_dependence
from distml.fit.evaluation import Question
from distml.fit.explain import explain
from distml.fit.importance import effort, permutation_importance
from distml.fit.recipe import Recipe

COLUMNS = ["size", "colour", "noise"]
THEIRS = make_column_transformer(
    (StandardScaler(), ["size", "noise"]), (OneHotEncoder(sparse_output=False), ["colour"])
)


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    n = 150
    return pa.table(
        {
            "size": generator.normal(size=n),
            "colour": generator.choice(["red", "green", "blue"], n),
            "noise": generator.normal(size=n),
        }
    )


def labels(rows, kind):
    risk = 2 * rows["size"].to_numpy() + 1.5 * np.equal(rows["colour"].to_pylist(), "red")
    risk = risk + np.random.default_rng(1).normal(size=rows.num_rows)
    return {
        "regression": risk,
        "two": (risk > 0.5).astype(int),
        "three": np.digitize(risk, [0, 1]),
    }[kind]


def recipe(estimator, encoder=None):
    return Recipe.of(encoder or Encoder(), None, estimator, seed=0)


CASES = {
    "two classes": (RandomForestClassifier(5, random_state=0), "two", "roc_auc"),
    "labels": (LogisticRegression(), "two", "accuracy"),
    "three classes": (LogisticRegression(), "three", "neg_log_loss"),
    "regression": (LinearRegression(), "regression", "r2"),
}


@pytest.mark.parametrize(("estimator", "kind", "metric"), CASES.values(), ids=CASES)
def test_importance_is_scikit_learns(rows, estimator, kind, metric):
    y = labels(rows, kind)
    frame = rows.to_pandas()
    judge = inspection.permutation_importance(
        make_pipeline(clone(THEIRS), clone(estimator)).fit(frame, y), frame, y,
        scoring=metric, n_repeats=4, random_state=7,
    )  # fmt: skip
    fitted = recipe(estimator, THEIRS).fit(rows, y)
    found = permutation_importance(fitted, rows, y, COLUMNS, metric=metric, repeats=4, seed=7)
    means = [entry["mean"] for entry in found]
    assert means == sorted(means, reverse=True)
    by_name = {entry["feature"]: entry for entry in found}
    for number, name in enumerate(COLUMNS):
        assert by_name[name]["mean"] == pytest.approx(judge.importances_mean[number])
        assert by_name[name]["std"] == pytest.approx(judge.importances_std[number])


def test_a_category_counts_once_and_what_does_not_matter_not_at_all(rows):
    y = labels(rows, "two")
    model = recipe(LogisticRegression(), Encoder(kinds={"noise": "drop"})).fit(rows, y)
    question = Question(label="y", classes=["no", "yes"], metrics=["roc_auc"])
    found = explain(question, model, rows, y, set_name="new")
    assert [entry["feature"] for entry in found["importance"]["features"]] == ["size", "colour"]
    assert found["importance"]["set"] == "new"
    assert {entry["feature"] for entry in found["dependence"]} == {"size", "colour"}


def test_importance_goes_by_the_first_scorer_that_applies(rows):
    y = labels(rows, "three")
    model = recipe(LogisticRegression()).fit(rows, y)
    question = Question(label="y", classes=["a", "b", "c"], metrics=["roc_auc", "accuracy"])
    found = explain(question, model, rows, y, set_name="new")
    assert found["importance"]["metric"] == "accuracy"


def test_a_model_that_no_scorer_applies_to_has_no_importance_but_dependences(rows):
    y = labels(rows, "three")
    model = recipe(LogisticRegression()).fit(rows, y)
    question = Question(label="y", classes=["a", "b", "c"], metrics=["roc_auc"])
    found = explain(question, model, rows, y, set_name="new")
    assert found["importance"] is None
    assert {entry["feature"] for entry in found["dependence"]} == set(COLUMNS)


@pytest.mark.parametrize("num_columns", [1, 25, 5_000])
def test_work_is_bounded_whatever_the_number_of_columns(num_columns):
    planned = effort(10**6, num_columns)
    least = importance._LEAST_ROWS * num_columns
    assert planned.num_rows * planned.repeats * num_columns <= max(
        importance._MOST_PREDICTED, least
    )
    assert 1 <= planned.repeats <= 5


@pytest.mark.parametrize("name", ["size", "noise"])
@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (LogisticRegression(), "two"),
        (LogisticRegression(), "three"),
        (LinearRegression(), "regression"),
    ],
    ids=["two", "three", "regression"],
)
def test_dependence_on_a_number_is_scikit_learns(rows, estimator, kind, name):
    y, frame = labels(rows, kind), rows.to_pandas()
    judge = inspection.partial_dependence(
        make_pipeline(clone(THEIRS), clone(estimator)).fit(frame, y), frame, [name],
        grid_resolution=20, method="brute",
    )  # fmt: skip
    classes = None if kind == "regression" else [f"c{c}" for c in np.unique(y)]
    found = partial_dependence(recipe(estimator, THEIRS).fit(rows, y), rows, name, classes)
    for entry, average in zip(found, judge["average"], strict=True):
        np.testing.assert_allclose(entry["grid"], judge["grid_values"][0])
        np.testing.assert_allclose(entry["average"], average)
    expected = {"two": ["c1"], "three": ["c0", "c1", "c2"], "regression": [None]}[kind]
    assert [entry["class"] for entry in found] == expected


def test_dependence_on_a_category_is_scikit_learns(rows):
    y, frame = labels(rows, "two"), rows.to_pandas()
    judge = inspection.partial_dependence(
        make_pipeline(clone(THEIRS), LogisticRegression()).fit(frame, y), frame, ["colour"],
        categorical_features=["colour"], method="brute",
    )  # fmt: skip
    fitted = recipe(LogisticRegression(), THEIRS).fit(rows, y)
    (found,) = partial_dependence(fitted, rows, "colour", [0, 1])
    assert (found["kind"], found["grid"]) == ("category", ["blue", "green", "red"])
    np.testing.assert_allclose(found["average"], judge["average"][0])


@pytest.mark.parametrize(
    ("column", "kind", "size"),
    [
        (pa.array([1, 2, None] * 50), "number", 2),
        (pa.array(pd.date_range("2020", periods=150)), "category", 12),
        (pa.array([True, False, None] * 50), "category", 2),
        (pa.array([f"v{i % 40:02}" for i in range(150)]).dictionary_encode(), "category", 12),
        (pa.nulls(150, pa.float64()), None, 0),
        (pa.array([0.0] * 149 + [1.0]), "number", 2),
    ],
    ids=["integers", "dates", "booleans", "many values", "no value", "constant but for one"],
)
def test_any_column_has_a_grid(rows, column, kind, size):
    table = rows.append_column("odd", column)
    y = labels(rows, "two")
    fitted = recipe(LogisticRegression()).fit(table, y)
    found = partial_dependence(fitted, table, "odd", [0, 1])
    assert [(entry["kind"], len(entry["grid"])) for entry in found] == (
        [(kind, size)] if kind else []
    )


def test_without_probabilities_the_share_of_rows_is_averaged(rows):
    y = labels(rows, "two")
    fitted = recipe(LogisticRegression()).fit(rows, y)

    class Silent(LogisticRegression):
        predict_proba = property()

    hard = recipe(Silent()).fit(rows, y)
    (soft_entry,) = partial_dependence(fitted, rows, "size", ["no", "yes"])
    (entry,) = partial_dependence(hard, rows, "size", ["no", "yes"])
    assert entry["average"][0] < 0.1 < 0.9 < entry["average"][-1]
    assert entry["average"] != soft_entry["average"]
