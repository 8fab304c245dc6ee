import json

import pytest

from distml.cli import main
from distml.runs.store import RunStore

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def ran(forest_job, capfd):
    """A working directory with the run `one` of the forest."""
    assert main(["run", "forest.py", "--on", "debug", "--run-id", "one", "--trees", "4"]) == 0
    capfd.readouterr()
    return forest_job


def last():
    return RunStore("runs").load("last")


def test_a_run_is_reproduced_exactly_from_its_own_copy_of_the_job(ran, capfd):
    (ran / "forest.py").write_text("raise SystemExit")

    assert main(["reproduce", "one"]) == 0

    record = last()
    assert "agrees exactly" in capfd.readouterr().out
    assert record.details["reproduces"] == "one"
    assert record.details["reproduction"]["agrees"] is True
    assert record.parameters["trees"] == 4
    assert record.metrics == RunStore("runs").load("one").metrics


@pytest.mark.parametrize("place", ["debug", "local"])
def test_a_run_is_reproduced_from_any_folder(ran, tmp_path_factory, monkeypatch, capfd, place):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    storage = str(ran / "runs")

    assert main(["reproduce", "one", "--on", place, "--storage", storage]) == 0

    assert "agrees exactly" in capfd.readouterr().out
    assert RunStore(storage).load("last").folder == str(ran)


def test_a_reproduction_takes_no_fit_of_another_run(forest_job, capfd):
    source = (forest_job / "forest.py").read_text()
    member = "distml.VotingClassifier([('f', RandomForestClassifier(trees))], voting='soft')"
    (forest_job / "forest.py").write_text(
        source.replace("RandomForestClassifier(trees, max_depth=3)", member)
    )
    assert main(["run", "forest.py", "--on", "debug", "--run-id", "one"]) == 0
    assert main(["run", "forest.py", "--on", "debug", "--run-id", "two"]) == 0

    assert main(["reproduce", "one"]) == 0

    def cached(run):
        return [e["cached"] for e in RunStore("runs").events(run) if e["kind"] == "unit_done"]

    assert (cached("two"), cached(last().run_id)) == ([True], [False])


def test_changed_data_is_said_to_be_the_reason(ran, write_rows, capfd):
    write_rows(ran / "data.parquet", seed=1)

    assert main(["reproduce", "one"]) == 1

    output = capfd.readouterr().out
    assert "does not agree" in output
    assert "the data changed (fingerprint" in output
    assert last().details["reproduction"]["agrees"] is False


def test_a_score_that_differs_is_named(ran, capfd):
    path = ran / "runs" / "one" / "record.json"
    record = json.loads(path.read_text())
    record["metrics"]["test"]["accuracy"] = 0.1
    path.write_text(json.dumps(record))

    assert main(["reproduce", "one"]) == 1

    assert "accuracy is" in capfd.readouterr().out


@pytest.mark.parametrize("verb", ["reproduce"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "no run"),
        ({"status": "FAILED"}, "run one is FAILED: there is nothing to"),
        ({"artifacts": {}}, "run one left no bundle"),
    ],
    ids=["unknown", "unfinished", "without a bundle"],
)
def test_what_there_is_nothing_to_do_with_is_refused(ran, capfd, verb, change, message):
    if change is not None:
        path = ran / "runs" / "one" / "record.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    assert main([verb, "nowhere" if change is None else "one"]) == 2

    errors = capfd.readouterr().err
    assert errors.startswith("distml: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert len(RunStore("runs").list()) == 1


def test_a_reproduction_that_was_interrupted_is_judged_when_it_is_resumed(ran, monkeypatch, capfd):
    def fail(*arguments, **options):
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr("distml.fit.delivery.Delivery.write", fail)
        assert main(["reproduce", "one"]) == 1

    assert main(["resume", "last"]) == 0

    assert "agrees exactly" in capfd.readouterr().out
    assert last().details["reproduction"]["said"].startswith("agrees exactly")
