import json

import pytest

from distml.cli import main
from distml.runs.promotion import promoted
from distml.runs.store import RunStore

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def ran(forest_job, write_rows, capfd):
    """A working directory with the run `one` on few rows, and `more.parquet` with many."""
    write_rows(forest_job / "data.parquet", rows=150, noise=3.0)
    write_rows(forest_job / "more.parquet", rows=2000, seed=1, noise=0.3)
    assert main(["run", "forest.py", "--on", "debug", "--run-id", "one"]) == 0
    capfd.readouterr()
    return forest_job


def last():
    return RunStore("runs").load("last")


def error_of(capfd):
    """The one line on stderr."""
    errors = capfd.readouterr().err
    assert errors.startswith("distml: error: ")
    assert errors.count("\n") == 1
    return errors


def test_a_better_model_is_promoted_and_its_record_says_why(ran, capfd):
    assert main(["retrain", "one", "--data", "more.parquet"]) == 0

    record = last()
    assert f"{record.run_id} promoted: roc_auc on test" in capfd.readouterr().out
    assert promoted(RunStore("runs").storage, "forest")["run"] == record.run_id
    assert record.parameters["data"] == "more.parquet"
    assert record.details["retraining"]["chain"] == ["one"]
    decision = record.details["retraining"]["decision"]
    assert decision["new"] > decision["former"]
    assert decision["interval"]["value"] == pytest.approx(decision["new"] - decision["former"])


def test_a_gain_below_the_margin_promotes_nothing(ran, capfd):
    assert main(["retrain", "one", "--data", "more.parquet", "--margin", "0.9"]) == 0

    assert "not promoted: roc_auc on test" in capfd.readouterr().out
    assert promoted(RunStore("runs").storage, "forest") is None
    assert last().details["retraining"]["decision"]["promoted"] is False


def test_a_warm_start_adds_trees_and_the_chain_grows(ran):
    arguments = ["--data", "more.parquet", "--warm"]
    assert main(["retrain", "one", *arguments]) == 0
    two = last()
    assert main(["retrain", two.run_id, *arguments]) == 0

    three = last()
    assert three.details["retraining"]["chain"] == [two.run_id, "one"]
    sizes = [
        next(row["size_bytes"] for row in record.table if row["kind"] == "ensemble")
        for record in (RunStore("runs").load("one"), two, three)
    ]
    assert sizes == sorted(set(sizes))


def test_a_warm_start_is_reproduced_from_the_same_former_model(ran):
    assert main(["retrain", "one", "--data", "more.parquet", "--warm"]) == 0

    assert main(["reproduce", "last"]) == 0


class InterruptError(Exception):
    """Stands for whatever ends a command between a run and its verdict."""


@pytest.mark.parametrize("when", ["while it runs", "before the verdict"])
def test_a_retraining_that_was_interrupted_is_decided_when_it_is_resumed(ran, when, monkeypatch):
    def fail(*arguments, **options):
        raise InterruptError

    with monkeypatch.context() as patch:
        if when == "while it runs":
            patch.setattr("distml.fit.delivery.Delivery.write", fail)
            assert main(["retrain", "one", "--data", "more.parquet", "--margin", "0.9"]) == 1
        else:
            patch.setattr("distml.verbs.retrain.say_verdict", fail)
            assert main(["retrain", "one", "--data", "more.parquet", "--margin", "0.9"]) == 1
    assert "retraining" not in last().details

    assert main(["resume", "last"]) == 0

    decision = last().details["retraining"]["decision"]
    assert (decision["margin"], decision["promoted"]) == (0.9, False)
    assert main(["resume", "last"]) == 2


def test_the_report_says_what_was_decided(ran):
    source = (ran / "forest.py").read_text()
    (ran / "forest.py").write_text(source.replace("report=False", "report=True"))
    assert main(["run", "forest.py", "--on", "debug", "--run-id", "two"]) == 0
    assert main(["retrain", "two", "--data", "more.parquet"]) == 0

    page = (ran / "runs" / last().run_id / "report.html").read_text()
    assert "This is a retraining of two: promoted: roc_auc on test is" in page


@pytest.mark.parametrize(
    ("data", "is_here"), [("more.parquet", False), ("new.parquet", True)], ids=["there", "here"]
)
def test_data_is_found_from_any_folder(
    ran, write_rows, tmp_path_factory, monkeypatch, data, is_here
):
    here = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(here)
    write_rows(here / "new.parquet", rows=500, seed=2)

    assert main(["retrain", "one", "--data", data, "--storage", str(ran / "runs")]) == 0

    used = RunStore(ran / "runs").load("last").parameters["data"]
    assert used == (str(here / data) if is_here else data)


def test_other_parameters_can_change_too(ran):
    changes = ["--set", "data=more.parquet", "--set", "trees=2"]
    assert main(["retrain", "one", *changes]) == 0

    assert (last().parameters["data"], last().parameters["trees"]) == ("more.parquet", 2)


def test_the_same_data_gives_the_same_model_which_is_not_better(ran, capfd):
    assert main(["retrain", "one", "--data", "data.parquet"]) == 0

    decision = last().details["retraining"]["decision"]
    assert (decision["promoted"], decision["new"]) == (False, decision["former"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one"], "which data?"),
        (["nowhere", "--data", "x"], "no run"),
        (["one", "--set", "trees"], "give NAME=VALUE"),
        (["one", "--set", "leaves=3"], "has no parameter --leaves"),
        (["one", "--data", "more.parquet", "--set", "trees=many"], "--trees"),
        (["one", "--data", "nothing.parquet"], "nothing.parquet"),
        (["one", "--data", "more.parquet", "--margin", "-1"], "margin"),
    ],
    ids=["no data", "run", "no value", "parameter", "type", "no such data", "margin"],
)
def test_a_mistake_is_one_line(ran, capfd, arguments, message):
    assert main(["retrain", *arguments]) == 2

    assert message in error_of(capfd)


def test_a_job_without_a_parameter_for_data_is_refused(ran, capfd):
    path = ran / "runs" / "one" / "record.json"
    record = json.loads(path.read_text())
    del record["parameters"]["data"]
    path.write_text(json.dumps(record))

    assert main(["retrain", "one", "--data", "more.parquet"]) == 2

    assert "has no parameter data (it takes trees, seed)" in error_of(capfd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "FAILED"}, "run one is FAILED: there is nothing to retrain"),
        ({"artifacts": {}}, "run one left no bundle"),
    ],
    ids=["unfinished", "without a bundle"],
)
def test_a_run_that_left_no_model_is_refused(ran, capfd, change, message):
    path = ran / "runs" / "one" / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    assert main(["retrain", "one", "--data", "more.parquet"]) == 2

    assert message in error_of(capfd)
