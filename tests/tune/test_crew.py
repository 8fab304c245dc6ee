"""Trials of a search over jobs that run at one time, each in a process of its own."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distml import session
from distml.errors import DistmlError, UserError
from distml.job import Job, Resources, Result, RunContext
from distml.runs.events import emit
from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from distml.tune import Tune


@dataclass(frozen=True)
class Curve:
    """Scores by a curve and reports epochs; notes the process; meets others or dies on demand.

    As `hungry` it runs out of memory with less than two CPUs: `raises`, `killed`, `always`.
    """

    x: float
    epochs: int = 0
    note: str = ""
    meets: int = 0
    dies: bool = False
    hungry: str = ""

    def run(self, context: RunContext) -> Result:
        if self.note:
            Path(self.note, f"{self.x}-{os.getpid()}").touch()
        while self.meets and len([*Path(self.note).iterdir()]) < self.meets:
            time.sleep(0.01)
        if self.dies:
            os._exit(3)
        if self.hungry:
            self.eat()
        score = 1.0 - (self.x - 3) ** 2
        for epoch in range(self.epochs):
            emit("epoch", metrics={"epoch": float(epoch), "val_score": score * (epoch + 1)})
        return Result(metrics={"test": {"score": score}})

    def eat(self) -> None:
        if self.hungry != "always" and session.limits().num_cpus == 2:
            return
        if self.hungry == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise DistmlError("a member is lost") from MemoryError("no more")


def curve(
    x: float,
    epochs: int = 0,
    note: str = "",
    meets: int = 0,
    dies_at: tuple[float, ...] = (),
    hungry: str = "",
) -> Job:
    return Job(task=Curve(x, epochs, note, meets, x in dies_at, hungry if x < 3 else ""), seed=7)


@dataclass(frozen=True)
class Vote:
    """Fits an ensemble, whose fits are spread over Ray."""

    depth: int

    def run(self, context: RunContext) -> Result:
        import ray
        from sklearn.datasets import load_iris
        from sklearn.tree import DecisionTreeClassifier

        from distml import VotingClassifier

        X, y = load_iris(return_X_y=True)
        trees = [(str(k), DecisionTreeClassifier(max_depth=self.depth)) for k in range(3)]
        score = VotingClassifier(trees).fit(X, y).score(X, y)
        cpus = ray.cluster_resources()["CPU"]
        return Result(metrics={"test": {"score": score}}, details={"cpus": cpus})


def vote(depth: int) -> Job:
    return Job(task=Vote(depth))


def unsendable() -> Callable[..., Job]:
    lock = threading.Lock()

    def job(x: float) -> Job:
        assert not lock.locked()
        return curve(x)

    return job


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    # Where the processes find what is in this file.
    monkeypatch.syspath_prepend(Path(__file__).parents[2])

    def _search(job: Callable[..., Any] = curve, **changes: Any) -> Result:
        options: dict[str, Any] = {
            "space": {"x": [1.0, 2.0, 3.0, 4.0]},
            "metric": "test_score",
            "search": "grid",
            "max_concurrent_trials": 2,
        }
        context = RunContext(
            run_id="run",
            run_uri=str(tmp_path / changes.pop("folder", "run")),
            seed=0,
            resources=Resources(),
            emit=lambda kind, **fields: None,
        )
        return Tune(job, **(options | changes)).run(context)

    return _search


def outcome(result: Result) -> dict[str, Any]:
    """What a search came to, but for how long it took."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in result.table]
    return {"search": result.details["search"], "metrics": result.metrics, "rows": rows}


def test_trials_run_at_one_time_in_processes_that_are_used_again(
    search: Callable[..., Result], tmp_path: Path
) -> None:
    note = tmp_path / "note"
    note.mkdir()
    # The first two wait for each other.
    together = search(arguments={"note": str(note), "meets": 2})
    assert len({path.name.partition("-")[2] for path in note.iterdir()}) == 2
    alone = search(max_concurrent_trials=1, folder="alone")
    assert outcome(together) == outcome(alone)


def test_decisions_are_the_same_whatever_trials_take(search: Callable[..., Result]) -> None:
    options: dict[str, Any] = {
        "space": {"x": [3.0, 1.0, 2.9, 0.0, 3.1, 2.0]},
        "metric": "val_score",
        "scheduler": "asha",
        "max_epochs": 9,
        "arguments": {"epochs": 9},
    }
    first = search(**options)
    assert {row["state"] for row in first.table} == {"completed", "stopped early"}
    # Played again from its records, and anew.
    assert outcome(search(**options)) == outcome(first)
    assert outcome(search(**options, folder="again")) == outcome(first)


def test_process_that_dies_takes_its_trial_with_it_and_no_other(
    search: Callable[..., Result], tmp_path: Path
) -> None:
    result = search(arguments={"dies_at": (1.0, 2.0)})
    assert [row["state"] for row in result.table] == ["failed", "failed", "completed", "completed"]
    assert result.table[0]["error"] == "its process ended with 3"
    assert result.details["search"]["params"] == {"x": 3.0}
    statuses = [record.status for record in RunStore(tmp_path / "run" / "trials").list()]
    assert statuses.count(RunStatus.FAILED) == 2


@pytest.mark.parametrize(
    ("hungry", "scheduler"),
    [("killed", None), pytest.param("raises", "asha", marks=pytest.mark.slow)],
)
def test_trial_that_ran_out_of_memory_beside_others_is_run_again_alone(
    search: Callable[..., Result], hungry: str, scheduler: str | None
) -> None:
    options: dict[str, Any] = {"scheduler": scheduler, "max_epochs": 4, "metric": "val_score"}
    with session.limited(num_cpus=2):
        result = search(arguments={"epochs": 4, "hungry": hungry}, **options)
    assert len(result.table) == 4
    assert [row["state"] for row in result.table if row["x"] == 3.0] == ["completed"]
    assert not [row for row in result.table if row["state"] == "failed"]
    if scheduler is None:
        options["max_concurrent_trials"] = 1
        calm = search(arguments={"epochs": 4}, folder="calm", **options)
        assert outcome(result) == outcome(calm)


@pytest.mark.slow
def test_searcher_that_waits_for_a_trial_put_off_goes_on_after_it(
    search: Callable[..., Result],
) -> None:
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    with session.limited(num_cpus=2):
        result = search(
            space={"x": tune.uniform(0.0, 2.9)},
            search=ConcurrencyLimiter(OptunaSearch(seed=0), max_concurrent=1),
            num_samples=2,
            arguments={"hungry": "raises"},
        )
    assert [row["state"] for row in result.table] == ["completed", "completed"]


def test_trial_that_runs_out_of_memory_alone_has_failed(search: Callable[..., Result]) -> None:
    with session.limited(num_cpus=2):
        result = search(arguments={"hungry": "always"})
    assert [row["state"] for row in result.table] == ["failed", "failed", "completed", "completed"]
    assert result.table[0]["error"] == "a member is lost"


@pytest.mark.slow
def test_search_that_was_cut_off_still_runs_what_was_put_off(
    search: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = search(folder="calm", max_concurrent_trials=1)
    with session.limited(num_cpus=2):
        with monkeypatch.context() as patch:
            patch.setattr("distml.tune.tally.Tally.add", interrupt)
            with pytest.raises(KeyboardInterrupt):
                search(arguments={"hungry": "raises"})
        assert outcome(search(arguments={"hungry": "raises"})) == outcome(calm)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"metric": "test_scores"}, "report test_score; did you mean 'test_score'"),
        (
            {"scheduler": "asha", "max_epochs": 9, "arguments": {"epochs": 9}},
            "'test_score': trials do not report it",
        ),
        ({"job": unsendable()}, "cannot be sent to another process"),
        ({"max_concurrent_trials": 0}, "max_concurrent_trials=0; give a whole number"),
    ],
    ids=["metric", "epochs", "unsendable", "none"],
)
def test_what_makes_no_sense_ends_the_search_in_one_line(
    changes: dict[str, Any], match: str, search: Callable[..., Result]
) -> None:
    with pytest.raises(UserError, match=match) as caught:
        search(**changes)
    assert "\n" not in str(caught.value)


def test_search_that_was_interrupted_goes_on(
    search: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(folder="whole")
    with monkeypatch.context() as patch:
        patch.setattr("distml.tune.tally.Tally.add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            search()
    assert outcome(search()) == outcome(whole)


def interrupt(*arguments: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_trials_with_a_ray_of_their_own_do_not_wait_for_each_other(
    search: Callable[..., Result], tmp_path: Path
) -> None:
    with session.limited(num_cpus=2):
        result = search(vote, space={"depth": [1, 2, 3]})
    assert {row["state"] for row in result.table} == {"completed"}
    records = RunStore(tmp_path / "run" / "trials").list()
    assert {record.details["cpus"] for record in records} == {1.0}
