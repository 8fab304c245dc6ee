import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator

from distml import session
from distml.ensemble import SelectionClassifier, StackingClassifier, VotingClassifier
from distml.errors import UserError
from distml.runs.units import UnitStore, use_units
from distml.train import MLP, NeuralClassifier, NeuralRegressor, NeuralTransformer
from distml.train.optimize import make_scheduler
from distml.train.training import cycle_ends

FEW = {"epochs": 6, "batch_size": 20, "lr": 1e-2, "cpus_per_worker": 1, "random_state": 0}


def some_rows(num_rows=60, seed=0):
    X = np.random.default_rng(seed).normal(size=(num_rows, 3)).astype(np.float32)
    return X, np.where(X[:, 0] > 0, "yes", "no")


def network(**options):
    return NeuralClassifier(MLP((8,)), **{**FEW, "scheduler": "cosine", **options})


def frozen(network):
    return [(f"cycle{i}", FrozenEstimator(each)) for i, each in enumerate(network.snapshots())]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


@given(st.integers(0, 40), st.integers(1, 50))
@settings(max_examples=50)
def test_cycles_are_as_long_as_each_other_and_the_last_ends_with_the_training(epochs, cycles):
    ends = cycle_ends(epochs, cycles)
    assert len(ends) == min(epochs, cycles)
    lengths = {after - before for before, after in pairwise([0, *ends])}
    assert not ends or (ends[-1] == epochs and max(lengths) - min(lengths) <= 1 <= min(lengths))


def test_the_rate_is_that_of_the_paper():
    steps, cycles = 40, 4
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make_scheduler("cosine", optimizer, total_steps=steps, cycle_ends=(5, 10, 15, 20))
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    each = steps // cycles
    # Loshchilov and Hutter's schedule as Huang et al. write it, with t from 1.
    paper = [
        0.1 / 2 * (math.cos(math.pi * ((t - 1) % each) / each) + 1) for t in range(1, steps + 1)
    ]
    assert found == pytest.approx(paper)


@pytest.mark.parametrize("warmup", [0.1, 0.6], ids=["short", "longer than a cycle"])
def test_a_warmup_comes_once(warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(
        "linear", optimizer, total_steps=20, warmup=warmup, cycle_ends=(1, 2)
    )
    found = []
    for _ in range(20):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    warm = int(warmup * 20)
    assert found[:warm] == pytest.approx([(step + 1) / (warm + 1) for step in range(warm)])
    assert found[warm] == pytest.approx(1.0)
    assert all(0 < rate <= 1 for rate in found)


def test_the_first_snapshot_is_a_training_that_ended_there_and_the_last_is_the_network():
    X, y = some_rows()
    fitted = network(cycles=3).fit(X, y)
    first, _, last = fitted.snapshots()
    assert_same_weights(first.weights_, network(epochs=2).fit(X, y).weights_)
    assert_same_weights(last.weights_, fitted.weights_)


def test_cycles_of_a_constant_rate_do_not_change_the_training():
    X, y = some_rows()
    plain, cycled = (network(scheduler=None, cycles=n).fit(X, y) for n in (1, 3))
    assert_same_weights(plain.weights_, cycled.weights_)
    assert len(cycled.snapshots()) == 3


def test_a_vote_of_snapshots_is_the_mean_of_their_probabilities():
    X, y = some_rows()
    fitted = network(cycles=3).fit(X, y)
    with session.inline():
        voting = VotingClassifier(frozen(fitted), voting="soft").fit(X, y)
    said = [each.predict_proba(X) for each in fitted.snapshots()]
    assert not np.allclose(said[0], said[1])
    assert np.allclose(voting.predict_proba(X), np.mean(said, axis=0))
    assert np.array_equal(voting.predict(X), fitted.classes_[np.mean(said, axis=0).argmax(axis=1)])


def test_a_network_that_averages_its_cycles_says_what_a_vote_of_its_snapshots_says():
    X, y = some_rows()
    fitted = network(cycles=3, average_cycles=True).fit(X, y)
    with session.inline():
        voting = VotingClassifier(frozen(fitted), voting="soft").fit(X, y)
    for each in (fitted, pickle.loads(pickle.dumps(fitted))):
        assert np.allclose(each.predict_proba(X), voting.predict_proba(X))
        assert np.array_equal(each.predict(X), voting.predict(X))
    assert not np.allclose(voting.predict_proba(X), fitted.snapshots()[-1].predict_proba(X))


def test_numbers_of_averaged_cycles_are_the_mean_of_the_snapshots():
    X, _ = some_rows()
    fitted = NeuralRegressor(MLP((8,)), **FEW, cycles=3, average_cycles=True).fit(X, X[:, :2])
    said = [each.predict(X) for each in fitted.snapshots()]
    assert np.allclose(fitted.predict(X), np.mean(said, axis=0))


def test_a_further_training_that_averages_has_the_snapshots_of_its_own():
    X, y = some_rows()
    fitted = network(cycles=2, average_cycles=True, warm_start=True).fit(X, y)
    before = fitted.predict_proba(X)
    fitted.fit(X, y)
    said = [each.predict_proba(X) for each in fitted.snapshots()]
    assert not np.allclose(before, fitted.predict_proba(X))
    assert np.allclose(fitted.predict_proba(X), np.mean(said, axis=0))


@pytest.mark.parametrize("ensemble", [SelectionClassifier, StackingClassifier])
def test_snapshots_are_selected_and_stacked_without_being_fitted_again(ensemble):
    X, y = some_rows()
    fitted = network(cycles=3).fit(X, y)
    members = [(f"cycle{i}", each) for i, each in enumerate(fitted.snapshots())]
    with session.inline():
        made = ensemble(members, cv="prefit").fit(X, y)
    assert made.score(X, y) > 0.8
    assert all(each in [m for _, m in members] for each in made.estimators_)


def test_numbers_have_snapshots_as_well():
    X, _ = some_rows()
    fitted = NeuralRegressor(MLP((8,)), **FEW, cycles=2).fit(X, X[:, 0])
    first, last = (each.predict(X) for each in fitted.snapshots())
    assert np.array_equal(last, fitted.predict(X))
    assert not np.allclose(first, last)


def test_a_training_that_was_interrupted_has_kept_the_snapshots_of_before(tmp_path):
    X, y = some_rows()
    expected = network(cycles=3).fit(X, y).snapshots()
    calls = []

    def stopping(outputs, targets):
        calls.append(0)
        if len(calls) == 14:
            raise RuntimeError("power failure")
        return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

    with use_units(UnitStore(str(tmp_path))):
        with pytest.raises(RuntimeError, match="power failure"):
            network(cycles=3, loss=stopping).fit(X, y)
        found = network(cycles=3, loss=stopping).fit(X, y).snapshots()
    assert len(calls) < 2 * 18
    for one, other in zip(expected, found, strict=True):
        assert_same_weights(one.weights_, other.weights_)


def test_copies_have_the_snapshots_and_a_snapshot_has_none():
    X, y = some_rows()
    fitted = network(cycles=2).fit(X, y)
    first, _ = pickle.loads(pickle.dumps(fitted)).snapshots()
    assert np.array_equal(first.predict_proba(X), fitted.snapshots()[0].predict_proba(X))
    with pytest.raises(UserError, match="the network kept no snapshots; fit it with cycles from 2"):
        first.snapshots()


def test_one_cycle_keeps_none():
    X, y = some_rows()
    with pytest.raises(UserError, match="cycles=1: the network kept no snapshots"):
        network().fit(X, y).snapshots()
    with pytest.raises(UserError, match="cycles=0: give a number of cycles from 1 on"):
        network(cycles=0).fit(X, y)
    with pytest.raises(UserError, match="average_cycles=True: one cycle has no mean"):
        network(average_cycles=True).fit(X, y)
    with pytest.raises(UserError, match="average_cycles=True: codes of different networks"):
        NeuralTransformer(cycles=2, average_cycles=True).fit(X)
