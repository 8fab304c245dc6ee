import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from distml.runs.card import card_text
from distml.runs.model import Model

X = np.random.default_rng(0).normal(size=(30, 1))
NEEDED = {"python": "3.11.7", "numpy": "2.4.6"}
TABLE = [
    {"model": "stack", "kind": "ensemble", "fit_s": 1.0, "late": {"roc_auc": 0.712345}},
    {"model": "constant", "kind": "baseline", "fit_s": 0.0, "late": {"roc_auc": None}},
]
EVALUATION = {
    "level": 0.95,
    "sets": {
        "late": {
            "scores": {
                "stack": {"roc_auc": {"value": 0.712345, "low": 0.70, "high": 0.72}},
                "constant": {"roc_auc": {"value": 0.5, "low": None, "high": None}},
            }
        }
    },
}


def classifier():
    return Model(
        estimator=LogisticRegression().fit(X, X[:, 0] > 0),
        schema=pa.schema({"x": pa.float64()}),
        label="late",
        task="classification",
        classes=[False, True],
        metadata={"run": "r7"},
    )


def text(model=None, *, pickled=None, **card):
    return card_text(model or classifier(), card, NEEDED, pickled=pickled)


def test_it_names_model_run_columns_and_classes():
    said = text(about="Is a flight late?", units="minutes")
    assert said.startswith("# LogisticRegression: classification of `late`\n\nIs a flight late?")
    for line in ("- Run: `r7`", "- Classes: `False`, `True`", "  - `x`: double"):
        assert line in said.splitlines()
    assert "- Unit of the prediction: minutes" in said


def test_scores_stand_beside_their_intervals_and_the_baselines():
    lines = text(table=TABLE, evaluation=EVALUATION).splitlines()
    assert "In brackets: 95% bootstrap intervals." in lines
    assert "| stack | ensemble | 0.7123 [0.7, 0.72] |" in lines
    assert "| constant | baseline | 0.5 |" in lines


def test_scores_without_intervals_are_those_of_the_table():
    lines = text(table=TABLE).splitlines()
    assert "| stack | ensemble | 0.7123 |" in lines
    assert "| constant | baseline | - |" in lines
    assert "brackets" not in "".join(lines)


def test_data_is_named_with_its_fingerprint_and_rows():
    data = {"uri": "s3://b/flights", "fingerprint": "abc", "rows": {"train": 218657, "late": 3}}
    lines = text(data=data, split={"seed": 0, "sets": ["a", "b"]}).splitlines()
    for line in (
        "- Read from `s3://b/flights`",
        "- Fingerprint `abc`",
        "- train: 218,657 rows",
        "- Split by: seed = 0, sets = a; b",
    ):
        assert line in lines


def test_what_is_not_known_is_said():
    said = text()
    assert "## Data\n\nNot recorded." in said
    assert "## Scores\n\nNot measured." in said


@pytest.mark.parametrize("pickled", [None, "it holds a lake"])
def test_limits_and_loading_are_those_of_this_model(pickled):
    said = text(pickled=pickled, limits=["Knows no snow."])
    assert "- Knows no snow." in said
    assert ("stored as a pickle (it holds a lake): " in said) is (pickled is not None)
    assert (", trust=True)\nmodel.predict(" in said) is (pickled is not None)
    assert "With Python 3.11, in this folder" in said
    assert "model.predict_proba(table)" in said


def test_a_regression_promises_no_probabilities():
    model = Model(
        estimator=LinearRegression().fit(X, X[:, 0]),
        schema=pa.schema({"x": pa.float64()}),
        label="cost",
        task="regression",
    )
    said = text(model)
    assert "proba" not in said
    assert "Classes" not in said
