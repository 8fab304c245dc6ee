"""Streams that are shared by workers of Ray Train."""

import numpy as np
import pyarrow as pa
import pytest

import distml
from distml.train import RNN, NeuralClassifier

pytestmark = pytest.mark.ray


@pytest.mark.usefixtures("ray_session")
def test_two_workers_learn_from_a_stream_what_one_does(tmp_path):
    x = np.random.default_rng(0).normal(size=1200).astype(np.float32)
    steps = [[float(value)] * (row % 5 + 1) for row, value in enumerate(x)]
    table = pa.table({
        "steps": pa.array(steps, pa.list_(pa.float32())), "y": np.where(x > 0, "a", "b")
    })  # fmt: skip
    data = distml.write_shards(table, tmp_path / "data", num_shards=20)
    alone, together = (
        NeuralClassifier(
            RNN("gru", hidden_size=4), epochs=1, batch_size=128, random_state=0, cpus_per_worker=1,
            num_workers=num_workers, memory_bytes=15_000,
        ).fit(data, "y")
        for num_workers in (0, 2)
    )  # fmt: skip

    assert together.num_workers_ == 2
    for name, weights in alone.weights_.items():
        assert np.allclose(weights, together.weights_[name], atol=1e-6)
