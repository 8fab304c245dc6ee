"""Exactly once, whatever happens: a driver killed with SIGKILL, workers that die or fail."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from distml import session
from distml.data import ShardedDataset
from distml.errors import DistmlError
from distml.job import Resources, RunContext
from distml.predict import Predict, job
from distml.runs.bundle import Model, load, save_model

SHARDS, ROWS = 12, 40
X = np.random.default_rng(0).normal(size=(SHARDS * ROWS, 2))
TABLE = pa.table({"a": X[:, 0], "b": X[:, 1]})


class Slow(LogisticRegression):
    """Takes its time, and meets with accidents on rows that say so."""

    def predict(self, X):
        time.sleep(0.2)
        largest = np.asarray(X).max()
        if largest == 666:
            raise ZeroDivisionError("no such\nluck")
        if largest == 667:
            os._exit(1)
        return super().predict(X)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    slow = Slow().fit(TABLE.to_pandas(), X[:, 0] > 0)
    model = Model(
        estimator=slow,
        schema=TABLE.schema,
        label="y",
        task="classification",
        classes=[False, True],
        takes="pandas",
    )
    save_model(folder, model)
    return str(folder)


def write(folder, table=TABLE):
    folder.mkdir()
    for i in range(SHARDS):
        pq.write_table(table.slice(i * ROWS, ROWS), folder / f"{i:02d}.parquet")
    return str(folder)


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data")


def begin(folder, bundle, data):
    """Start the driver over Ray."""
    command = [sys.executable, "-m", "distml.driver", job.__file__, "--launcher", "local"]
    place = ["--storage", str(folder / "runs"), "--run-id", f"run-{time.time_ns()}"]
    what = [
        f"--bundle={bundle}",
        f"--data={data}",
        f"--out={folder / 'out'}",
        "--trust",
        "--cpus=2",
    ]
    environment = {**os.environ, "RAY_TMPDIR": "/tmp"}
    return subprocess.Popen([*command, *place, "--", *what], env=environment)


def parts(folder):
    return {path.name: path for path in sorted((folder / "out").glob("part-*.parquet"))}


def in_this_process(bundle, data, out):
    context = RunContext(
        run_id="r", run_uri="unused", seed=0, resources=Resources(), emit=lambda kind, **_: None
    )
    return Predict(bundle=bundle, data=data, out=str(out), trust=True).run(context)


@pytest.mark.ray
@pytest.mark.slow
def test_killed_and_run_again_it_does_what_is_missing_to_the_same_bytes(tmp_path, bundle, data):
    driver = begin(tmp_path, bundle, data)
    while driver.poll() is None and len(parts(tmp_path)) < 3:
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    time.sleep(1)  # workers notice, and may finish what they were at
    left = {name: path.stat().st_mtime_ns for name, path in parts(tmp_path).items()}
    assert 3 <= len(left) < SHARDS

    assert begin(tmp_path, bundle, data).wait() == 0

    now = {name: path.stat().st_mtime_ns for name, path in parts(tmp_path).items()}
    assert {name: now[name] for name in left} == left
    with session.inline():
        in_this_process(bundle, data, tmp_path / "undisturbed")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "undisturbed").iterdir()}
    visible = [path for path in (tmp_path / "out").iterdir() if path.name[0] != "."]
    assert {path.name: path.read_bytes() for path in visible} == expected
    said = ShardedDataset.open(tmp_path / "out").to_table()["prediction"].to_pylist()
    assert said == load(bundle, trust=True).predict(TABLE).tolist()


@pytest.mark.ray
def test_over_ray_and_in_this_process_files_are_the_same(tmp_path, bundle, data):
    in_this_process(bundle, data, tmp_path / "out")
    with session.inline():
        in_this_process(bundle, data, tmp_path / "undisturbed")
    for path in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.ray
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (666, r"predicting failed \(ZeroDivisionError: no such luck\)$"),
        (667, r"predicting failed, its worker died .*fewer CPUs"),
    ],
    ids=["error", "death"],
)
def test_a_shard_that_fails_is_named_and_others_stay(tmp_path, bundle, number, words):
    column = np.where(np.arange(len(X)) == 7 * ROWS + 3, number, X[:, 0])
    data = write(tmp_path / "data", TABLE.set_column(0, "a", pa.array(column)))
    with pytest.raises(DistmlError, match=rf"07\.parquet: {words}") as caught:
        in_this_process(bundle, data, tmp_path / "out")
    assert "\n" not in str(caught.value)
    names = set(parts(tmp_path))
    assert "part-00007.parquet" not in names
    assert len(names) >= 4
    assert not Path(tmp_path, "out", "_SUCCESS").exists()
