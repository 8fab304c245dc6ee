"""Searches over jobs: trials as runs of their own, whatever becomes of them, and once only."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import HyperBandScheduler

from distml.errors import DistmlError, ResourcesError, UserError
from distml.job import Job, Resources, Result, RunContext
from distml.runs.events import emit as report
from distml.runs.paths import RunPaths
from distml.runs.record import RunStatus
from distml.runs.storage import join_uri, open_storage
from distml.runs.store import RunStore
from distml.tune import Tune

CALLS: list[dict[str, Any]] = []
"""Arguments of each task that ran."""


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


@dataclass(frozen=True)
class Quadratic:
    """Scores by a curve, reports epochs, leaves a model; fails or is interrupted on demand."""

    x: float
    epochs: int = 0
    fails: bool = False
    interrupts: list[float] = field(default_factory=list)
    needs: str = "x"

    def run(self, context: RunContext) -> Result:
        CALLS.append({"x": self.x, "seed": context.seed, "run": context.run_id})
        if self.fails:
            raise ValueError("cannot\nlearn from this")
        if self.x in self.interrupts:
            self.interrupts.remove(self.x)
            raise KeyboardInterrupt
        for epoch in range(self.epochs):
            report("epoch", metrics={"epoch": float(epoch), "val_score": self.score * (epoch + 1)})
        storage, names = open_storage(context.run_uri), RunPaths("")
        storage.write(f"{names.bundle}/model", str(self.x).encode())
        return Result(
            metrics={"test": {"score": self.score, "loss": -self.score}},
            artifacts={"bundle": names.bundle},
            details={"rows": {"train": 3}},
        )

    @property
    def score(self) -> float:
        return 1.0 - (self.x - 3) ** 2

    def plan(self, context: RunContext) -> dict[str, Any]:
        span = {"value": 10.0, "low": 8.0, "high": 20.0}
        memory = {"peak_bytes": {"value": 4.0, "high": 5.0}}
        known = {"seconds": span, "phases": {"fit": span}, "memory": memory}
        return {"rows": 5, "members": [], **known}


def quadratic(x: float, epochs: int = 0, fails_at: tuple[float, ...] = ()) -> Job:
    return Job(task=Quadratic(x, epochs, x in fails_at), seed=7)


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Result]:
    """Search in a run of its own, the same for each call."""

    def _search(
        job: Callable[..., Job] = quadratic, *, events: list[Any] | None = None, **changes: Any
    ) -> Result:
        options: dict[str, Any] = {
            "space": {"x": [1.0, 2.0, 3.0, 4.0]},
            "metric": "test_score",
            "search": "grid",
        }
        context = RunContext(
            run_id="run",
            run_uri=str(tmp_path / "run"),
            seed=0,
            resources=Resources(),
            emit=lambda kind, **fields: None if events is None else events.append((kind, fields)),
        )
        return Tune(job, **(options | changes)).run(context)

    return _search


@pytest.fixture
def trials(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "run" / "trials")


def test_best_trial_becomes_the_run_and_the_table_has_them_all(
    search: Callable[..., Result], tmp_path: Path
) -> None:
    result = search()
    assert result.metrics == {"test": {"score": 1.0, "loss": -1.0}}
    assert result.artifacts == {"bundle": "bundle"}
    assert (tmp_path / "run" / "bundle" / "model").read_text() == "3.0"
    assert [row["x"] for row in result.table] == [1.0, 2.0, 3.0, 4.0]
    assert [row["test_score"] for row in result.table] == [-3.0, 0.0, 1.0, 0.0]
    assert {row["state"] for row in result.table} == {"completed"}
    assert result.details["rows"] == {"train": 3}
    found = result.details["search"]
    assert (found["best"], found["params"], found["trials"]) == (3, {"x": 3.0}, 4)


def test_trials_are_runs_with_record_and_events(
    search: Callable[..., Result], trials: RunStore
) -> None:
    search(arguments={"epochs": 2})
    records = sorted(trials.list(), key=lambda record: record.run_id)
    assert [record.parameters for record in records] == [{"x": x} for x in (1.0, 2.0, 3.0, 4.0)]
    assert {record.status for record in records} == {RunStatus.SUCCEEDED}
    assert {record.seed for record in records} == {7}
    kinds = [event["kind"] for event in trials.events(records[0].run_id)]
    assert kinds == ["attempt", "epoch", "epoch"]


@pytest.mark.parametrize("place", ["local", "s3"])
def test_search_can_be_kept_anywhere(place: str, request: Any, tmp_path: Path) -> None:
    uri = str(tmp_path) if place == "local" else request.getfixturevalue("s3_uri")
    context = RunContext(
        run_id="run",
        run_uri=join_uri(uri, "run"),
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )
    search = Tune(quadratic, space={"x": [2.0, 3.0]}, metric="test_score", search="grid")
    first = search.run(context)
    assert open_storage(context.run_uri).read("bundle/model") == b"3.0"
    assert search.run(context) == first
    assert len(CALLS) == 2


def test_least_is_best_where_mode_says_so(search: Callable[..., Result]) -> None:
    assert search(metric="test_loss", mode="min").details["search"]["params"] == {"x": 3.0}


def test_run_says_how_trials_go(search: Callable[..., Result]) -> None:
    events: list[tuple[str, Mapping[str, Any]]] = []
    search(events=events, space={"x": [2.0]})
    kinds = ["search_started", "trial_started", "trial_ended", "search_ended"]
    assert [kind for kind, _ in events] == kinds
    begun = {"metric": "test_score", "mode": "max", "trials": 1, "logarithmic": []}
    assert events[0][1] == begun
    assert events[1][1] == {"trial": 0, "params": {"x": 2.0}}
    ended = {"trial": 0, "params": {"x": 2.0}, "reason": "completed", "step": 0, "score": 0.0}
    assert events[2][1].items() >= ended.items()


def test_failing_trial_is_recorded_and_the_search_goes_on(
    search: Callable[..., Result], trials: RunStore
) -> None:
    result = search(arguments={"fails_at": (1.0, 3.0)})
    assert [row["state"] for row in result.table] == ["failed", "completed"] * 2
    assert result.table[0]["error"] == "ValueError: cannot learn from this"
    assert result.details["search"]["failed"] == 2
    failed = [record for record in trials.list() if record.status is RunStatus.FAILED]
    assert len(failed) == 2


def test_search_whose_trials_all_fail_says_why(search: Callable[..., Result]) -> None:
    with pytest.raises(DistmlError, match="all 2 trials failed; the first: ValueError: cannot"):
        search(space={"x": [1.0, 2.0]}, arguments={"fails_at": (1.0, 2.0)})


def test_search_ends_after_ten_failures_and_no_success(search: Callable[..., Result]) -> None:
    values = [float(value) for value in range(30)]
    with pytest.raises(DistmlError, match="all 10 trials failed"):
        search(space={"x": values}, arguments={"fails_at": tuple(values)})


def test_trials_that_ended_are_not_run_again_and_one_cut_off_goes_on(
    search: Callable[..., Result], trials: RunStore
) -> None:
    interrupts = [3.0]

    def job(x: float) -> Job:
        return Job(task=Quadratic(x, fails=x == 1.0, interrupts=interrupts))

    with pytest.raises(KeyboardInterrupt):
        search(job)
    assert [call["x"] for call in CALLS] == [1.0, 2.0, 3.0]
    first = search(job)
    assert [call["x"] for call in CALLS] == [1.0, 2.0, 3.0, 3.0, 4.0]
    assert CALLS[2]["run"] == CALLS[3]["run"]
    assert search(job) == first
    assert len(CALLS) == 5
    assert len(trials.load(CALLS[2]["run"]).attempts) == 2


@pytest.mark.parametrize("name", ["random", "optuna"])
def test_search_that_was_cut_off_finds_what_an_uninterrupted_one_finds(
    name: str, search: Callable[..., Result], tmp_path: Path
) -> None:
    options = {"space": {"x": tune.uniform(0, 6)}, "search": name, "num_samples": 12}
    whole = search(**options)
    xs = [call["x"] for call in CALLS]
    for file in sorted((tmp_path / "run" / "trials").glob("*/record.json"))[5:]:
        file.unlink()
    CALLS.clear()
    again = search(**options)
    assert [call["x"] for call in CALLS] == xs[5:]
    assert again.details["search"]["params"] == whole.details["search"]["params"]


def test_metric_that_trials_do_not_report_ends_the_search_after_the_first(
    search: Callable[..., Result],
) -> None:
    with pytest.raises(UserError, match=r"report test_score, test_loss; did you mean 'test_score'"):
        search(metric="test_scores")
    assert len(CALLS) == 1


@pytest.mark.parametrize("metric", ["score", "test_score"])
def test_scorer_of_the_only_set_needs_no_name_of_the_set(
    metric: str, search: Callable[..., Result]
) -> None:
    assert search(metric=metric).details["search"]["best"] == 3


def test_what_epochs_report_can_be_gone_by(search: Callable[..., Result]) -> None:
    result = search(metric="val_score", arguments={"epochs": 2})
    assert [row["val_score"] for row in result.table] == [-3.0, 0.0, 2.0, 0.0]


def test_scheduler_ends_trainings_early_and_a_resumed_search_knows(
    search: Callable[..., Result], trials: RunStore
) -> None:
    options = {
        "space": {"x": [3.0, 1.0, 2.9, 0.0]},
        "metric": "val_score",
        "scheduler": "asha",
        "max_epochs": 9,
        "arguments": {"epochs": 9},
    }
    first = search(**options)
    assert [row["state"] for row in first.table] == ["completed", *["stopped early"] * 3]
    assert first.details["search"]["best"] == 1
    records = sorted(trials.list(), key=lambda record: record.run_id)
    assert [record.details.get("epochs") for record in records] == [None, 1, 3, 1]
    assert records[1].reason == "stopped by the scheduler after 1 epochs"
    assert search(**options) == first
    assert len(CALLS) == 4


def test_scheduler_that_epochs_tell_nothing_ends_the_search(
    search: Callable[..., Result],
) -> None:
    options = {"scheduler": "asha", "max_epochs": 9, "arguments": {"epochs": 9}}
    with pytest.raises(UserError, match=r"'test_score': trials do not report it; .*epoch_val"):
        search(**options)
    assert len(CALLS) == 1


@pytest.mark.parametrize("scheduler", ["asha", "median", "pbt"])
def test_scheduler_of_jobs_without_epochs_is_refused_after_the_first_trial(
    search: Callable[..., Result], scheduler: str
) -> None:
    space = {"x": tune.uniform(1, 4)}  # of a list, pbt has nothing to perturb
    with pytest.raises(UserError, match="scheduler: trial 1 ended without reporting an epoch"):
        search(scheduler=scheduler, max_epochs=9, space=space, search="random")
    assert len(CALLS) == 1


@dataclass(frozen=True)
class Sometimes:
    """Reports by its kind: a network each epoch, a forest at its end alone."""

    kind: str

    def run(self, context: RunContext) -> Result:
        for epoch in range(9 if self.kind == "network" else 0):
            report("epoch", metrics={"epoch": float(epoch), "score": 0.5})
        return Result(metrics={"test": {"score": 0.6}})


def test_trial_without_epochs_after_one_with_them_goes_to_its_end(
    search: Callable[..., Result],
) -> None:
    def job(kind: str) -> Job:
        return Job(task=Sometimes(kind))

    space = {"kind": ["network", "forest"]}
    result = search(job, scheduler="asha", metric="score", max_epochs=9, space=space)
    assert [row["state"] for row in result.table] == ["completed"] * 2


def test_trial_that_fails_before_its_first_epoch_ends_no_scheduler(
    search: Callable[..., Result],
) -> None:
    arguments = {"epochs": 9, "fails_at": (1.0,)}
    result = search(scheduler="asha", metric="val_score", max_epochs=9, arguments=arguments)
    assert result.table[0]["state"] == "failed"


@dataclass(frozen=True)
class Greedy:
    """Wants so many CPUs, of those that there are."""

    workers: int
    there: list[int]

    def run(self, context: RunContext) -> Result:
        CALLS.append({"workers": self.workers})
        if self.workers > self.there[0]:
            raise ResourcesError(f"{self.workers} workers, and this Ray has {self.there[0]} CPUs")
        return Result(metrics={"test": {"score": 1.0}})


def test_trial_that_needs_more_than_there_is_ends_the_search_until_there_is_more(
    search: Callable[..., Result], trials: RunStore
) -> None:
    there = [2]
    options: dict[str, Any] = {
        "job": lambda workers: Job(task=Greedy(workers, there)),
        "space": {"workers": [8, 1]},
    }
    with pytest.raises(ResourcesError, match="8 workers, and this Ray has 2 CPUs"):
        search(**options)
    assert len(CALLS) == 1
    (record,) = trials.list()
    assert record.status is RunStatus.FAILED

    there[0] = 8
    assert [row["state"] for row in search(**options).table] == ["completed"] * 2


def test_trial_that_needs_more_than_there_is_fails_alone_after_a_good_one(
    search: Callable[..., Result],
) -> None:
    result = search(lambda workers: Job(task=Greedy(workers, [2])), space={"workers": [1, 8, 2]})

    assert [row["state"] for row in result.table] == ["completed", "failed", "completed"]


def test_scheduler_that_pauses_is_refused(search: Callable[..., Result]) -> None:
    with pytest.raises(UserError, match="HyperBandScheduler pauses trainings"):
        search(
            metric="val_score",
            scheduler=HyperBandScheduler(max_t=9),
            space={"x": [float(value) for value in range(9)]},
            arguments={"epochs": 9},
        )


def test_patience_and_time_end_a_search(search: Callable[..., Result], trials: RunStore) -> None:
    result = search(space={"x": [3.0, 1.0, 2.0, 2.5, 3.0]}, early_stop_patience=2)
    assert (len(result.table), result.details["search"]["ended"]) == (3, "early_stop_patience")
    timed = search(space={"x": [3.0, 1.0]}, time_budget_s=1e-9)
    assert (len(timed.table), timed.details["search"]["ended"]) == (1, "time_budget_s")


def test_columns_of_the_table_keep_apart_from_parameters(search: Callable[..., Result]) -> None:
    def job(trial: float, seconds: float = 1.0) -> Job:
        return Job(task=Quadratic(trial))

    row = search(job, space={"trial": [2.0], "seconds": [4.0]}).table[0]
    assert (row["trial"], row["trial="], row["seconds="]) == (1, 2.0, 4.0)


def test_parameter_may_choose_whole_objects(search: Callable[..., Result]) -> None:
    def job(task: Any) -> Job:
        return Job(task=task)

    result = search(job, space={"task": [Quadratic(2.0), Quadratic(3.0)]})
    assert result.details["search"]["best"] == 2


def needs(x: float, data: str) -> Job:
    return Job(task=Quadratic(x))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"space": {"y": [1]}}, r"quadratic\(\) has no parameter 'y'"),
        ({"space": {"epoch": [1], "x": [1]}}, "'epoch'; did you mean 'epochs'"),
        ({"space": {}}, "space is empty"),
        ({"mode": "most"}, "mode='most'"),
        ({"metric": ""}, "name a score"),
        ({"num_samples": 0}, "num_samples=0; give a whole number of at least 1"),
        ({"num_samples": 2.5}, "num_samples=2.5; give a whole number"),
        ({"max_epochs": "3"}, "max_epochs='3'; give a whole number"),
        ({"time_budget_s": "5m"}, "time_budget_s='5m'; give seconds, more than 0"),
        ({"arguments": {"epoch": 1}}, "no parameter 'epoch'; did you mean 'epochs'"),
        ({"arguments": {"x": 1}}, "'x' is in space and in arguments"),
        ({"scheduler": "hyperband"}, "pauses trainings, which is not carried out"),
        ({"scheduler": "asha"}, "give max_epochs"),
        ({"job": needs}, r"needs\(\) needs 'data'; put it into space"),
        ({"job": 3}, "3 is no function"),
        ({"job": lambda x: Quadratic(x)}, None),
    ],
    ids=[
        "name", "near name", "empty", "mode", "metric", "samples", "half a sample",
        "epochs in words", "budget in words", "argument", "twice", "hyperband",
        "epochs", "missing", "no function", "no job",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    changes: dict[str, Any], match: str | None, search: Callable[..., Result]
) -> None:
    changes = dict(changes)
    job = changes.pop("job", quadratic)
    if match is None:  # found by the first trial only
        with pytest.raises(DistmlError, match="returned Quadratic, not a Job"):
            search(job, **changes)
        return
    with pytest.raises(UserError, match=match) as caught:
        search(job, **changes)
    assert "\n" not in str(caught.value)
    assert CALLS == []


def test_plan_is_that_of_a_trial_times_the_trials(tmp_path: Path) -> None:
    context = RunContext(
        run_id="run",
        run_uri=str(tmp_path),
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )
    space = {"x": [1.0, 2.0, 3.0]}
    plan = Tune(quadratic, space=space, metric="score", search="grid").plan(context)
    assert plan["seconds"] == {"value": 30.0, "low": 24.0, "high": 60.0}
    assert plan["search"]["trials"] == 3
    assert plan["search"]["fitting"] is None
    limited = Tune(quadratic, space=space, metric="score", search="grid", time_budget_s=15)
    assert limited.plan(context)["search"]["fitting"] == 2
    assert limited.plan(context)["seconds"]["value"] == 20.0
    wide = Tune(quadratic, space=space, metric="score", search="grid", max_concurrent_trials=2)
    assert wide.plan(context)["search"]["at_once"] == 2
    assert wide.plan(context)["memory"]["peak_bytes"] == {"value": 8.0, "high": 10.0}
    json.dumps(plan)
