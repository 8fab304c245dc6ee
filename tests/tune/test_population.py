"""Trainings of a population of jobs, which go on from each other's checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from ray.tune.schedulers import PopulationBasedTraining
from scipy.stats import loguniform
from torch.nn import functional

import distml
from distml import session
from distml.errors import UserError
from distml.job import Job, Resources, Result, RunContext
from distml.runs.events import emit
from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from distml.tune import Tune

EPOCHS = 6


def learn(train: distml.Train, lr: float, epochs: int = EPOCHS) -> None:
    """Logistic regression, with the rate that it is given, wherever it begins."""
    model = train.prepare(train.network(distml.MLP(hidden=())))
    optimizer = torch.optim.SGD(model.parameters(), lr)
    train.resume(model=model, optimizer=optimizer)
    for group in optimizer.param_groups:
        group["lr"] = lr
    for _ in train.epochs(epochs):
        for batch in train.batches("train", batch_size=32):
            loss = batch.mean(functional.cross_entropy(model(batch), batch["y"], reduction="none"))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        train.report({"val_loss": validate(train, model), "val_rate": lr})


@torch.no_grad()
def validate(train: distml.Train, model: torch.nn.Module) -> float:
    (batch,) = train.batches("test", batch_size=1_000)
    return float(functional.cross_entropy(model(batch), batch["y"]))


def rate(lr: float, data: str, workers: int = 0) -> Job:
    loop = distml.Loop(
        learn,
        data=data,
        label="y",
        split=distml.Split({"test": distml.ByHash(0.3)}),
        params={"lr": lr},
        cpus_per_worker=1,
        num_workers=workers,
        # Of such short epochs workers do many before they hear of a pause.
        num_to_keep=50,
    )
    return Job(task=loop, seed=3)


@pytest.fixture
def data(tmp_path: Path) -> str:
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    columns = {f"x{i}": x[:, i] for i in range(3)}
    table = pa.table({**columns, "y": np.where(x[:, 0] + x[:, 1] > 0, "yes", "no")})
    distml.write_shards(table, tmp_path / "data", num_shards=2)
    return str(tmp_path / "data")


@pytest.fixture
def search(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])

    def _search(folder: str, events: list[Any] | None = None, **changes: Any) -> Result:
        options: dict[str, Any] = {
            "space": {"lr": loguniform(1e-4, 1.0)},
            "metric": "val_loss",
            "mode": "min",
            "scheduler": "pbt",
            "num_samples": 4,
            "max_epochs": EPOCHS,
            "arguments": {"data": data},
        }
        context = RunContext(
            run_id="run",
            run_uri=str(tmp_path / folder),
            seed=0,
            resources=Resources(),
            emit=lambda kind, **fields: None if events is None else events.append((kind, fields)),
        )
        return Tune(changes.pop("job", rate), **(options | changes)).run(context)

    return _search


def outcome(result: Result) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.table]


def test_worse_trainings_go_on_from_better_ones_with_other_rates(
    search: Callable[..., Result], tmp_path: Path
) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    result = search("run", events)
    losses = [row["val_loss"] for row in result.table]
    assert {row["state"] for row in result.table} == {"completed"}
    alone = search("alone", scheduler=None).table
    assert max(losses) < max(row["val_loss"] for row in alone)
    exploits = [fields for kind, fields in events if kind == "trial_exploits"]
    assert exploits
    runs = {record.run_id: record for record in RunStore(tmp_path / "run" / "trials").list()}
    left = [record for record in runs.values() if record.status is RunStatus.STOPPED]
    assert len(left) == len(exploits)
    assert all("went on from trial" in str(record.reason) for record in left)
    # A run that begins in the middle reports the epochs that are left, at the rate it was given.
    store = RunStore(tmp_path / "run" / "trials")
    for row in result.table:
        told = [event for event in store.events(row["run"]) if event["kind"] == "epoch"]
        assert {event["metrics"]["val_rate"] for event in told} == {row["lr"]}
    assert not [*(tmp_path / "run" / "population").rglob("*.safetensors")]


class BrokenOffError(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("cut", [3, 11, 18])
def test_population_that_was_broken_off_ends_as_one_that_was_not(
    cut: int, search: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search("whole")
    with monkeypatch.context() as patch:
        calls = iter(range(cut))

        def break_off(*arguments: Any) -> None:
            if next(calls, None) is None:
                raise BrokenOffError
            settle(*arguments)

        from distml.tune.population import Population

        settle = Population.settle
        patch.setattr(Population, "settle", break_off)
        with pytest.raises(BrokenOffError):
            search("broken")
    assert outcome(search("broken")) == outcome(whole)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_population_in_processes_is_the_same(search: Callable[..., Result]) -> None:
    assert outcome(search("two", max_concurrent_trials=2)) == outcome(search("one"))


def test_scheduler_may_be_ray_tunes_own(search: Callable[..., Result]) -> None:
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": [1e-3, 1e-2, 1e-1]},
    )
    events: list[tuple[str, dict[str, Any]]] = []
    search("run", events, scheduler=scheduler)
    rates = [fields["params"]["lr"] for kind, fields in events if kind == "trial_exploits"]
    assert rates


class Forgetful:
    """Reports epochs and keeps nothing."""

    def run(self, context: RunContext) -> Result:
        for epoch in range(EPOCHS):
            emit("epoch", metrics={"epoch": float(epoch), "val_loss": 1.0})
        return Result(metrics={})


def test_job_that_cannot_go_on_is_refused_after_its_first_turn(
    search: Callable[..., Result], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"trial 1 left no checkpoint after 1 epochs; search a job"):
        search("run", job=lambda lr: Job(task=Forgetful()), arguments={})
    assert len(RunStore(tmp_path / "run" / "trials").list()) == 1


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_trainings_on_workers_go_on_from_each_other(
    search: Callable[..., Result], data: str
) -> None:
    # The mean over workers of what each finds on its part of the rows is not that of all rows.
    options: dict[str, Any] = {"num_samples": 3, "max_epochs": 2}
    with session.limited(num_cpus=2):
        spread = search("spread", arguments={"data": data, "workers": 2}, **options)
    here = search("here", **options)
    for one, other in zip(spread.table, here.table, strict=True):
        assert one["lr"] == other["lr"]
        assert one["val_loss"] == pytest.approx(other["val_loss"], abs=0.02)
