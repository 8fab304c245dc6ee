import dataclasses
import time

import pytest

from distml.cli import main
from distml.runs.record import Attempt, RunRecord, RunStatus
from distml.runs.store import RunStore
from distml.runs.submissions import Submission, save_submission
from distml.verbs.status import is_to_go_on, running_facts, waiting_facts

pytestmark = pytest.mark.filterwarnings("default")

NOW = 1_800_000_000.0
NOTE = Submission(
    run_id="one",
    submission_id="one-2",
    launcher="cluster:http://head:8265",
    submitted_at=NOW - 90,
    prices={"head": 0.5, "spot": 0.25},
)


def record(status=RunStatus.RUNNING):
    ended = None if status is RunStatus.RUNNING else NOW
    attempt = Attempt(started_at=NOW - 3600, host="h", pid=1, finished_at=ended, status=status)
    return RunRecord(
        run_id="one", job_file="x.py", launcher=NOTE.launcher, status=status, attempts=(attempt,)
    )


def events(*more):
    started = [
        {"kind": "unit_started", "unit": name, "member": "m", "t": NOW - 3000} for name in "abc"
    ]
    done = {"kind": "unit_done", "unit": "a", "member": "m", "seconds": 60.0, "t": NOW - 2000}
    return [
        {"kind": "attempt", "t": NOW - 3600},
        {"kind": "nodes", "t": NOW - 3600, "nodes": {"head": 1, "spot": 2}},
        {"kind": "plan", "units": 10, "cached": 2, "t": NOW - 3500},
        *started,
        done,
        *more,
    ]


def test_a_run_that_goes_on_says_units_nodes_and_cost_by_now():
    told = dict(running_facts(record(), NOTE, events(), NOW))

    assert told["units"] == "3 of 10 done, 2 running, 2 cached"
    assert told["nodes"] == "1 head, 2 spot"
    assert told["cost"] == "1.00 USD so far, 1.00 USD an hour"
    assert told["now"].startswith("units: 3 of 10 done")


def test_a_run_that_has_ended_says_what_it_came_to():
    gone = {"kind": "nodes", "t": NOW - 1800, "nodes": {}}

    told = dict(running_facts(record(RunStatus.SUCCEEDED), NOTE, events(gone), NOW))

    assert told["nodes"] == "1 head, 2 spot at most"
    assert told["cost"] == "0.50 USD"
    assert "now" not in told


def test_a_type_without_a_price_is_named():
    other = {"kind": "nodes", "t": NOW - 60, "nodes": {"head": 1, "mine": 1}}

    told = dict(running_facts(record(), NOTE, events(other), NOW))

    assert told["cost"] == "not known: no price of mine"


def test_a_run_on_this_machine_has_neither_nodes_nor_cost():
    told = dict(running_facts(record(), None, [{"kind": "attempt", "t": NOW}], NOW))

    assert not {"nodes", "cost", "units"} & told.keys()


def test_a_run_that_waits_says_for_how_long_where_and_why():
    told = dict(waiting_facts(NOTE, "no node has 8 GPUs", NOW))

    assert told == {
        "run": "one",
        "status": "PENDING for 1:30 min",
        "on": "cluster:http://head:8265",
        "waits": "no node has 8 GPUs",
    }


@pytest.mark.parametrize(
    ("status", "submission_id", "waits"),
    [
        (RunStatus.STOPPED, "one-2", True),
        (RunStatus.FAILED, "one-2", True),
        (RunStatus.FAILED, "one", False),
        (RunStatus.RUNNING, "one-2", False),
        (RunStatus.SUCCEEDED, "one-2", False),
    ],
)
def test_a_run_that_was_handed_over_again_waits_once_more(status, submission_id, waits):
    submission = dataclasses.replace(NOTE, submission_id=submission_id)

    assert is_to_go_on(record(status), submission) is waits


@pytest.fixture
def ran(forest_job, capfd):
    """A working directory with the run `one` of the forest."""
    assert main(["run", "forest.py", "--on", "debug", "--run-id", "one"]) == 0
    capfd.readouterr()
    return forest_job


def test_the_command_tells_of_a_run(ran, capfd):
    assert main(["status", "one"]) == 0

    output = capfd.readouterr().out
    assert "SUCCEEDED after" in output
    assert "on       debug" in output


def test_a_place_that_does_not_answer_is_said_of_a_run_that_waits(ran, capfd):
    waiting = Submission(
        run_id="two",
        submission_id="two",
        launcher="cluster:http://127.0.0.1:9",
        submitted_at=time.time(),
    )
    save_submission(RunStore("runs").storage, waiting)

    assert main(["status", "two"]) == 0

    assert "not known: http://127.0.0.1:9 does not answer" in capfd.readouterr().out


def test_an_unknown_run_is_refused(ran, capfd):
    assert main(["status", "onee"]) == 2
    assert "did you mean one?" in capfd.readouterr().err
