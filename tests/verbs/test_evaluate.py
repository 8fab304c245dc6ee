"""`distml evaluate` end to end, and what it says of rows that have moved."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from distml.cli import main
from distml.data import write_shards
from distml.runs.bundle import save_model
from distml.runs.model import Model
from distml.runs.store import RunStore
from distml.verbs.evaluate import drift_text, named

pytestmark = pytest.mark.filterwarnings("default")


def rows(num_rows, seed, shift=0.0):
    generator = np.random.default_rng(seed)
    size = generator.normal(shift, 1, num_rows)
    broken = np.where(size + generator.normal(size=num_rows) > 0, "yes", "no")
    return pa.table({"size": size, "noise": generator.normal(size=num_rows), "broken": broken})


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """A working directory with a model and the sets `same`, `late` and `blank`, without labels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    train = rows(400, 0)
    inputs = train.select(["size", "noise"])
    model = Model(
        estimator=LogisticRegression().fit(inputs.to_pandas(), train["broken"].to_pylist()),
        schema=inputs.schema,
        label="broken",
        task="classification",
        classes=["no", "yes"],
        takes="pandas",
        metadata={"run": "r", "scores": {"hold_out": {"roc_auc": 0.8125}}},
    )
    save_model(tmp_path / "bundle", model, profile_rows=train)
    write_shards(rows(300, 1), tmp_path / "same", num_shards=2)
    write_shards(rows(300, 2, shift=2.0), tmp_path / "late", num_shards=2)
    write_shards(rows(50, 3).drop_columns(["broken"]), tmp_path / "blank")
    capfd.readouterr()
    return tmp_path


def evaluate(*arguments):
    return main(["evaluate", "bundle", *arguments, "--on", "debug"])


def test_scores_stand_beside_the_training_runs_and_what_has_moved_below(here, capfd):
    assert evaluate("same", "new=late", "--run-id", "e") == 0

    output = capfd.readouterr().out
    assert re.search(r"same\n.*\n +LogisticRegression +model +0\.[0-9]{4}", output)
    assert re.search(r"\n +± +95 % +0\.0[0-9]{3}", output)
    assert re.search(r"its run on hold_out +training run +0\.8125", output)
    assert "moved since training: same\n  5 of 5 columns have not moved" in output
    assert re.search(r"moved since training: new\n.*\n(.*\n)*  size +input +far", output)
    record = RunStore("runs").load("e")
    assert record.status == "SUCCEEDED"
    assert set(record.metrics) == {"same", "new"}
    evaluation = json.loads((here / "runs" / "e" / "evaluation.json").read_text())
    assert set(evaluation["sets"]) == {"same", "new"}


def test_metrics_and_slices_can_be_chosen(here, capfd):
    arguments = ("--metric", "accuracy", "--metric", "f1_macro", "--slice", "noise")
    assert evaluate("same", "--run-id", "e", *arguments) == 0

    assert set(RunStore("runs").load("e").metrics["same"]) == {"accuracy", "f1_macro"}
    evaluation = json.loads((here / "runs" / "e" / "evaluation.json").read_text())
    assert len(evaluation["sets"]["same"]["slices"]["noise"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["same", "blank"], "set 'blank' has no labels: there is no column 'broken' in"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["same", "--metric", "auc"], "'auc' is no scorer of scikit-learn"),
        (["same", "--slice", "sise"], "sise"),
        ([], "Missing argument 'DATA...'"),
    ],
    ids=["no-labels", "no-data", "no-scorer", "no-column", "no-sets"],
)
def test_a_mistake_is_one_line_and_exit_code_2(here, capfd, arguments, message):
    assert evaluate(*arguments) == 2

    captured = capfd.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_folder_without_a_model_is_a_mistake(here, capfd):
    assert main(["evaluate", "same", "same", "--on", "debug"]) == 2
    assert "is no bundle: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["/a/late"], {"late": "/a/late"}),
        (["/a/late.parquet", "/b/late/"], {"late": "/a/late.parquet", "late-2": "/b/late"}),
        (["new=/a/late"], {"new": "/a/late"}),
        (["/a/late/*.parquet"], {"late": "/a/late/*.parquet"}),
        (["s3://b/late?region=x"], {"late": "s3://b/late?region=x"}),
        (["new=s3://b/late"], {"new": "s3://b/late"}),
        (["/a/day=3"], {"day-3": "/a/day=3"}),
    ],
    ids=["folder", "taken", "given", "glob", "uri", "given-uri", "partition"],
)
def test_sets_are_named_after_their_place_unless_they_have_a_name(data, expected):
    assert named(data) == expected


def test_a_folder_that_is_there_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day=3").mkdir()
    assert named(["day=3"]) == {"day-3": str(tmp_path / "day=3")}
    assert named(["day=4"]) == {"day": str(tmp_path / "4")}


def moved(number):
    return {"column": f"c{number}", "moved": "far", "psi": float(number), "ks": None,
            "nulls_before": 0.0, "nulls_after": 0.5}  # fmt: skip


def test_the_columns_that_moved_farthest_are_shown():
    text = drift_text({"drift": {"inputs": [moved(n) for n in range(15)], "outputs": []}}, 100)
    shown = re.findall(r"^c\d+", text, re.MULTILINE)
    assert shown == [f"c{number}" for number in range(14, 2, -1)]
    assert text.endswith(
        "… 3 more have moved; evaluation.json has all\n0 of 15 columns have not moved"
    )


def test_a_bundle_without_a_profile_says_so():
    assert drift_text({"drift": None}, 80).startswith("unknown: the bundle has no profile")
