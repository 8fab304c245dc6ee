"""Trainings stopped in real runs: by `distml stop`, by a signal; and gone on with."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from distml.train.checkpoint import Checkpoints

pytestmark = pytest.mark.slow

EPOCHS = 60
JOB = f"""
import time
import distml
import torch


class Unhurried(torch.nn.Module):
    '''Epochs that take long enough to be stopped in.'''

    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.layer = torch.nn.Linear(num_features, num_outputs)

    def forward(self, numbers):
        if self.training:
            time.sleep(0.02)
        return self.layer(numbers)


def job(data: str, num_workers: int = 0) -> distml.Job:
    network = distml.NeuralClassifier(
        Unhurried, epochs={EPOCHS}, batch_size=100, num_workers=num_workers, random_state=0
    )
    split = distml.Split({{"hold_out": distml.ByHash(0.2)}}, seed=0)
    data = distml.ShardedDataset.open(data)
    return distml.Job(
        task=distml.Fit(data=data, label="y", estimator=network, split=split, encoder=None),
        report=False,
    )
"""


@pytest.fixture
def folder(tmp_path):
    X = np.random.default_rng(0).normal(size=(600, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=np.where(X[:, 0] > 0, "p", "n"))
    frame.to_parquet(tmp_path / "data.parquet")
    (tmp_path / "job.py").write_text(JOB)
    return tmp_path


def distml(folder, *arguments):
    line = [sys.executable, "-m", "distml", *arguments, f"--storage={folder / 'runs'}"]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def until_it_trains(folder, store, process, timeout_s=120.0):
    """Wait until an epoch is done; fail if the process ends before."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(process.stdout.read().decode())
        if (folder / "runs/one/events.jsonl").exists() and seen(store, "epoch"):
            return
        time.sleep(0.1)
    pytest.fail("no epoch in time")


def seen(store, kind):
    return [event for event in store.events("one") if event["kind"] == kind]


def steps_kept(folder):
    (place,) = (folder / "runs" / "units" / "checkpoints").iterdir()
    return Checkpoints(str(place)).steps()


def stop(folder, store):
    with distml(folder, "stop", "one") as process:
        assert process.wait(60) == 0


def terminate(folder, store):
    os.kill(store.load("one").attempts[-1].pid, signal.SIGTERM)


@pytest.mark.parametrize(
    ("num_workers", "on", "how", "said"),
    [
        (2, "local", stop, "stopped by SIGINT"),
        (0, "debug", terminate, "stopped by SIGTERM"),
    ],
    ids=["two workers", "in process"],
)
def test_a_stopped_training_leaves_a_checkpoint_and_goes_on_from_it(
    folder, num_workers, on, how, said
):
    store = RunStore(str(folder / "runs"))
    arguments = [f"--on={on}", "--run-id=one", "--data=data.parquet"]
    arguments += [f"--num-workers={num_workers}"]
    with distml(folder, "run", "job.py", *arguments) as process:
        until_it_trains(folder, store, process)
        how(folder, store)
        assert process.wait(60) in (130, 143)
    record = store.load("one")
    assert (record.status, record.reason) == (RunStatus.STOPPED, said)
    last = steps_kept(folder)[-1]
    # The one of the last batch, not that of the last epoch only.
    assert 0 < max(event["step"] for event in seen(store, "epoch")) <= last < 5 * EPOCHS
    with distml(folder, "resume", "one") as process:
        assert process.wait(120) == 0, process.stdout.read().decode()
    assert store.load("one").status is RunStatus.SUCCEEDED
    starts = [event["step"] for event in seen(store, "training_started")]
    assert starts == [0, last]
    epochs = [int(event["metrics"]["epoch"]) for event in seen(store, "epoch")]
    assert epochs == list(range(EPOCHS))
