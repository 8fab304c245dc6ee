"""The Fit task from table to saved model, in this process."""

import json
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.cluster import Birch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from distml import session
from distml.data import ByHash, ByTime, Encoder, Split, write_shards
from distml.ensemble import StackingClassifier, VotingClassifier
from distml.errors import DataError, UserError
from distml.fit import Fit
from distml.fit.seeds import seeded
from distml.job import Resources, RunContext
from distml.runs.bundle import load

SPLIT = Split({"late": ByTime("day", start=80), "hold_out": ByHash(0.25, key="id")})


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(0)
    n = 1200
    size, colour = generator.normal(size=n), generator.choice(["red", "green", "blue"], n)
    risk = 1.5 * size + (colour == "red") + generator.normal(size=n)
    return pa.table(
        {
            "id": np.arange(n),
            "day": np.arange(n) * 100 // n,
            "size": size,
            "colour": colour,
            "noise": generator.normal(size=n),
            "broken": np.where(risk > 0.5, "yes", "no"),
            "cost": 10 * risk,
        }
    )


@pytest.fixture(scope="module")
def data(table, tmp_path_factory):
    return write_shards(table, tmp_path_factory.mktemp("data") / "parts", num_shards=3)


def run(task, folder, seed=0):
    events = []
    context = RunContext(
        run_id="r",
        run_uri=str(folder),
        seed=seed,
        resources=Resources(),
        emit=lambda kind, **fields: events.append((kind, fields)),
    )
    with session.inline():
        return task.run(context), events


def fit(data, **changes):
    arguments = {
        "data": data,
        "label": "broken",
        "estimator": LogisticRegression(),
        "split": SPLIT,
        "features": ["size", "colour", "noise"],
    }
    return Fit(**{**arguments, **changes})


def test_scores_are_those_of_the_saved_model_on_rows_it_never_saw(data, table, tmp_path):
    result, _ = run(fit(data), tmp_path)
    model = load(tmp_path / "bundle")
    for name, rows in SPLIT.rows(table).items():
        if name == "train":
            continue
        part = table.take(rows)
        y = np.array(part["broken"].to_pylist()) == "yes"
        expected = roc_auc_score(y, model.predict_proba(part)[:, 1])
        assert result.metrics[name]["roc_auc"] == pytest.approx(expected)
    assert set(result.metrics) == {"late", "hold_out"}
    assert result.artifacts == {"bundle": "bundle", "evaluation": "evaluation.json"}


def test_a_model_that_must_be_a_pickle_is_told_with_the_reason_and_the_cure(data, tmp_path):
    result, _ = run(
        fit(data, estimator=make_pipeline(Birch(n_clusters=None), DecisionTreeClassifier())),
        tmp_path,
    )
    reason, _, cure = result.details["pickled"].partition("; ")
    assert (
        reason == "estimator (skops cannot hold it: Objects of type Birch are not supported yet.)"
    )
    assert cure == "load it with trust=True, in a command --trust"
    assert "pickled" not in run(fit(data), tmp_path)[0].details


def test_the_model_speaks_the_labels_own_language(data, table, tmp_path):
    run(fit(data, estimator=XGBClassifier(n_estimators=3)), tmp_path)
    model = load(tmp_path / "bundle")
    assert set(model.predict(table)) == {"no", "yes"}
    assert model.predict({"size": 3.0, "colour": "red", "noise": 0.0}) == ["yes"]
    assert model.predict(pd.DataFrame({"size": [3.0], "colour": ["red"], "noise": [0]})) == ["yes"]


def test_the_table_has_the_ensemble_its_members_and_the_baselines(data, tmp_path):
    members = [("tree", DecisionTreeClassifier(max_depth=3)), ("linear", LogisticRegression())]
    task = fit(
        data,
        estimator=StackingClassifier(members, cv=3),
        metrics=["roc_auc", "accuracy"],
        rule="size > 1 and colour == 'red'",
    )
    result, _ = run(task, tmp_path)
    assert [(row["model"], row["kind"]) for row in result.table] == [
        ("StackingClassifier", "ensemble"),
        ("tree", "member"),
        ("linear", "member"),
        ("constant", "baseline"),
        ("rule", "baseline"),
    ]
    for row in result.table:
        assert row["fit_s"] >= 0
        assert row["predict_s"] >= 0
        assert set(row["hold_out"]) == {"roc_auc", "accuracy"}
    assert result.table[3]["hold_out"]["roc_auc"] == 0.5
    assert 0.5 < result.table[4]["hold_out"]["roc_auc"] < result.table[0]["hold_out"]["roc_auc"]
    assert result.metrics["hold_out"] == result.table[0]["hold_out"]


DAY = 24 * 60 * 60.0


class StartsRay(LogisticRegression):
    """Waits a day for Ray, by the clock, as an ensemble does at its first fit."""

    def fit(self, X, y):
        session._connecting.append(DAY)
        return super().fit(X, y)


def test_what_ray_takes_to_start_is_no_part_of_a_fit(data, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "_connecting", [1.0])
    clock = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + session.connecting_s())
    result, _ = run(fit(data, estimator=StartsRay()), tmp_path)

    assert result.details["seconds"]["start"] == pytest.approx(DAY)
    assert 0 < result.details["seconds"]["fit"] == result.table[0]["fit_s"] < DAY / 2


def test_a_regression_has_regressions_scores_and_baselines(data, tmp_path):
    task = fit(data, label="cost", estimator=LinearRegression(), rule="size > 0")
    result, _ = run(task, tmp_path)
    model, constant, rule = result.table
    assert set(model["late"]) == {
        "r2",
        "neg_root_mean_squared_error",
        "neg_mean_absolute_error",
    }
    assert model["late"]["r2"] > rule["late"]["r2"] > constant["late"]["r2"]
    assert load(tmp_path / "bundle").predict({"size": 3.0, "colour": "red", "noise": 0.0}) > 20


@pytest.mark.parametrize(
    "encoder",
    [
        Encoder(max_onehot=2),
        make_column_transformer(
            (StandardScaler(), ["size", "noise"]), (OneHotEncoder(), ["colour"])
        ),
    ],
    ids=["ours", "scikit-learns"],
)
def test_any_encoder_and_a_selection_behind_it(data, table, tmp_path, encoder):
    result, _ = run(fit(data, encoder=encoder, selector=SelectKBest(k=2)), tmp_path)
    assert len(result.details["matrix"]) == 2
    assert result.metrics["hold_out"]["roc_auc"] > 0.8
    assert load(tmp_path / "bundle").predict(table.slice(0, 5)).shape == (5,)


def test_a_model_that_gives_no_probabilities_is_not_scored_by_them(data, tmp_path):
    vote = VotingClassifier([("tree", DecisionTreeClassifier(max_depth=2))], voting="hard")
    result, _ = run(fit(data, estimator=vote), tmp_path)
    assert result.metrics["late"]["roc_auc"] is None
    assert result.metrics["late"]["accuracy"] > 0.6


def test_what_a_job_leaves_to_chance_is_fixed_by_its_seed(data, table, tmp_path):
    def predictions(name, seed):
        forest = RandomForestClassifier(5)
        run(fit(data, estimator=forest), tmp_path / name, seed)
        return load(tmp_path / name / "bundle").predict_proba(table)

    first, again, other = predictions("a", 1), predictions("b", 1), predictions("c", 2)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_seed_that_is_given_stays():
    members = [("a", RandomForestClassifier(random_state=7)), ("b", RandomForestClassifier())]
    stack = seeded(StackingClassifier(members), 0)
    assert stack.get_params()["a__random_state"] == 7
    assert isinstance(stack.get_params()["b__random_state"], int)
    assert members[1][1].random_state is None


def test_only_so_many_rows_are_used(data, tmp_path):
    result, events = run(fit(data, rows=400), tmp_path)
    assert sum(result.details["rows"].values()) == 400
    phases = [fields["name"] for kind, fields in events if kind == "phase"]
    assert phases == ["read", "encode", "fit", "evaluate", "explain", "save"]


def evaluation(folder):
    text = (folder / "evaluation.json").read_text(encoding="utf-8")

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_evaluation_says_how_sure_each_score_is(data, tmp_path):
    result, _ = run(fit(data, rule="size > 1", cost=(1, 5), slices=["colour", "day"]), tmp_path)
    found = evaluation(tmp_path)
    assert [found[name] for name in ("task", "label", "classes", "model", "units")] == [
        "classification", "broken", ["no", "yes"], "LogisticRegression", None,
    ]  # fmt: skip
    late = found["sets"]["late"]
    assert list(late["scores"]) == ["LogisticRegression", "constant", "rule"]
    assert list(late["differences"]) == ["constant", "rule"]
    for row in result.table:
        for name, interval in late["scores"][row["model"]].items():
            assert interval["value"] == row["late"][name]
            assert interval["low"] <= interval["value"] <= interval["high"]
    better = late["differences"]["rule"]["roc_auc"]
    assert better["value"] == pytest.approx(
        result.table[0]["late"]["roc_auc"] - result.table[2]["late"]["roc_auc"]
    )
    assert better["low"] > 0
    assert late["thresholds"]["best"] < 0.5
    assert set(late["slices"]) == {"colour", "day"}
    assert sum(part["rows"] for part in late["slices"]["day"]) == late["rows"]
    assert result.details["intervals"]["late"] == late["scores"]["LogisticRegression"]


def test_the_evaluation_of_a_regression_has_residuals_and_units(data, tmp_path):
    run(fit(data, label="cost", estimator=LinearRegression(), units="USD"), tmp_path)
    found = evaluation(tmp_path)
    assert (found["task"], found["classes"], found["units"]) == ("regression", None, "USD")
    assert {"residuals", "deciles"} <= set(found["sets"]["hold_out"])
    assert "confusion" not in found["sets"]["hold_out"]
    assert found["importance"]["features"][0]["feature"] == "size"


def test_folds_and_smaller_samples_are_fitted_when_asked_for(data, tmp_path):
    task = fit(data, cross_validation=3, learning_curve=[100, 1.0], metrics=["roc_auc"])
    result, events = run(task, tmp_path)
    found = evaluation(tmp_path)
    scores = found["cross_validation"]["scores"]["roc_auc"]
    assert result.table[0]["validation"] == {"roc_auc": scores["mean"]}
    assert "validation" not in result.table[1]
    assert found["learning_curve"]["rows"] == [100, result.details["rows"]["train"]]
    assert found["learning_curve"]["sets"]["late"][1] == pytest.approx(
        result.metrics["late"]["roc_auc"]
    )
    phases = [fields["name"] for kind, fields in events if kind == "phase"]
    assert phases[-3:] == ["cross-validate", "learning curve", "save"]


def test_the_data_is_described(data, table, tmp_path):
    run(fit(data, features=["size", "colour"]), tmp_path)
    found = evaluation(tmp_path)["data"]
    size, colour = found["columns"]
    assert size["name"] == "size"
    assert size["min"] == min(table["size"].to_pylist())
    assert size["mean"] == pytest.approx(np.mean(table["size"].to_numpy()))
    assert (colour["distinct"], colour["nulls"], colour["min"]) == (3, 0, None)
    counts = {value: table["colour"].to_pylist().count(value) for value in ("red", "green", "blue")}
    assert dict(colour["top"]) == counts
    rows = found["rows"]
    assert sum(rows.values()) == table.num_rows
    assert {part: sum(label["counts"].values()) for part, label in found["label"].items()} == rows


def test_the_bundle_has_golden_rows_and_a_card_with_intervals(data, tmp_path):
    result, _ = run(fit(data, units="parts"), tmp_path)
    model = load(tmp_path / "bundle")
    assert model.metadata["scores"] == result.metrics
    assert (tmp_path / "bundle" / "golden.arrow").is_file()
    assert "parts" in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")


WRONG = {
    "label unknown": ({"label": "brokn"}, DataError, "brokn.*broken"),
    "label constant": ({"label": "same"}, DataError, "'same' has only the value 1"),
    "label with nulls": ({"label": "holes"}, DataError, "'holes' is null in 600 of 1200 rows"),
    "label not a number": (
        {"label": "colour", "estimator": LinearRegression(), "features": ["size"]},
        DataError,
        "'colour' is string; a regression needs numbers",
    ),
    "label as a feature": ({"features": ["size", "broken"]}, UserError, "'broken' is the label"),
    "feature unknown": ({"features": ["sise"]}, DataError, "sise.*size"),
    "class rarer than folds": (
        {
            "label": "rare",
            "estimator": StackingClassifier([("t", DecisionTreeClassifier())], cv=5),
        },
        DataError,
        "class 'odd' has 2 training rows, fewer than the 5 folds",
    ),
    "empty test set": (
        {"split": Split({"t": ByTime("day", start=1000)})},
        DataError,
        "'t' has none",
    ),
    "rule of many classes": (
        {"label": "colour", "features": ["size"], "rule": "size > 0"},
        UserError,
        "decides between 2 classes, but label 'colour' has 3",
    ),
    "rule over an unknown column": ({"rule": "sice > 0"}, DataError, "sice.*size"),
    "slices over an unknown column": ({"slices": ["colur"]}, DataError, "colur.*colour"),
    "slices over lists": (
        {"features": ["size"], "slices": ["lists"]},
        UserError,
        "slices: 'lists' is list",
    ),
    "too many rows": ({"rows": 5000}, UserError, "rows=5000: the data has 1200"),
}


@pytest.mark.parametrize(("changes", "error", "words"), WRONG.values(), ids=WRONG)
def test_wrong_data_is_named_and_leaves_nothing(table, tmp_path, changes, error, words):
    n = table.num_rows
    rare = np.where(np.arange(n) < 2, "odd", np.where(np.arange(n) % 2, "a", "b"))
    holes = pa.array(["x", None] * (n // 2))
    table = table.append_column("same", pa.array(np.ones(n, dtype=int)))
    table = table.append_column("rare", pa.array(rare)).append_column("holes", holes)
    table = table.append_column("lists", pa.array([[1]] * n))
    data = write_shards(table, tmp_path / "data", num_shards=2)
    with pytest.raises(error, match=words) as caught:
        run(fit(data, **{"split": Split({"t": ByTime("day", start=50)}), **changes}), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": ["rocauc"]}, "'rocauc' is no scorer.*'roc_auc'"),
        ({"estimator": StandardScaler()}, "estimator=StandardScaler"),
        ({"rows": 0}, "rows=0"),
        ({"rule": "import os"}, "import os"),
        ({"slices": "colour"}, "slices='colour': give a list"),
        ({"cost": (1, -5)}, "cost=\\(1, -5\\)"),
        ({"cross_validation": 1}, "cross_validation=1 must be at least 2"),
        ({"learning_curve": [0.5, 1.5]}, "size 1.5 must be"),
    ],
    ids=["metric", "estimator", "rows", "rule", "slices", "cost", "folds", "sizes"],
)
def test_wrong_arguments_are_refused_when_the_job_is_made(changes, words):
    with pytest.raises(UserError, match=words):
        fit("data", **changes)
