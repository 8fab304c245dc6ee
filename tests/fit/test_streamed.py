"""Fit with a network that streams: the rows are never in memory all at once."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from distml import session
from distml.data import ByHash, ByTime, ShardedDataset, Split, Stratified, write_shards
from distml.errors import UserError
from distml.fit import Fit, planning
from distml.fit.planning import plan_fit
from distml.job import Resources, RunContext
from distml.runs.bundle import load
from distml.train import MLP, NeuralClassifier, NeuralRegressor
from tests.data.held import Held

ROWS, SHARDS = 3000, 15
MEMORY = 60_000
SPLIT = Split({"late": ByTime("number", start=2700), "hold_out": ByHash(0.2, key="number")})

SEEN: list[list[float]] = []
"""Numbers of the rows of each batch that a `Spy` was trained on."""


class Spy(torch.nn.Module):
    """Learns nothing much, and writes down which rows it was given."""

    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.linear = torch.nn.Linear(num_features, num_outputs)

    def forward(self, numbers):
        if self.training and torch.is_grad_enabled():
            SEEN.append(numbers[:, 0].round().tolist())
        return self.linear(numbers / 3000)


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    x = random.standard_normal(ROWS)
    return pa.table({
        "number": np.arange(ROWS, dtype=np.float64),
        "x": pa.array(x, mask=np.arange(ROWS) % 10 == 0),
        "colour": np.where((x > 0) ^ (random.random(ROWS) < 0.1), "red", "blue"),
        "pixels": pa.array(random.random((ROWS, 3)).tolist(), pa.list_(pa.float32(), 3)),
        "cost": 3 * x + 1,
        "late": np.where(x > 0, "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def data(table, tmp_path_factory):
    return write_shards(table, tmp_path_factory.mktemp("stream") / "parts", num_shards=SHARDS)


def run(task, folder):
    context = RunContext(
        run_id="r",
        run_uri=str(folder),
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )
    with session.inline():
        return task.run(context)


def fit(data, *, module=None, epochs=3, memory_bytes=MEMORY, **changes):
    network = NeuralClassifier(
        module or MLP((8,)), epochs=epochs, lr=0.02, batch_size=64, cpus_per_worker=1,
        memory_bytes=memory_bytes, standardize=module is None,
    )  # fmt: skip
    arguments = {
        "data": data,
        "label": "late",
        "estimator": network,
        "split": SPLIT,
        "features": ["x", "colour"],
        "encoder": None,
        "metrics": ["accuracy", "roc_auc"],
        "rule": "x > 0.5",
        "slices": ["colour"],
    }
    return Fit(**{**arguments, **changes})


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_a_streamed_fit_says_all_that_one_in_memory_says(data, table, tmp_path):
    streamed = run(fit(data), tmp_path / "streamed")
    whole = run(fit(data, memory_bytes=None), tmp_path / "whole")
    here, there = evaluation(tmp_path / "streamed"), evaluation(tmp_path / "whole")

    assert streamed.metrics["late"]["accuracy"] > 0.8
    assert streamed.details["rows"] == whole.details["rows"]
    for one, other in zip(here["data"]["columns"], there["data"]["columns"], strict=True):
        assert one == {**other, "mean": pytest.approx(other["mean"])}
    assert here["data"]["label"] == there["data"]["label"]
    for name in SPLIT.sets:
        rivals = here["sets"][name]["scores"], there["sets"][name]["scores"]
        assert [scores["rule"] for scores in rivals[:1]] == [rivals[1]["rule"]]
        assert here["sets"][name]["slices"].keys() == there["sets"][name]["slices"].keys()
    assert [row["model"] for row in streamed.table] == [row["model"] for row in whole.table]
    model = load(tmp_path / "streamed" / "bundle")
    rows = table.take(SPLIT.rows(table)["hold_out"])
    right = np.mean(model.predict(rows) == rows["late"].to_numpy())
    assert right == pytest.approx(streamed.metrics["hold_out"]["accuracy"])


@pytest.mark.parametrize("rows", [None, 2000], ids=["all", "drawn"])
@pytest.mark.parametrize("rule", [ByHash(0.2, "number"), Stratified("late", 0.2, "number")])
def test_each_epoch_sees_the_rows_that_one_in_memory_sees(data, tmp_path, rows, rule):
    epochs = []
    for memory in (MEMORY // 4, None):
        SEEN.clear()
        task = fit(
            data, module=Spy, epochs=2, memory_bytes=memory, rows=rows, split=Split({"test": rule}),
            features=["number", "cost"], rule=None, slices=[],
        )  # fmt: skip
        num_rows = run(task, tmp_path / str(memory)).details["rows"]["train"]
        assert memory is None or num_rows * 16 > memory
        flat = [number for batch in SEEN for number in batch]
        # Before them it was tried on two rows.
        flat = flat[len(flat) - 2 * num_rows :]
        epochs.append([sorted(flat[:num_rows]), sorted(flat[num_rows:])])

    assert epochs[0] == epochs[1]
    assert epochs[0][0] == epochs[0][1]
    assert len(set(epochs[0][0])) == num_rows


def test_no_more_than_a_few_shards_are_held(data, tmp_path, monkeypatch):
    held, whole = Held(), []
    to_table = ShardedDataset.to_table
    monkeypatch.setattr(ShardedDataset, "read_shard", held.counting(ShardedDataset.read_shard))
    monkeypatch.setattr(
        ShardedDataset,
        "to_table",
        lambda self, columns=None: whole.append(columns) or to_table(self, columns),
    )
    run(fit(data, rule=None, slices=[]), tmp_path)

    assert whole == [["late"]]
    # Three at most in the stream, and one each that is read, cut and predicted from.
    assert held.most_rows <= 6 * ROWS // SHARDS


def test_a_regression_over_arrays_streams(data, tmp_path):
    network = NeuralRegressor(
        MLP((8,)), epochs=6, lr=0.02, batch_size=64, cpus_per_worker=1, memory_bytes=MEMORY
    )
    task = fit(
        data, estimator=network, label="cost", features=["x", "pixels"], metrics=["r2"], rule=None
    )
    assert run(task, tmp_path).metrics["hold_out"]["r2"] > 0.6


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"cross_validation": 3}, "cross_validation"), ({"learning_curve": True}, "learning_curve")],
)
def test_further_fits_of_streamed_rows_are_refused(data, tmp_path, changes, name):
    with pytest.raises(UserError, match=f"{name}: the rows take more than memory_bytes=60,000"):
        run(fit(data, **changes), tmp_path)


def test_rows_that_are_streamed_need_not_fit_to_be_planned(data, monkeypatch):
    monkeypatch.setattr(planning, "_table_bytes", lambda *_: 2**50)
    context = RunContext(
        run_id="r", run_uri="", seed=0, resources=Resources(), emit=lambda kind, **fields: None
    )
    with session.inline():
        plan = plan_fit(fit(data, epochs=1), context, budget_s=0.0)
        with pytest.raises(UserError, match="cannot run here"):
            plan_fit(fit(data, memory_bytes=None), context, budget_s=0.0)

    assert plan["rows"] == ROWS
    assert plan["table_bytes"] == 2**50


def test_more_rows_than_there_are_are_refused(data, tmp_path):
    with pytest.raises(UserError, match="rows=5000: the data has 3000"):
        run(fit(data, rows=5000), tmp_path)
