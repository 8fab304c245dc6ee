"""Trainings on workers of Ray Train. A start takes seconds, so one start carries many trainings."""

import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from distml.errors import UserError
from distml.runs.events import use_events
from distml.session import inline
from distml.train import MLP, NeuralClassifier
from distml.train.batch import MemoryPart
from distml.train.checkpoint import Checkpoints
from distml.train.context import StoppedError, Train
from distml.train.fitting import fit_network
from distml.train.here import run_here
from distml.train.modules.layers import dense
from distml.train.objective import objective_of
from distml.train.recovery import Counters, carry_out
from distml.train.rows import Rows
from distml.train.setup import Setup, Workers
from distml.train.training import DivergedError, Training
from distml.train.workers import run_on_workers

pytestmark = pytest.mark.ray

SEED = 5


@pytest.fixture(scope="module", autouse=True)
def _by_value(ray_session):
    """The workers cannot import this module."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Net(nn.Module):
    """Takes a batch, as the networks of the estimators do; its layers are worth sharding."""

    def __init__(self, dropout=0.0, norm=None):
        super().__init__()
        layers = [dense(3, (8,), norm=norm, dropout=dropout), nn.Linear(8, 1)]
        self.layers = nn.ModuleList(layers)

    def forward(self, batch):
        hidden = batch["numbers"]
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class Broken(Net):
    """Gives no number for some rows, which one of the workers has."""

    def forward(self, batch):
        bad = (batch["y"] > 2.5).any()
        return super().forward(batch) * (float("nan") if bad else 1.0)


PLAIN = Training(
    build=Net,
    objective=objective_of("squared_error", task="regression"),
    num_outputs=1,
    epochs=3,
    batch_size=16,
    optimizer="adamw",
    lr=0.02,
    seed=3,
)


def rows_of(num_rows, seed=0):
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(num_rows, 3)).astype(np.float32)
    target = (numbers @ np.array([[1.0], [-2.0], [0.5]])).astype(np.float32)
    return MemoryPart(Rows({"numbers": numbers, "y": target}))


# 36 steps: workers look at most 16 steps after their last look whether they shall stop.
LONG = replace(PLAIN, epochs=6)

PARTS = {"many": rows_of(90), "seven": rows_of(7), "validation": rows_of(11, seed=1)}

# Name → training, rows, strategy, and whether it validates.
CASES = {
    "plain": (PLAIN, "many", "ddp", False),
    "again": (PLAIN, "many", "ddp", False),
    "seven rows by three": (replace(PLAIN, batch_size=3), "seven", "ddp", False),
    "single rows": (replace(PLAIN, batch_size=1), "seven", "ddp", False),
    "micro-batches": (replace(PLAIN, batch_size=3, accumulate=2), "seven", "ddp", False),
    "clipped": (replace(PLAIN, clip_norm=0.5, scheduler="cosine"), "many", "ddp", False),
    "sgd": (replace(PLAIN, optimizer="sgd"), "many", "ddp", False),
    "frozen": (replace(PLAIN, freeze=(r"^layers\.0",)), "many", "ddp", False),
    "factors": (replace(PLAIN, lr_factors={r"^layers\.0": 0.1}), "many", "ddp", False),
    "best": (replace(PLAIN, epochs=8, lr=0.5, patience=2), "many", "ddp", True),
    "fsdp": (LONG, "many", "fsdp", False),
    "fsdp seven rows": (replace(PLAIN, batch_size=3, accumulate=3), "seven", "fsdp", False),
    "fsdp clipped": (replace(PLAIN, clip_norm=0.5), "many", "fsdp", False),
    "fsdp best": (replace(PLAIN, epochs=8, lr=0.5, patience=2), "many", "fsdp", True),
}
# What several workers compute otherwise than one: each has its own spread and its own dropout.
ONLY_THERE = {
    "batch norm": (
        replace(PLAIN, build=partial(Net, norm="batch"), batch_size=3),
        "seven",
        "ddp",
        False,
    ),
    "dropout": (replace(LONG, build=partial(Net, dropout=0.5)), "many", "ddp", False),
    "broken": (replace(PLAIN, build=Broken), "many", "ddp", False),
}


class Stopping:
    """A channel that asks all workers to stop from a step on."""

    def __init__(self, channel, train, at):
        self._channel, self._train, self._at = channel, train, at

    def emit(self, kind, **fields):
        self._channel.emit(kind, **fields)

    def must_stop(self):
        return self._train.position.step >= self._at

    def must_save(self):
        return False


def made(train, case, place=None, stop_at=None):
    _, rows, strategy, validates = case
    parts = {"train": train.parts[rows]}
    if validates:
        parts["validation"] = train.parts["validation"]
    own = Train(
        parts=parts,
        seed=train.seed,
        parallel=replace(train.parallel, strategy=strategy),
        rank=train.rank,
        channel=train.channel,
        checkpoints=None if place is None else Checkpoints(place),
    )
    if stop_at is not None:
        own.channel = Stopping(train.channel, own, stop_at)
    return own


def all_of(train, folder):
    """Every case one after another, and those that are stopped and resumed."""
    found = {}
    for name, case in {**CASES, **ONLY_THERE}.items():
        try:
            found[name] = fit_network(made(train, case), case[0])
        except DivergedError as error:
            found[name] = error
    for name in ("dropout", "fsdp"):
        case = {**CASES, **ONLY_THERE}[name]
        place = f"{folder}/{name}"
        try:
            fit_network(made(train, case, place, stop_at=16), case[0])
        except StoppedError:
            found[f"{name} resumed"] = fit_network(made(train, case, place), case[0])
    return found


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """What two workers make of each case."""
    setup = Setup(seed=SEED, workers=Workers(num_workers=2))
    return run_on_workers(all_of, str(tmp_path_factory.mktemp("c")), setup, PARTS)


@pytest.fixture(scope="module")
def here():
    """What one process makes of them."""

    def each(train, work):
        return {name: fit_network(made(train, case), case[0]) for name, case in CASES.items()}

    with inline():
        return run_here(each, None, Setup(seed=SEED), PARTS)


def losses_of(fitted, name="train_loss"):
    return [epoch[name] for epoch in fitted.history]


def assert_equal(one, other, **tolerance):
    assert one.weights.keys() == other.weights.keys()
    for name, weight in one.weights.items():
        close = torch.allclose(weight, other.weights[name], **{"rtol": 0, "atol": 0, **tolerance})
        assert close, name


@pytest.mark.parametrize("name", CASES)
def test_two_workers_train_as_one_process_does(here, there, name):
    alone, together = here[name], there[name]
    assert losses_of(together) == pytest.approx(losses_of(alone), rel=1e-6, abs=1e-6)
    assert_equal(alone, together, atol=1e-5)
    assert together.num_steps == alone.num_steps
    assert together.best_epoch == alone.best_epoch
    if CASES[name][3]:
        found, expected = losses_of(together, "val_loss"), losses_of(alone, "val_loss")
        assert found == pytest.approx(expected, rel=1e-5)
        assert together.best_epoch < len(together.history) - 1
    state, expected = together.optimizer_state, alone.optimizer_state
    assert state["kind"] == expected["kind"]
    assert state["state"].keys() == expected["state"].keys()


def test_the_same_workers_twice_give_the_same_weights_bit_for_bit(there):
    assert_equal(there["plain"], there["again"])


@pytest.mark.parametrize("name", ["dropout", "fsdp"])
def test_stopped_and_resumed_the_weights_are_bit_identical(there, name):
    assert_equal(there[name], there[f"{name} resumed"])
    assert losses_of(there[name]) == pytest.approx(losses_of(there[f"{name} resumed"]), rel=1e-12)


def test_normalising_by_batches_takes_a_worker_without_rows(there):
    assert all(torch.isfinite(weight).all() for weight in there["batch norm"].weights.values())
    assert len(there["batch norm"].history) == 3


def test_a_loss_of_one_worker_that_is_no_number_stops_all(there):
    assert isinstance(there["broken"], DivergedError)
    assert "not finite at step" in str(there["broken"])


def test_each_worker_drops_out_for_itself(here, there):
    losses = losses_of(there["dropout"])
    assert losses != pytest.approx(losses_of(there["plain"])[:1] * 6)
    assert losses[-1] < losses[0]


class OwnError(Exception):
    """An error of the user's own."""


def fails(train, work):
    if train.rank == work:
        raise OwnError(f"rank {train.rank} of {train.world_size} failed")
    # The other waits for it.
    train.parallel.sum([1.0])


def test_a_users_error_is_raised_once_as_its_own_type(tmp_path):
    heard = []
    setup = Setup(seed=SEED, workers=Workers(num_workers=2))
    with (
        use_events(lambda kind, **fields: heard.append(kind)),
        pytest.raises(OwnError, match="rank 1 of 2 failed"),
    ):
        carry_out(fails, 1, setup, PARTS)
    # Each worker has begun once: nothing was tried again.
    assert heard.count("workers") == 2


class Enough(BaseException):
    """Of a listener that wants to hear no more."""


def goes_on(train, work):
    """A loop that only a request to stop ends."""
    while True:
        for _ in train.batches("train", batch_size=16):
            time.sleep(0.01)
        train.report({"loss": 1.0})


@pytest.mark.slow
def test_listener_that_has_heard_enough_ends_the_workers():
    def listen(kind, **fields):
        if kind == "epoch":
            raise Enough

    setup = Setup(seed=SEED, workers=Workers(num_workers=2))
    with use_events(listen), pytest.raises(Enough):
        carry_out(goes_on, None, setup, {"train": PARTS["many"]})


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (Workers(num_workers=5), "num_workers=5 need 5 CPUs, and this Ray has 4"),
        (Workers(num_workers=(5, 8)), r"num_workers=\(5, 8\) need 5 CPUs"),
        (Workers(num_workers=2, cpus_per_worker=3), "need 6 CPUs, .* lower num_workers or cpus"),
        (Workers(num_workers=2, gpus_per_worker=1), "need 2 GPUs, and this Ray has 0"),
    ],
    ids=["cpus", "elastic", "cpus of each", "gpus"],
)
def test_more_than_there_is_is_refused_at_once(workers, said):
    with pytest.raises(UserError, match=said) as caught:
        run_on_workers(fails, 0, Setup(workers=workers), PARTS)
    assert "\n" not in str(caught.value)


def test_an_estimator_on_two_workers_is_the_one_in_this_process(tmp_path):
    random = np.random.default_rng(0)
    X = random.normal(size=(203, 4)).astype(np.float32)
    y = np.where(X[:, 0] * X[:, 1] > 0, "yes", "no")
    options = {"epochs": 5, "batch_size": 32, "lr": 1e-2, "random_state": 0, "early_stopping": 5}
    alone = NeuralClassifier(MLP((16,)), **options).fit(X, y)
    heard = []
    with use_events(lambda kind, **fields: heard.append((kind, fields))):
        together = NeuralClassifier(MLP((16,)), **options, num_workers=2).fit(X, y)
    for name, weight in alone.weights_.items():
        assert np.allclose(weight, together.weights_[name], atol=1e-5), name
    for name in ("train_loss", "val_loss", "val_accuracy", "lr"):
        found, expected = ([h[name] for h in e.history_] for e in (together, alone))
        assert found == pytest.approx(expected, rel=1e-5)
    assert np.allclose(together.predict_proba(X), alone.predict_proba(X), atol=1e-5)
    assert together.counters_ == Counters()
    assert together.num_workers_ == 2
    assert [kind for kind, _ in heard].count("epoch") == 5
    # Each is a process of its own that has loaded torch.
    assert len(together.peak_bytes_) == 2
    assert min(together.peak_bytes_) > 50 << 20
    assert dict(heard)["training_done"]["peak_bytes"] == together.peak_bytes_


def only_plain(train, work):
    return fit_network(made(train, CASES["plain"]), PLAIN)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [2, pytest.param(4, marks=pytest.mark.long)])
def test_any_number_of_workers_twice(here, num_workers):
    setup = Setup(seed=SEED, workers=Workers(num_workers=num_workers))
    first, second = (run_on_workers(only_plain, None, setup, PARTS) for _ in range(2))
    assert_equal(first, second)
    assert losses_of(first) == pytest.approx(losses_of(here["plain"]), rel=1e-6, abs=1e-6)
    assert_equal(first, here["plain"], atol=1e-5)


def stop_at_16(train, place):
    try:
        fit_network(made(train, (LONG, "many", "ddp", False), place, stop_at=16), LONG)
    except StoppedError:
        return "stopped"


def go_on(train, place):
    case = (LONG, "many", "fsdp" if train.world_size > 2 else "ddp", False)
    return fit_network(made(train, case, place), LONG)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [pytest.param((2, 4), marks=pytest.mark.long), (4, 1)], ids=str)
def test_another_number_of_workers_goes_on_with_the_same_batches(here, tmp_path, numbers):
    before, after = (Setup(seed=SEED, workers=Workers(num_workers=n)) for n in numbers)
    assert run_on_workers(stop_at_16, str(tmp_path), before, PARTS) == "stopped"
    fitted, _ = carry_out(go_on, str(tmp_path), after, PARTS)
    assert fitted.num_steps == here["fsdp"].num_steps
    assert_equal(fitted, here["fsdp"], atol=1e-5)


def runs_out_of_memory(train, training):
    if training.accumulate == 1:
        raise torch.OutOfMemoryError("no room")
    return fit_network(made(train, CASES["plain"]), training)


@pytest.mark.slow
def test_out_of_memory_on_workers_halves_the_micro_batch(here):
    setup = Setup(seed=SEED, workers=Workers(num_workers=2))
    fitted, counters = carry_out(runs_out_of_memory, PLAIN, setup, PARTS)
    assert counters == Counters(out_of_memory=1)
    assert_equal(fitted, here["plain"], atol=1e-5)
