import dataclasses
import json

import pytest

from distml.errors import StorageError
from distml.runs.record import Attempt, RunRecord, RunStatus, new_run_id

RECORD = RunRecord(
    run_id="20260101-000000-x-ab12",
    job_file="jobs/größe.py",
    parameters={"rows": 50, "path": "é"},
    launcher="local",
    seed=3,
    git={"commit": None, "dirty": True},
    created_at=10.0,
    started_at=11.0,
    finished_at=15.5,
    status=RunStatus.FAILED,
    reason="why",
    metrics={"test": {"f1": float("nan"), "accuracy": 0.5}},
    table=[{"model": "dummy", "fit_s": 0.1}],
    attempts=(
        Attempt(started_at=11.0, host="h", pid=1, finished_at=12.0, status=RunStatus.FAILED),
        Attempt(started_at=14.0, host="h", pid=2, finished_at=15.5, status=RunStatus.FAILED),
    ),
)


def refuse(name: str) -> None:
    raise ValueError(name)


def test_a_record_comes_back_but_for_numbers_that_json_lacks() -> None:
    back = RunRecord.from_json(RECORD.to_json())
    assert back.metrics == {"test": {"f1": None, "accuracy": 0.5}}
    assert dataclasses.replace(back, metrics=RECORD.metrics) == RECORD
    assert isinstance(back.status, RunStatus)
    assert isinstance(back.attempts[0], Attempt)
    assert back.as_stored() == back


def test_a_record_is_strict_json_with_readable_text() -> None:
    text = RECORD.to_json()
    json.loads(text, parse_constant=refuse)
    assert "größe" in text


def test_fields_of_later_versions_are_passed_over_and_missing_ones_have_defaults() -> None:
    fields = json.loads(RECORD.to_json())
    fields["invented_later"] = 1
    fields["attempts"][0]["invented_later"] = 1
    del fields["metrics"]
    back = RunRecord.from_json(json.dumps(fields))
    assert back == dataclasses.replace(RECORD, metrics={})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"run_id": "x", "status": "ODD"}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(StorageError, match="not a run record"):
        RunRecord.from_json(text)


def test_the_time_of_a_run_is_that_of_its_attempts() -> None:
    assert RECORD.seconds == 2.5
    assert dataclasses.replace(RECORD, attempts=()).seconds is None
    ongoing = Attempt(started_at=0.0, host="h", pid=1)
    running = dataclasses.replace(RECORD, status=RunStatus.RUNNING, attempts=(ongoing,))
    assert (running.seconds or 0) > 1e9
    # A driver that died did not say when: its time is not known, rather than all time since.
    assert dataclasses.replace(running, status=RunStatus.FAILED).seconds == 0


def test_states_are_final_or_not() -> None:
    assert {status for status in RunStatus if not status.is_final} == {
        RunStatus.PENDING,
        RunStatus.RUNNING,
    }


def test_run_ids_are_distinct_and_fit_into_paths() -> None:
    names = {new_run_id("jobs/ätna job!.py") for _ in range(20)}
    assert len(names) > 15
    assert all("/" not in name and " " not in name and "ätna_job_" in name for name in names)
    assert RECORD.job_name == "größe"
