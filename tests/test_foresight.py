"""What is said of a job before it runs, and put beside what it took."""

import json

import pytest

from distml.errors import UserError
from distml.foresight import observed, write_plan
from distml.job import Job, Result
from distml.rehearsal import rehearsal
from distml.runs.plans import load_expectation, load_plan, plan_key, save_expectation
from distml.runs.record import Attempt, RunRecord, RunStatus
from distml.runs.store import RunStore
from distml.start import Start
from distml.verbs.plan_text import known_from


class Task:
    def run(self, context):
        return Result(metrics={})


class Planned(Task):
    def plan(self, context):
        return {"rows": 100, "seconds": {"value": 1.0}, "memory": {}, "seed": context.seed}


@pytest.fixture
def start(tmp_path):
    """Makes a start of a task in a storage of its own."""

    def _start(task, **fields):
        record = RunRecord(run_id="two", job_file="jobs/x.py", parameters={"rows": 100})
        return Start(
            store=RunStore(tmp_path / "runs"),
            record=record,
            source="text",
            job=Job(task=task, seed=3),
            is_new=True,
            **fields,
        )

    return _start


def write_run(store, run_id, *, rows, seconds, source="text", status=RunStatus.SUCCEEDED, **fields):
    """A finished run of so many rows."""
    attempt = Attempt(started_at=0.0, finished_at=seconds, host="h", pid=1, status=status)
    record = RunRecord(
        run_id=run_id,
        job_file="jobs/x.py",
        details={"rows": {"train": rows - 10, "test": 10}},
        status=status,
        attempts=(attempt,),
        **{"parameters": {"rows": rows}, **fields},
    )
    store.create(record, source)


def test_a_plan_is_written_and_kept(start, tmp_path):
    made = start(Planned())

    write_plan(made, str(tmp_path / "plan.json"))

    plan = json.loads((tmp_path / "plan.json").read_text())
    assert (plan["job"], plan["seed"], plan["earlier"]) == ("x", 3, None)
    assert load_plan(made.store.storage, plan_key("text", {"rows": 100})) == plan


def test_earlier_runs_are_scaled_to_the_rows(start, tmp_path):
    made = start(Planned())
    write_run(made.store, "half", rows=50, seconds=20.0)
    write_run(made.store, "whole", rows=100, seconds=44.0)
    write_run(made.store, "failed", rows=100, seconds=1.0, status=RunStatus.FAILED)
    write_run(made.store, "changed", rows=100, seconds=1.0, source="other text")
    write_run(made.store, "other", rows=100, seconds=1.0, parameters={"rows": 100, "trees": 3})

    write_plan(made, str(tmp_path / "plan.json"))

    earlier = json.loads((tmp_path / "plan.json").read_text())["earlier"]
    assert sorted(earlier["runs"]) == ["half", "whole"]
    assert earlier["seconds"] == pytest.approx(42.0)


def test_a_task_that_cannot_be_planned_is_refused(start, tmp_path):
    with pytest.raises(UserError, match="Task cannot be planned"):
        write_plan(start(Task()), str(tmp_path / "plan.json"))


def test_what_was_predicted_stands_beside_what_it_took(start):
    made = start(Task(), notes={"predicted": {"seconds": 5}, "parent": {"run": "one"}})

    details = observed(made, lambda: Result(metrics={}, details={"rows": 9})).details

    assert details["actual"]["seconds"] >= 0
    assert {name: details[name] for name in ("rows", "parent", "predicted")} == {
        "rows": 9,
        "parent": {"run": "one"},
        "predicted": {"seconds": 5},
    }


def test_without_a_prediction_nothing_is_watched(start):
    result = Result(metrics={})

    assert observed(start(Task()), lambda: result) is result


class Looped(Task):
    num_workers, cpus_per_worker, gpus_per_worker = 4, 2, 1


def written(start, tmp_path, **options):
    write_plan(start, str(tmp_path / "plan.json"), **options)
    return json.loads((tmp_path / "plan.json").read_text())


def test_a_stored_plan_is_taken_where_no_sample_is_needed(start, tmp_path):
    first = written(start(Planned()), tmp_path)

    again = written(start(Planned()), tmp_path, sample="needed")

    assert first["used"] == {"what": "samples"}
    assert again["used"] == {"what": "plan", "at": first["made_at"]}
    assert again["seconds"] == first["seconds"]


def test_a_run_of_the_same_job_is_a_better_witness(start, tmp_path):
    made = start(Planned())
    written(made, tmp_path)
    write_run(made.store, "other", rows=50, seconds=20.0)
    write_run(made.store, "same", rows=100, seconds=44.0)

    plan = written(made, tmp_path, sample="never")

    assert plan["used"] == {"what": "run", "run": "same"}
    assert plan["seconds"]["value"] == 44.0
    assert plan["rows"] == 100


def test_without_anything_stored_samples_are_taken_or_it_is_refused(start, tmp_path):
    with pytest.raises(UserError, match=r"nothing is known of this job .* say --measure"):
        written(start(Planned()), tmp_path, sample="never")
    assert written(start(Planned()), tmp_path, sample="needed")["used"] == {"what": "samples"}


def test_elsewhere_a_task_that_cannot_be_measured_says_what_it_asks_for(start, tmp_path):
    with rehearsal():
        plan = written(start(Looped()), tmp_path)

    assert plan["workers"] == {"num_workers": 4, "cpus_per_worker": 2, "gpus_per_worker": 1}
    assert plan["seconds"] is None
    assert plan["used"] == {"what": "nothing", "task": "Looped"}
    assert load_plan(start(Looped()).store.storage, plan["key"]) is None


def test_a_task_that_cannot_be_measured_is_planned_by_its_last_run_or_refused(start, tmp_path):
    made = start(Looped())
    with pytest.raises(UserError, match="Looped cannot be planned on samples"):
        written(made, tmp_path)
    write_run(made.store, "same", rows=100, seconds=44.0)

    plan = written(made, tmp_path)

    assert plan["seconds"]["value"] == 44.0
    assert known_from(plan) == "run same, the last of the same job"


def test_what_is_expected_of_a_place_is_kept_apart(start):
    storage = start(Task()).store.storage
    there = {"seconds": {"value": 5}, "cost": None}

    save_expectation(storage, "key", "cluster:http://x:1", there)

    assert load_expectation(storage, "key", "cluster:http://x:1") == {
        "place": "cluster:http://x:1", **there,
    }  # fmt: skip
    assert load_expectation(storage, "key", "local") is None
    assert load_plan(storage, "key") is None
