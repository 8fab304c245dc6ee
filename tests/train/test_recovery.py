import logging
import signal
from contextvars import Context
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from distml import session
from distml.errors import UserError
from distml.runs.events import use_events
from distml.session import inline
from distml.train import recovery
from distml.train.batch import MemoryPart
from distml.train.checkpoint import Checkpoints
from distml.train.fitting import fit_network
from distml.train.objective import objective_of
from distml.train.recovery import Counters, carry_out
from distml.train.rows import Rows
from distml.train.setup import Setup, Workers
from distml.train.training import DivergedError, Training
from distml.train.workers import NodeTakenError, WorkersLostError


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    # A collection of garbage takes a third of a second where torch is loaded.
    monkeypatch.setattr(recovery, "_free_memory", lambda: None)
    logging.getLogger(recovery.__name__).setLevel(logging.CRITICAL)
    with inline():
        yield
    logging.getLogger(recovery.__name__).setLevel(logging.NOTSET)


class Net(nn.Module):
    """A linear network that may run out of memory, or give no number."""

    def __init__(self, most_rows=None, no_number_above=None):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.most_rows, self.no_number_above = most_rows, no_number_above

    def forward(self, batch):
        numbers = batch["numbers"]
        if self.training and self.most_rows is not None and len(numbers) > self.most_rows:
            raise torch.OutOfMemoryError(f"no room for {len(numbers)} rows")
        outputs = self.layer(numbers)
        above = self.no_number_above
        if above is not None and self.layer.weight.detach().abs().max() > above:
            return outputs * float("nan")
        return outputs


PLAIN = Training(
    build=Net,
    objective=objective_of("squared_error", task="regression"),
    num_outputs=1,
    epochs=3,
    batch_size=8,
    optimizer="adamw",
    lr=0.1,
    seed=3,
)


def parts(num_rows=20):
    random = np.random.default_rng(0)
    numbers = random.normal(size=(num_rows, 3)).astype(np.float32)
    target = (2 * numbers[:, :1] + 0.5).astype(np.float32)
    return {"train": MemoryPart(Rows({"numbers": numbers, "y": target}))}


def setup(place=None, **options):
    checkpoints = None if place is None else Checkpoints(str(place))
    return Setup(seed=5, checkpoints=checkpoints, **options)


def run(training, *, body=fit_network, **options):
    return carry_out(body, training, setup(**options), parts())


def assert_equal(weights, others, **tolerance):
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.allclose(weight, others[name], **{"rtol": 0, "atol": 0, **tolerance}), name


def test_what_goes_well_counts_nothing():
    fitted, counters = run(PLAIN)
    assert counters == Counters()
    assert len(fitted.history) == 3


@pytest.mark.parametrize(("most_rows", "times"), [(4, 1), (2, 2), (1, 3)])
def test_out_of_memory_ends_as_if_micro_batches_had_been_small_from_the_start(most_rows, times):
    build = partial(Net, most_rows=most_rows)
    fitted, counters = run(replace(PLAIN, build=build))
    small, _ = run(replace(PLAIN, accumulate=2**times))
    assert counters == Counters(out_of_memory=times)
    assert_equal(fitted.weights, small.weights)
    whole, _ = run(PLAIN)
    assert_equal(fitted.weights, whole.weights, atol=1e-6)


def test_memory_for_not_even_one_row_is_the_users_to_mend():
    with pytest.raises(torch.OutOfMemoryError, match="no room for 1 rows"):
        run(replace(PLAIN, build=partial(Net, most_rows=0)))


def test_out_of_memory_in_the_middle_goes_on_from_the_checkpoint(tmp_path):
    failed = []

    def body(train, training):
        if not failed:
            train.checkpoint_every_s = -1.0
            train.channel = Failing(train, at=4, failed=failed)
        return fit_network(train, training)

    fitted, counters = run(PLAIN, body=body, place=tmp_path)
    whole, _ = run(PLAIN)
    assert counters == Counters(out_of_memory=1)
    assert failed == [4]
    assert_equal(fitted.weights, whole.weights, atol=1e-6)
    assert len(fitted.history) == 3


class Failing:
    """A channel at which a training breaks."""

    def __init__(self, train, at, failed, error=torch.OutOfMemoryError):
        self._train, self._at, self._failed, self._error = train, at, failed, error

    def emit(self, kind, **fields):
        pass

    def must_stop(self):
        if self._train.position.step == self._at:
            self._failed.append(self._at)
            raise self._error("as asked")
        return False

    def must_save(self):
        return False


def test_a_network_that_diverges_goes_on_once_with_a_tenth_of_the_rate():
    build = partial(Net, no_number_above=6.0)
    training = replace(PLAIN, build=build, optimizer="sgd", lr=2.0, epochs=6)
    with pytest.raises(DivergedError):
        run(training)
    fitted, counters = run(replace(training, rollback=True))
    assert counters == Counters(rolled_back=1)
    assert_equal(fitted.weights, run(replace(training, lr=0.2))[0].weights, atol=1e-5)


def test_a_rollback_goes_on_from_the_last_checkpoint_at_a_tenth_of_the_rate(tmp_path):
    bad = []

    def body(train, training):
        if training.lr_scale == 1.0:
            train.channel = Failing(train, 5, bad, DivergedError)
        return fit_network(train, training)

    training = replace(PLAIN, rollback=True, scheduler=None)
    heard = []
    with use_events(lambda kind, **fields: heard.append((kind, fields))):
        fitted, counters = run(training, body=body, place=tmp_path)
    assert counters == Counters(rolled_back=1)
    assert [h["lr"] for h in fitted.history] == pytest.approx([0.1, 0.01, 0.01])
    (said,) = [fields["message"] for kind, fields in heard if kind == "log"]
    assert "a tenth of the rate" in said


def test_a_second_divergence_is_raised(tmp_path):
    def body(train, training):
        raise DivergedError("again")

    with pytest.raises(DivergedError, match="again"):
        run(replace(PLAIN, rollback=True), body=body)


def test_divergence_is_raised_where_no_rollback_is_wanted():
    def body(train, training):
        raise DivergedError("once")

    with pytest.raises(DivergedError, match="once"):
        run(PLAIN, body=body)


class Attempts:
    """Ends attempts by given errors, one after another, then by a result."""

    def __init__(self, *errors):
        self.errors, self.count = list(errors), 0

    def __call__(self, body, work, setup, parts):
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.mark.parametrize(
    ("errors", "counters"),
    [
        ([WorkersLostError("a")] * 3, Counters(lost=3)),
        ([NodeTakenError("a")] * 5, Counters(preempted=5)),
        (
            [WorkersLostError("a"), NodeTakenError("b"), torch.OutOfMemoryError("c")],
            Counters(lost=1, preempted=1, out_of_memory=1),
        ),
    ],
    ids=["lost", "taken", "each"],
)
def test_each_thing_that_went_wrong_is_counted_by_itself(monkeypatch, errors, counters):
    attempts = Attempts(*errors)
    monkeypatch.setattr(recovery, "_run", attempts)
    assert run(PLAIN) == ("done", counters)
    assert attempts.count == len(errors) + 1


def test_workers_are_replaced_so_many_times_and_no_more(monkeypatch):
    attempts = Attempts(*[WorkersLostError("gone")] * 4)
    monkeypatch.setattr(recovery, "_run", attempts)
    with pytest.raises(WorkersLostError, match="gone"):
        run(PLAIN)
    assert attempts.count == 4


@pytest.mark.parametrize(
    "error",
    [UserError("mine"), ValueError("mine"), KeyboardInterrupt(), ZeroDivisionError("mine")],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_is_raised_at_once(monkeypatch, error):
    attempts = Attempts(error)
    monkeypatch.setattr(recovery, "_run", attempts)
    with pytest.raises(type(error)) as caught:
        run(PLAIN)
    assert caught.value is error
    assert attempts.count == 1


def test_work_that_cannot_ask_for_less_is_not_begun_again(monkeypatch):
    attempts = Attempts(torch.OutOfMemoryError("full"))
    monkeypatch.setattr(recovery, "_run", attempts)
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        run({"plain": "work"})


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_leaves_a_checkpoint_of_the_last_batch_and_the_rest_is_exact(
    tmp_path, own_signals, signum
):
    def body(train, training):
        train.channel = Signalling(train.channel, train, signum)
        return fit_network(train, training)

    with pytest.raises(KeyboardInterrupt):
        run(PLAIN, body=body, place=tmp_path)
    assert Checkpoints(str(tmp_path)).steps()[-1] == 4
    fitted, _ = run(PLAIN, place=tmp_path)
    assert_equal(fitted.weights, run(PLAIN)[0].weights)


class Signalling:
    """Has this process sent a signal after the fourth batch."""

    def __init__(self, channel, train, signum):
        self._channel, self._train, self._signum = channel, train, signum

    def emit(self, kind, **fields):
        self._channel.emit(kind, **fields)

    def must_stop(self):
        if self._train.position.step == 4:
            signal.raise_signal(self._signum)
        return self._channel.must_stop()

    def must_save(self):
        return self._channel.must_save()


def test_torchs_random_state_and_threads_are_left_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(3)
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    run(PLAIN, workers=Workers(cpus_per_worker=1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_more_workers_than_one_train_in_this_process_where_no_ray_may_be_started():
    fitted, _ = run(PLAIN, workers=Workers(num_workers=3))
    assert_equal(fitted.weights, run(PLAIN)[0].weights)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_workers": -1}, "num_workers=-1: give a number from 0 on"),
        ({"num_workers": (3, 2)}, r"num_workers=\(3, 2\): give"),
        ({"num_workers": (0, 2)}, "the least is 1 worker"),
        ({"num_workers": 1.5}, "num_workers=1.5: give"),
        ({"num_workers": "two"}, "num_workers='two': give"),
        ({"num_workers": (1, 2, 3)}, r"num_workers=\(1, 2, 3\): give"),
        ({"cpus_per_worker": 0}, "cpus_per_worker=0 must be at least 1"),
        ({"gpus_per_worker": -1}, "gpus_per_worker=-1 must not be negative"),
    ],
    ids=str,
)
def test_numbers_of_workers_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UserError, match=said) as caught:
        Workers(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "fp64"}, "precision='fp64' is none of fp32, bf16, fp16"),
        ({"strategy": "dp"}, "strategy='dp' is none of ddp, fsdp"),
        ({"precision": "fp16", "workers": Workers(num_workers=2)}, "'fp16' needs a GPU"),
        ({"precision": "fp16", "workers": Workers(gpus_per_worker=0)}, "'fp16' needs a GPU"),
    ],
    ids=["precision", "strategy", "fp16 on workers", "fp16 here"],
)
def test_what_cannot_be_computed_is_refused_before_anything_starts(options, said):
    with pytest.raises(UserError, match=said) as caught:
        Setup(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("workers", "has", "said"),
    [
        (Workers(num_workers=3), {"CPU": 2.0}, "num_workers=3 need 3 CPUs, and this Ray has 2"),
        (
            Workers(num_workers=2, cpus_per_worker=2),
            {"CPU": 3.0},
            "need 4 CPUs, and this Ray has 3; lower num_workers or cpus_per_worker",
        ),
        (
            Workers(num_workers=2, gpus_per_worker=1),
            {"CPU": 8.0},
            "need 2 GPUs, and this Ray has 0; lower num_workers or gpus_per_worker",
        ),
    ],
    ids=["cpus", "cpus of each", "gpus"],
)
def test_more_than_a_ray_has_is_refused(workers, has, said):
    with pytest.raises(UserError, match=said):
        workers.check_within(has)


@pytest.mark.parametrize(
    ("workers", "has"),
    [
        (Workers(num_workers=2), {"CPU": 2.0}),
        (Workers(num_workers=(1, 4)), {"CPU": 1.0}),
        (Workers(num_workers=4, gpus_per_worker=0.5), {"CPU": 4.0, "GPU": 2.0}),
    ],
    ids=["as many", "elastic", "parts of a gpu"],
)
def test_what_a_ray_has_is_granted(workers, has):
    workers.check_within(has)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize(
    ("workers", "is_joined", "where"),
    [
        (Workers(num_workers=1, gpus_per_worker=1), True, "run_on_workers"),
        (Workers(num_workers=1, gpus_per_worker=1), False, "run_here"),
        (Workers(num_workers=0, gpus_per_worker=1), True, "run_here"),
        (Workers(num_workers=1), True, "run_here"),
    ],
    ids=["on a cluster", "alone", "no worker", "no gpu"],
)
def test_one_worker_goes_to_where_a_gpu_is(monkeypatch, workers, is_joined, where):
    for name in ("run_on_workers", "run_here"):
        monkeypatch.setattr(recovery, name, lambda *_, name=name: name)
    monkeypatch.setattr(session, "is_joined", lambda: is_joined)

    # Outside the block in which nothing is started.
    went, _ = Context().run(carry_out, fit_network, PLAIN, setup(workers=workers), parts())

    assert went == where
