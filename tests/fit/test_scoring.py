"""A saved model on labelled sets: its scores beside scikit-learn's, and what is refused."""

import json
import os
import socket
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.svm import LinearSVC

from distml import session, spread
from distml.data import ByHash, Split, write_shards
from distml.errors import DataError, UserError
from distml.fit import Fit
from distml.fit.scoring import Evaluate
from distml.job import Resources, RunContext
from distml.runs.bundle import load, save_model
from distml.runs.events import use_events
from distml.runs.model import Model
from distml.runs.units import UnitStore, use_units

COLUMNS = ["size", "colour"]


def rows(num_rows, seed, shift=0.0):
    generator = np.random.default_rng(seed)
    size = generator.normal(shift, 1, num_rows)
    colour = generator.choice(["red", "green", "blue"], num_rows)
    risk = 1.5 * size + (colour == "red") + generator.normal(size=num_rows)
    return pa.table(
        {
            "id": np.arange(num_rows),
            "size": size,
            "colour": colour,
            "broken": np.where(risk > 0.5, "yes", "no"),
            "cost": 10 * risk,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sets `train`, `same` and `late` (whose sizes have moved), and runs of two models."""
    folder = tmp_path_factory.mktemp("scoring")
    for name, table in {
        "train": rows(1500, 0),
        "same": rows(900, 1),
        "late": rows(800, 2, shift=1.0),
    }.items():
        write_shards(table, folder / name, num_shards=3)
    for label, estimator in (("broken", LogisticRegression()), ("cost", LinearRegression())):
        task = Fit(
            data=folder / "train",
            label=label,
            estimator=estimator,
            split=Split({"hold_out": ByHash(0.25, key="id")}),
            features=COLUMNS,
            units="USD" if label == "cost" else None,
        )
        run(task, folder / label)
    return folder


def run(task, where, seed=0):
    with session.inline():
        return run_over_ray(task, where, seed)


def run_over_ray(task, where, seed=0):
    context = RunContext(
        run_id="r",
        run_uri=str(where),
        seed=seed,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )
    return task.run(context)


def evaluated(folder, where, *sets, label="broken", **changes):
    task = Evaluate(
        bundle=folder / label / "bundle", sets={name: folder / name for name in sets}, **changes
    )
    return run(task, where), json.loads((where / "evaluation.json").read_text())


def test_scores_of_classes_are_scikit_learns_on_all_rows(folder, tmp_path):
    result, _ = evaluated(folder, tmp_path, "same", "late", metrics=["roc_auc", "accuracy"])
    model = load(folder / "broken" / "bundle")
    for name, table in (("same", rows(900, 1)), ("late", rows(800, 2, shift=1.0))):
        y = np.array(table["broken"].to_pylist())
        assert result.metrics[name] == {
            "roc_auc": pytest.approx(roc_auc_score(y == "yes", model.predict_proba(table)[:, 1])),
            "accuracy": pytest.approx(accuracy_score(y, model.predict(table))),
        }


def test_scores_of_numbers_are_scikit_learns_on_all_rows(folder, tmp_path):
    result, evaluation = evaluated(folder, tmp_path, "late", label="cost")
    table = rows(800, 2, shift=1.0)
    said = load(folder / "cost" / "bundle").predict(table)
    assert result.metrics["late"]["r2"] == pytest.approx(r2_score(table["cost"], said))
    assert evaluation["task"] == "regression"
    assert evaluation["units"] == "USD"
    assert len(evaluation["sets"]["late"]["deciles"]) == 10


def test_they_stand_beside_those_of_the_training_run(folder, tmp_path):
    result, evaluation = evaluated(folder, tmp_path, "same", "late")
    known = load(folder / "broken" / "bundle").metadata["scores"]["hold_out"]
    model, training = result.table
    assert (model["model"], model["kind"]) == ("LogisticRegression", "model")
    assert (training["model"], training["kind"]) == ("its run on hold_out", "training run")
    assert training["same"] == training["late"] == known
    assert list(model["same"]) == list(known)
    assert evaluation["training"] == {"run": "r", "scores": {"hold_out": known}}


def test_it_describes_a_set_as_a_run_does(folder, tmp_path):
    _, evaluation = evaluated(folder, tmp_path, "same", slices=["colour"])
    trained = json.loads((folder / "broken" / "evaluation.json").read_text())
    theirs, ours = trained["sets"]["hold_out"], evaluation["sets"]["same"]
    assert ours.keys() - {"drift"} == theirs.keys()
    assert {row["value"] for row in ours["slices"]["colour"]} == {"red", "green", "blue"}
    for key in ("format", "task", "label", "classes", "model", "level"):
        assert evaluation[key] == trained[key]


def test_moved_inputs_and_predictions_are_named(folder, tmp_path):
    result, evaluation = evaluated(folder, tmp_path, "same", "late")
    assert result.details["moved"]["same"] == {"inputs": [], "outputs": []}
    assert result.details["moved"]["late"]["inputs"] == ["size"]
    assert "probability_yes" in result.details["moved"]["late"]["outputs"]
    (size, colour) = evaluation["sets"]["late"]["drift"]["inputs"]
    assert (size["column"], size["moved"]) == ("size", "far")
    assert (colour["column"], colour["moved"]) == ("colour", "no")


@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_the_size_of_blocks_changes_nothing(folder, tmp_path, monkeypatch, block):
    _, expected = evaluated(folder, tmp_path / "a", "same", slices=["colour"])
    given = []
    outputs = Model.outputs
    monkeypatch.setattr("distml.fit.scoring_set.BLOCK_ROWS", block)
    monkeypatch.setattr(
        Model, "outputs", lambda self, table: given.append(len(table)) or outputs(self, table)
    )
    _, found = evaluated(folder, tmp_path / "b", "same", slices=["colour"])
    assert found == expected
    assert max(given) <= block
    assert sum(given) == 900


def test_large_sets_are_sampled_evenly_for_their_drift(folder, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("distml.fit.scoring_set._SAMPLED_ROWS", 100)

    def profile(table):
        given.append(len(table))
        return {"rows": len(table), "columns": {}}

    monkeypatch.setattr("distml.fit.scoring.profile", profile)
    evaluated(folder, tmp_path, "same")
    # Every 9th row of each of three shards of 300 rows.
    assert given == [3 * 34, 3 * 34]


def test_shards_that_were_predicted_are_not_predicted_again(folder, tmp_path):
    events = []
    with use_units(UnitStore(tmp_path / "units")), use_events(
        lambda kind, **fields: events.append({"kind": kind, **fields})
    ):  # fmt: skip
        _, first = evaluated(folder, tmp_path / "a", "same")
        _, again = evaluated(folder, tmp_path / "b", "same")
    done = [event["unit"] for event in events if event["kind"] == "unit_done"]
    plans = [(event["units"], event["cached"]) for event in events if event["kind"] == "plan"]
    assert done == [f"same, shard {number} of 3" for number in (1, 2, 3)]
    assert plans == [(3, 0), (3, 3)]
    assert first == again


@pytest.mark.ray
def test_shards_predicted_by_workers_say_the_same(folder, tmp_path, monkeypatch):
    _, here = evaluated(folder, tmp_path / "here", "same", slices=["colour"])
    monkeypatch.setattr(spread, "BRIEF_S", 0.0)
    task = Evaluate(
        bundle=folder / "broken" / "bundle", sets={"same": folder / "same"}, slices=["colour"]
    )
    workers = []
    store = UnitStore(tmp_path / "units")
    with use_units(store), use_events(lambda kind, **said: workers.append(said.get("worker"))):
        run_over_ray(task, tmp_path)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == here
    mine = f"{socket.gethostname()}:{os.getpid()}"
    assert {worker for worker in workers if worker} not in ({mine}, set())
    assert len(list(store.keys())) == 3


def test_another_model_has_predictions_of_its_own(folder, tmp_path):
    with use_units(UnitStore(tmp_path / "units")) as units:
        evaluated(folder, tmp_path / "a", "same")
        evaluated(folder, tmp_path / "b", "same", label="cost")
        assert len(list(units.keys())) == 6


@pytest.mark.parametrize("estimator", [LogisticRegression(), LinearSVC()], ids=["sure", "hard"])
def test_a_model_that_was_fitted_on_the_labels_themselves_is_scored_alike(
    folder, tmp_path, estimator
):
    table = rows(600, 5)
    y = np.array(table["broken"].to_pylist())
    model = Model(
        estimator=estimator.fit(table.select(["size"]).to_pandas(), y),
        schema=table.select(["size"]).schema,
        label="broken",
        task="classification",
        classes=["no", "yes"],
        takes="pandas",
    )
    save_model(tmp_path / "broken" / "bundle", model)
    write_shards(table, tmp_path / "own")
    result, evaluation = evaluated(tmp_path, tmp_path / "r", "own", metrics=["accuracy", "roc_auc"])
    assert result.metrics["own"]["accuracy"] == pytest.approx(
        accuracy_score(y, model.predict(table))
    )
    assert (result.metrics["own"]["roc_auc"] is None) == isinstance(estimator, LinearSVC)
    # It was saved without rows to compare with.
    assert evaluation["sets"]["own"]["drift"] is None
    assert len(result.table) == 1


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ([False, True], pa.array([True, False, False] * 20)),
        ([0, 1], pa.array([1, 0, 0] * 20, pa.int8())),
        ([0, 1], pa.array([1.0, 0.0, 0.0] * 20)),
        (["no", "yes"], pa.array(["yes", "no", "no"] * 20).dictionary_encode()),
        (["2020-01-01", "2020-01-02"], pa.array([date(2020, 1, 2), *[date(2020, 1, 1)] * 2] * 20)),
    ],
    ids=["bool", "small-integers", "floats", "dictionary", "dates"],
)
def test_labels_are_told_by_their_value_whatever_their_type(tmp_path, classes, labels):
    sizes = pd.DataFrame({"size": np.tile([3.0, 0.0, 0.0], 20)})
    y = (sizes["size"] > 1).astype(int)
    model = Model(
        estimator=LogisticRegression(C=100).fit(sizes, y),
        schema=pa.schema([("size", pa.float64())]),
        label="broken",
        task="classification",
        classes=classes,
        takes="pandas",
    )
    save_model(tmp_path / "broken" / "bundle", model)
    write_shards(pa.table({"size": sizes["size"], "broken": labels}), tmp_path / "own")
    result, _ = evaluated(tmp_path, tmp_path / "r", "own", metrics=["accuracy"])
    assert result.metrics["own"] == {"accuracy": 1.0}


def without(name):
    return lambda table: table.drop_columns([name])


def with_labels(*labels):
    return lambda table: table.set_column(3, "broken", pa.array([*labels, *["yes"] * 97]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("broken"),
            "set 'odd' has no labels: there is no column 'broken' in .*odd.parquet; add",
        ),
        (without("size"), "column 'size'"),
        (with_labels("maybe", "no", "yes"), "'maybe', the model knows 'no', 'yes'; leave those"),
        (with_labels(None, None, "no"), "'broken' is null in 2 of 100 rows; leave those rows out"),
        (lambda table: table[:0], "set 'odd' has no rows"),
    ],
    ids=["no-labels", "no-column", "unknown-class", "null-labels", "no-rows"],
)
def test_a_set_that_cannot_be_scored_is_refused_by_name(folder, tmp_path, change, message):
    pq.write_table(change(rows(100, 6)), tmp_path / "odd.parquet")
    sets = {"same": folder / "same", "odd": tmp_path / "odd.parquet"}
    task = Evaluate(bundle=folder / "broken" / "bundle", sets=sets)
    with pytest.raises(DataError, match=message) as caught:
        run(task, tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array(["dear"] * 100), "label 'cost' is string; the model predicts numbers"),
        (pa.array([float("nan")] * 100), "label 'cost' is not finite"),
    ],
    ids=["text", "nan"],
)
def test_labels_that_are_no_numbers_are_refused(folder, tmp_path, values, message):
    write_shards(rows(100, 6).set_column(4, "cost", values), tmp_path / "odd")
    task = Evaluate(bundle=folder / "cost" / "bundle", sets={"odd": tmp_path / "odd"})
    with pytest.raises(DataError, match=message):
        run(task, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"sets": {}}, "no data"), ({"metrics": ["acuracy"]}, "did you mean 'accuracy'")],
    ids=["no-sets", "no-scorer"],
)
def test_what_makes_no_sense_is_refused_at_once(changes, message):
    with pytest.raises(UserError, match=message):
        Evaluate(**{"bundle": "b", "sets": {"a": "a"}, **changes})
