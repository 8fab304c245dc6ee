"""What a training says of itself, and how often."""

from typing import Any

import numpy as np
import pytest
import torch

from distml.runs.events import use_events
from distml.runs.progress import progress_of
from distml.train import MLP, NeuralClassifier, telling
from distml.train.context import Train
from distml.train.telling import Telling, device_name

Event = tuple[str, dict[str, Any]]


class FakeChannel:
    def __init__(self) -> None:
        self.told: list[Event] = []

    def emit(self, kind: str, **fields: Any) -> None:
        self.told.append((kind, fields))

    def must_stop(self) -> bool:
        return False

    def must_save(self) -> bool:
        return False


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(telling, "time", fake)
    return fake


def speaker(rank: int = 0) -> tuple[Telling, list[Event]]:
    channel = FakeChannel()
    return Telling(Train(parts={}, rank=rank, channel=channel)), channel.told


@pytest.mark.parametrize(
    ("hours", "most"),
    [pytest.param(0.01, 37, id="half-a-minute"), pytest.param(3, 3500, id="hours")],
)
def test_steps_are_told_about_once_a_second_and_later_less_often(
    clock: FakeClock, hours: float, most: int
) -> None:
    said, told = speaker()
    for tenth in range(round(36_000 * hours)):
        clock.now = tenth / 10
        said.step(2.0, 4.0, 2.0)
    assert most * 0.9 < len(told) <= most
    assert told[0][1]["loss"] == 0.5
    assert told[0][1]["rows_per_s"] == 2.0


def test_only_the_first_worker_speaks(clock: FakeClock) -> None:
    said, told = speaker(rank=1)
    said.start(epochs=1, steps=1, batch_size=1, may_stop=False)
    clock.now = 9.0
    said.step(1.0, 1.0, 1.0)
    said.done()
    assert told == []


def test_an_epoch_that_has_just_begun_has_no_loss_yet(clock: FakeClock) -> None:
    said, told = speaker()
    clock.now = 9.0
    said.step(0.0, 0.0, 0.0)
    assert (told[0][1]["loss"], told[0][1]["rows_per_s"]) == (None, None)


def test_a_fit_tells_its_beginning_its_epochs_and_its_end() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    events: list[dict[str, Any]] = []
    with use_events(lambda kind, **fields: events.append({"kind": kind, **fields})):
        model = NeuralClassifier(MLP(hidden=(4,)), epochs=3, random_state=0).fit(X, X[:, 0] > 0)
    kinds = [event["kind"] for event in events if event["kind"] != "step"]
    assert kinds == ["training_started", "epoch", "epoch", "epoch", "training_done"]
    training = progress_of(events).training
    assert training is not None
    assert (training.done, training.epoch, training.step) == (True, 3, training.steps)
    assert (model.device_, model.num_workers_) == ("cpu", 0)


def test_a_device_has_a_name() -> None:
    assert device_name(torch.device("cpu")) == "cpu"
