"""Networks are found in models by what their fits have left, and described."""

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from distml.fit.networks import brief, describe_networks, find_networks
from distml.runs.strict_json import dumps

LAYERS = [
    {"name": "module.module.body.0", "kind": "Linear", "parameters": 10},
    {"name": "module.module.body.1", "kind": "ReLU", "parameters": 0},
    {"name": "module.module.tables", "kind": "ModuleList", "parameters": 0},
    {"name": "module.module.head", "kind": "Linear", "parameters": 5},
]


@dataclass
class Counters:
    lost: int = 2
    preempted: int = 0


@dataclass
class Transfer:
    loaded: tuple[str, ...] = tuple(f"w{n}" for n in range(80))
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "80 of 80 weights taken over"


class Net:
    """What the fit of a network leaves, as far as it is looked at."""

    def __init__(self, epochs: int = 3, best: int | None = 1) -> None:
        self.module = "any"
        self.history_ = [
            {
                "epoch": float(n),
                "train_loss": 1 / (n + 1),
                "val_loss": 1 / 3 + n / 1e9,
                "val_accuracy": 0.9,
                "seconds": 0.5,
            }
            for n in range(epochs)
        ]
        self.best_epoch_ = best
        self.counters_ = Counters()

    @property
    def architecture_(self) -> list[dict[str, Any]]:
        return [dict(layer) for layer in LAYERS]


def calibrated(net: Net) -> Any:
    return SimpleNamespace(calibrated_classifiers_=[SimpleNamespace(estimator=net)])


@pytest.mark.parametrize(
    ("model", "names"),
    [
        pytest.param(Net(), ["Net"], id="itself"),
        pytest.param(LogisticRegression(), [], id="none"),
        pytest.param(Pipeline([("a", StandardScaler()), ("b", Net())]), ["Net"], id="pipeline"),
        pytest.param(Pipeline([("code", Net()), ("b", Net())]), ["code", "Net"], id="two-steps"),
        pytest.param(
            SimpleNamespace(
                named_estimators_=Bunch(net=Net(), gone="drop", lr=LogisticRegression()),
                final_estimator_=Net(),
            ),
            ["net", "final estimator"],
            id="stack",
        ),
        pytest.param(
            SimpleNamespace(estimators_=[Net(), Net()], estimator_=LogisticRegression()),
            ["Net 1", "Net 2"],
            id="bagging",
        ),
        pytest.param(
            SimpleNamespace(estimators_=np.array([[LogisticRegression()]], dtype=object)),
            [],
            id="an-array-of-trees",
        ),
        pytest.param(
            SimpleNamespace(named_estimators_={"bag": SimpleNamespace(estimators_=[Net()])}),
            ["bag, Net 1"],
            id="nested",
        ),
        pytest.param(SimpleNamespace(best_estimator_=Net()), ["Net"], id="search"),
        pytest.param(calibrated(Net()), ["fold 1"], id="calibrated"),
    ],
)
def test_networks_are_found_wherever_they_stand(model: Any, names: list[str]) -> None:
    assert [name for name, _ in find_networks(model)] == names


def test_a_network_that_stands_twice_is_one() -> None:
    net = Net()
    assert len(list(find_networks(SimpleNamespace(estimators_=[net, net])))) == 1


def test_what_is_known_of_a_network_is_written_down() -> None:
    (told,) = describe_networks(Net())
    assert json.loads(dumps(told)) == told
    assert (told["epochs"], told["best_epoch"], told["parameters"]) == (3, 2, 15)
    assert told["seconds"] == 1.5
    assert told["history"]["epoch"] == [1.0, 2.0, 3.0]
    assert told["history"]["val_loss"] == [0.333333] * 3
    assert [layer["name"] for layer in told["layers"]] == ["body.0", "body.1", "head"]
    assert told["counters"] == {"lost": 2}
    assert told["transfer"] is None


def test_the_record_has_a_row_for_each() -> None:
    (row,) = brief(describe_networks(Net()))
    assert list(row) == [
        "name",
        "module",
        "parameters",
        "epochs",
        "best_epoch",
        "val_loss",
        "val_accuracy",
    ]
    assert row["best_epoch"] == 2


def test_the_record_says_what_the_worker_took_that_needed_most() -> None:
    net = Net()
    net.peak_bytes_ = [5, 7, 6]
    (told,) = describe_networks(net)
    (row,) = brief([told])
    assert (told["peak_bytes"], row["peak_bytes"]) == ([5, 7, 6], 7)


def test_without_a_validation_the_last_epoch_counts() -> None:
    (told,) = describe_networks(Net(best=None))
    assert (told["best_epoch"], told["best"]["train_loss"]) == (None, 1 / 3)


def test_long_courses_and_long_lists_are_thinned() -> None:
    net = Net(epochs=5000)
    net.transfer_ = Transfer()  # type: ignore[attr-defined]
    (told,) = describe_networks(net)
    epochs = told["history"]["epoch"]
    assert (len(epochs), epochs[0], epochs[-1]) == (1000, 1.0, 5000.0)
    assert (told["transfer"]["loaded"]["number"], len(told["transfer"]["loaded"]["keys"])) == (
        80,
        50,
    )
    assert told["transfer"]["said"] == "80 of 80 weights taken over"


def test_of_very_many_networks_there_are_totals() -> None:
    told = describe_networks(SimpleNamespace(estimators_=[Net() for _ in range(30)]))
    assert len(told) == 30
    assert [one["name"] for one in told if "history" not in one] == [
        f"Net {n}" for n in range(25, 31)
    ]
    assert len(brief(told)) == 24
