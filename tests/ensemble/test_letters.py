"""Networks in units of Ray are heard while they learn."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from distml.ensemble import VotingClassifier
from distml.ensemble.letters import Letterbox, Sender, speaks
from distml.runs.events import emit, use_events
from distml.runs.progress import progress_of
from distml.train import MLP, NeuralClassifier


class Speaking(ClassifierMixin, BaseEstimator):
    """Says a word for each epoch; the first is followed by others once it was heard."""

    def __init__(self, epochs=3, answer=None, dies=False):
        self.epochs = epochs
        self.answer = answer
        self.dies = dies

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        emit("plan", units=1)
        for epoch in range(self.epochs):
            emit("epoch", step=epoch, metrics={"epoch": float(epoch), "pid": float(os.getpid())})
            self._wait()
        if self.dies:
            raise ValueError("no more words")
        return self

    def _wait(self):
        end = time.monotonic() + 60
        while self.answer is not None and not Path(self.answer).exists():
            if time.monotonic() > end:
                raise TimeoutError("nobody has heard of it")
            time.sleep(0.05)

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def heard(ensemble, kinds=("epoch",), answer=None):
    """What the driver hears of a fit; it answers the first epoch by a file."""
    events = []

    def listen(kind, **fields):
        events.append({"kind": kind, **fields})
        if kind == "epoch" and answer is not None:
            answer.touch()

    with use_events(listen):
        ensemble.fit(*load_iris(return_X_y=True))
    return [event for event in events if kinds is None or event["kind"] in kinds]


def test_letters_are_taken_once():
    box = Letterbox()
    box.post([("epoch", {"step": 1})])
    box.post([("epoch", {"step": 2})])
    assert box.drain() == [("epoch", {"step": 1}), ("epoch", {"step": 2})]
    assert box.drain() == []


def test_a_sender_tags_what_is_of_a_training_and_keeps_the_rest_to_itself():
    box = Letterbox()
    sender = Sender(box.post, {"unit": "a, all rows", "member": "a"})
    with use_events(sender):
        emit("unit_started", unit="inner")
        emit("epoch", step=1, metrics={})
        emit("epoch", step=2, metrics={})
    assert len(box.drain()) == 1
    sender.send()
    ((kind, fields),) = box.drain()
    assert kind == "epoch"
    assert (fields["step"], fields["unit"], fields["member"]) == (2, "a, all rows", "a")
    assert "t" in fields


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (NeuralClassifier(), True),
        (make_pipeline(StandardScaler(), NeuralClassifier()), True),
        (LogisticRegression(), False),
    ],
    ids=["network", "pipeline", "another"],
)
def test_networks_speak_wherever_they_stand(estimator, expected):
    assert speaks(estimator) is expected


@pytest.mark.ray
def test_epochs_of_networks_in_units_arrive_and_say_whose_they_are():
    members = [
        (f"net{seed}", NeuralClassifier(MLP((4,)), epochs=3, random_state=seed)) for seed in (0, 1)
    ]
    kinds = ("unit_started", "training_started", "epoch", "training_done", "unit_done")
    events = heard(VotingClassifier(members, voting="soft"), kinds)
    for name, _ in members:
        own = [event for event in events if event.get("member") == name]
        assert {event["unit"] for event in own} == {f"{name}, all rows"}
        assert [event["kind"] for event in own] == [
            *("unit_started", "training_started", "epoch", "epoch", "epoch"),
            *("training_done", "unit_done"),
        ]
    assert progress_of(events).trainings == {}
    before = progress_of(events[: [e["kind"] for e in events].index("unit_done")])
    assert any(training.epoch == 3 for training in before.trainings.values())


@pytest.mark.ray
def test_they_arrive_while_the_unit_is_under_way(tmp_path):
    answer = tmp_path / "heard"
    members = [("one", Speaking(epochs=4, answer=str(answer)))]
    events = heard(VotingClassifier(members), None, answer)
    epochs = [event for event in events if event["kind"] == "epoch"]
    assert len(epochs) == 4
    assert {event["metrics"]["pid"] for event in epochs} != {float(os.getpid())}
    # What is planned within a unit is the unit's own affair.
    assert [event["units"] for event in events if event["kind"] == "plan"] == [1]


@pytest.mark.ray
def test_last_words_of_one_that_fails_arrive():
    members = [("dies", Speaking(dies=True)), ("one", Speaking())]
    with pytest.warns(FitFailedWarning):
        events = heard(VotingClassifier(members, on_error="drop"))
    assert sum(event["member"] == "dies" for event in events) == 3
