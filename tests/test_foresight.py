"""What is said of a job before it runs, and put beside what it took."""

import json

import pytest

from distml.errors import UserError
from distml.foresight import observed, write_plan
from distml.job import Job, Result
from distml.runs.plans import load_plan, plan_key
from distml.runs.record import Attempt, RunRecord, RunStatus
from distml.runs.store import RunStore
from distml.start import Start


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
