"""Loops of the user's own over rows that are larger than the memory they may take."""

import os
import signal

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

import distml
from distml.errors import DataError, UserError
from distml.job import Resources, RunContext
from distml.train.batch import MemoryPart, StreamPart
from distml.train.inputs import Inputs
from distml.train.loop_data import read_loop_data

ROWS, SHARDS, MEMORY = 1200, 12, 15_000
SPLIT = distml.Split({"test": distml.ByHash(0.25)})


@pytest.fixture(scope="module")
def table():
    x = np.random.default_rng(0).normal(size=ROWS)
    return pa.table({
        "x": x,
        "colour": np.where(np.arange(ROWS) % 3 == 0, "red", "blue"),
        "number": np.arange(ROWS, dtype=np.float64),
        "y": np.where(x > 0, "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def data(table, tmp_path_factory):
    return distml.write_shards(table, tmp_path_factory.mktemp("loop") / "data", num_shards=SHARDS)


def context(folder):
    return RunContext(
        run_id="one",
        run_uri=str(folder),
        seed=5,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )


def read(data, **given):
    settings = {"label": "y", "task": None, "features": None, "split": SPLIT, "inputs": Inputs()}
    return read_loop_data(data, **{**settings, **given})


def learn(train, stop_at=None, seen=None):
    model = train.prepare(train.network(distml.MLP(hidden=())))
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    train.resume(model=model, optimizer=optimizer)
    for _ in train.epochs(2):
        for batch in train.batches("train", batch_size=64):
            if seen is not None:
                seen.append(batch["numbers"][:, 1].round().tolist())
            losses = functional.cross_entropy(model(batch), batch["y"], reduction="none")
            optimizer.zero_grad()
            batch.mean(losses).backward()
            optimizer.step()
            if train.position.step == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
        right = sum(
            float((model(batch).argmax(1) == batch["y"]).sum())
            for batch in train.batches("test", batch_size=64)
        )
        train.report({"val_loss": 1 - right / train.parts["test"].num_rows})


def loop(data, **params):
    return distml.Loop(
        learn, data=data, label="y", split=SPLIT, memory_bytes=MEMORY, params=params,
        cpus_per_worker=1,
    )  # fmt: skip


def test_parts_that_stream_have_the_rows_fields_and_labels_of_those_in_memory(data):
    streamed, whole = read(data, memory_bytes=MEMORY), read(data)

    assert {type(part) for part in streamed.parts.values()} == {StreamPart}
    assert {name: part.num_rows for name, part in streamed.parts.items()} == {
        name: part.num_rows for name, part in whole.parts.items()
    }
    assert (streamed.shape, streamed.source) == (whole.shape, whole.source)
    assert streamed.classes.tolist() == whole.classes.tolist()
    assert np.allclose(streamed.scales["numbers"].mean, whole.scales["numbers"].mean)
    for name in streamed.parts:
        assert _rows(streamed.parts[name]) == _rows(whole.parts[name])


def _rows(part):
    wanted = distml.train.batch.Batches(batch_size=100)
    return sorted(
        (*numbers, *codes, y)
        for batch in part.batches(wanted)
        for numbers, codes, y in zip(
            batch["numbers"].tolist(), batch["categories"].tolist(), batch["y"].tolist(),
            strict=True,
        )
    )  # fmt: skip


def test_enough_memory_streams_nothing(data):
    parts = read(data, memory_bytes=10**7).parts

    assert {type(part) for part in parts.values()} == {MemoryPart}


def test_a_part_of_its_own_dataset_streams_too(data, table, tmp_path):
    other = distml.write_shards(table[:300], tmp_path / "other", num_shards=3)
    found = read({"train": data, "test": other}, split=None, memory_bytes=MEMORY)

    assert {name: part.num_rows for name, part in found.parts.items()} == {
        "train": ROWS, "test": 300,
    }  # fmt: skip
    assert found.source["test"]["fingerprint"] == other.fingerprint


def test_a_loop_without_a_label_streams(data):
    found = read(data, label=None, features=["x"], memory_bytes=5_000)

    assert next(iter(found.parts["train"].batches(_all_rows()))).keys() == {"numbers"}


def _all_rows():
    return distml.train.batch.Batches(batch_size=ROWS)


def test_a_loop_sees_each_row_once_an_epoch_and_learns(data, tmp_path):
    seen = []
    result = loop(data, seen=seen).run(context(tmp_path))
    num_rows = result.details["rows"]["train"]
    flat = [number for batch in seen for number in batch]

    assert result.metrics["best"]["val_loss"] < 0.15
    assert sorted(flat[:num_rows]) == sorted(flat[num_rows:])
    assert len(set(flat[:num_rows])) == num_rows
    assert flat[:num_rows] != flat[num_rows:]


def test_a_stream_that_was_interrupted_goes_on_with_the_batches_that_are_left(data, tmp_path):
    whole, halves = [], []
    undisturbed = loop(data, seen=whole).run(context(tmp_path / "whole"))
    for step in (3, 20):
        with pytest.raises(KeyboardInterrupt):
            loop(data, seen=halves, stop_at=step).run(context(tmp_path / "halves"))
    resumed = loop(data, seen=halves).run(context(tmp_path / "halves"))

    assert halves == whole
    assert resumed.metrics == undisturbed.metrics


@pytest.mark.parametrize(
    ("memory_bytes", "error", "said"),
    [(0, UserError, "must be at least 1"), (2_000, DataError, "give at least")],
)
def test_too_little_memory_is_refused(data, tmp_path, memory_bytes, error, said):
    with pytest.raises(error, match=said):
        distml.Loop(learn, data=data, label="y", split=SPLIT, memory_bytes=memory_bytes).run(
            context(tmp_path)
        )


def test_a_class_that_train_lacks_is_named_with_its_part(data, table, tmp_path):
    odd = table.set_column(3, "y", pa.array(["maybe"] * ROWS))
    other = distml.write_shards(odd, tmp_path / "odd", num_shards=3)

    with pytest.raises(DataError, match="'maybe' in 1200 rows of 'later'"):
        read({"train": data, "later": other}, split=None, memory_bytes=MEMORY)
