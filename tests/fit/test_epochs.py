"""Networks are measured by a few of their epochs, and the rest is counted."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from distml import session
from distml.data import ByHash, Split, write_shards
from distml.fit import Fit, epochs
from distml.fit.epochs import Spared, cut_short
from distml.fit.planning import plan_fit
from distml.job import Resources, RunContext
from distml.train import MLP, NeuralClassifier


class Epochal(BaseEstimator):
    """Has epochs and is no network."""

    def __init__(self, epochs: int = 50) -> None:
        self.epochs = epochs


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(epochs, "time", fake)
    return fake


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    generator = np.random.default_rng(0)
    size = generator.normal(size=900)
    table = pa.table({"size": size, "noise": generator.normal(size=900), "big": size > 0})
    return write_shards(table, tmp_path_factory.mktemp("data") / "parts", num_shards=1)


def network(num_epochs: int, **changes: Any) -> NeuralClassifier:
    return NeuralClassifier(MLP(hidden=(4,)), epochs=num_epochs, random_state=0, **changes)


def planned(data: Any, **changes: Any) -> dict[str, Any]:
    task = Fit(
        data=data,
        label="big",
        estimator=network(**changes),
        split=Split({"test": ByHash(0.2)}),
        metrics=("accuracy",),
    )
    context = RunContext(
        run_id="r",
        run_uri="nowhere",
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )
    with session.inline():
        return plan_fit(task, context, budget_s=0.2)


@pytest.mark.parametrize(
    ("estimator", "full"),
    [
        pytest.param(network(20), {3: 20}, id="one"),
        pytest.param(network(2), {}, id="few-already"),
        pytest.param(LogisticRegression(), {}, id="none"),
        pytest.param(Epochal(), {}, id="no-network"),
        pytest.param(make_pipeline(StandardScaler(), network(9)), {3: 9}, id="pipeline"),
        pytest.param(
            VotingClassifier([("a", network(20)), ("b", network(50)), ("c", network(20))]),
            {3: 20, 4: 50},
            id="several",
        ),
    ],
)
def test_networks_train_for_a_few_epochs_by_which_they_can_be_told(
    estimator: Any, full: dict[int, int]
) -> None:
    before = str(estimator)
    short, found = cut_short(estimator)
    assert found == full
    assert str(estimator) == before
    left = {value for name, value in short.get_params().items() if name.endswith("epochs")}
    assert set(full) <= left


def test_what_was_spared_costs_what_the_last_epochs_cost(clock: FakeClock) -> None:
    spared = Spared({3: 20})
    spared.take("training_started", {"epochs": 3})
    for now in (9.0, 10.0, 11.0):
        clock.now = now
        spared.take("epoch", {})
    spared.take("training_done", {})
    assert spared.pop() == 17.0
    assert spared.pop() == 0.0


def test_a_training_of_another_length_spares_nothing(clock: FakeClock) -> None:
    spared = Spared({3: 20})
    spared.take("training_started", {"epochs": 7})
    for now in (9.0, 10.0):
        clock.now = now
        spared.take("epoch", {})
    spared.take("training_done", {})
    assert spared.pop() == 0.0


def test_a_plan_counts_the_epochs_that_there_is_no_time_for(data: Any) -> None:
    plan = planned(data, num_epochs=20_000)
    assert plan["epochs"] == {"counted": True, "may_stop": False}
    spent = sum(sample["seconds"] for sample in plan["measured"])
    assert plan["phases"]["fit"]["value"] > spent


def test_the_range_of_a_plan_allows_for_an_early_end(data: Any) -> None:
    plan = planned(data, num_epochs=20_000, early_stopping=5)
    assert plan["epochs"] == {"counted": True, "may_stop": True}
    assert plan["seconds"]["low"] < plan["seconds"]["value"] / 10


def test_a_plan_takes_a_batch_of_many_rows_that_small_samples_have_not(data: Any) -> None:
    plan = planned(data, num_epochs=4, batch_size=500)
    assert [sample["rows"] for sample in plan["measured"]] == [900]
