import numpy as np
import pytest
import torch

from distml.train import MLP, NeuralClassifier, memory
from distml.train.context import Train
from distml.train.memory import peak_bytes
from distml.train.parallel import Parallel


class Beside(Parallel):
    """Three workers; the others have held 1,000 and 3,000 bytes."""

    def sum(self, values):
        return [value + other for value, other in zip(values, (1000, 0, 3000), strict=True)]


def side(rank=0, **options):
    return Train(parts={}, channel=None, rank=rank, **options)


def test_what_was_held_once_counts_when_it_is_gone():
    before = peak_bytes(side())
    held = np.ones(60 << 17)
    del held
    assert peak_bytes(side())[0] >= max(before[0], 60 << 20)


def test_each_worker_has_a_number_by_its_rank(monkeypatch):
    monkeypatch.setattr(memory, "_own_peak", lambda: 2000)
    parallel = Beside(device=torch.device("cpu"), world_size=3)
    assert peak_bytes(side(rank=1, parallel=parallel)) == [1000, 2000, 3000]


def test_where_the_system_does_not_count_there_is_nothing(monkeypatch):
    monkeypatch.setattr(memory, "_own_peak", lambda: 0)
    assert peak_bytes(side()) == []


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_fitted_network_knows_what_it_took(epochs):
    X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    network = NeuralClassifier(MLP((4,)), epochs=epochs, random_state=0).fit(X, X[:, 0] > 0)
    (peak,) = network.peak_bytes_
    assert peak > 1 << 20
