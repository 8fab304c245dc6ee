"""Whole runs on an object store, and on a disk that fills up while they go."""

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distml
from distml.cli import main
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

JOB = """
from pathlib import Path
import distml
from sklearn.ensemble import RandomForestClassifier


def job(data: Path = Path("data.parquet")) -> distml.Job:
    vote = distml.VotingClassifier([
        ("one", RandomForestClassifier(5, max_depth=8, random_state=1)),
        ("two", RandomForestClassifier(5, max_depth=8, random_state=2)),
    ], voting="soft")
    split = distml.Split({"hold_out": distml.ByHash(0.3, key="a")})
    return distml.Job(task=distml.Fit(data=data, label="y", estimator=vote, split=split))
"""
N = 2000

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a job and its data."""
    monkeypatch.chdir(tmp_path)
    Path("job.py").write_text(JOB)
    random = np.random.default_rng(0)
    columns = {"a": random.normal(size=N), "b": random.normal(size=N)}
    pq.write_table(pa.table({**columns, "y": random.integers(0, 2, N)}), "data.parquet")
    return tmp_path


def kinds(store, kind, **fields):
    """The events of a kind in a store's only run, those with certain fields."""
    return [
        event
        for event in store.events("one")
        if event["kind"] == kind and fields.items() <= event.items()
    ]


@pytest.mark.parametrize("launcher", ["debug", pytest.param("local", marks=pytest.mark.slow)])
def test_a_run_lives_on_s3(here, s3_uri, capfd, launcher):

    arguments = ["--on", launcher, "--storage", s3_uri, "--run-id", "one"]
    assert main(["run", "job.py", *arguments]) == 0, capfd.readouterr().err

    store = RunStore(s3_uri)
    record = store.load("one")
    assert record.status is RunStatus.SUCCEEDED
    assert len(kinds(store, "unit_done")) == 2
    rows = {"a": [0.1, -2.0], "b": [1.0, 0.0]}
    assert set(distml.load(store.paths("one").bundle).predict(rows)) <= {0, 1}
    capfd.readouterr()
    for command in (["list"], ["show", "one"], ["logs", "one"]):
        assert main([*command, "--storage", s3_uri]) == 0
    assert "VotingClassifier" in capfd.readouterr().out


def test_units_on_s3_are_not_fitted_twice(here, s3_uri):
    arguments = ["run", "job.py", "--on", "debug", "--storage", s3_uri]
    assert main([*arguments, "--run-id", "first"]) == 0

    assert main([*arguments, "--run-id", "one"]) == 0

    assert len(kinds(RunStore(s3_uri), "unit_done", cached=True)) == 2


def test_a_disk_that_fills_up_keeps_what_is_finished_and_the_run_goes_on(here, small_disk, capfd):
    run = ["run", "job.py", "--on", "debug"]
    assert main([*run, "--storage", "elsewhere"]) == 0
    unit_bytes = max(path.stat().st_size for path in Path("elsewhere/units").rglob("*"))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - unit_bytes * 3 // 2))
    capfd.readouterr()

    assert main([*run, "--storage", str(small_disk), "--run-id", "one"]) == 2

    (line,) = capfd.readouterr().err.splitlines()
    assert re.match(r"distml: error: .*small.* is full: could not write ", line)
    store = RunStore(small_disk)
    assert store.load("one").status is RunStatus.FAILED
    assert len(kinds(store, "unit_done")) == 1

    filler.unlink()
    assert main(["resume", "one", "--storage", str(small_disk)]) == 0, capfd.readouterr().err

    assert store.load("one").status is RunStatus.SUCCEEDED
    assert len(kinds(store, "unit_done", cached=True)) == 1
