"""A plan that is read off a run: what its events say of units, stages and phases."""

import pytest

from distml.runs.measured import plan_from_run
from distml.runs.record import Attempt, RunRecord, RunStatus

WORKERS = {"num_workers": 2, "cpus_per_worker": 1, "gpus_per_worker": 0}


def record(**details):
    attempt = Attempt(
        started_at=0.0, finished_at=100.0, host="h", pid=1, status=RunStatus.SUCCEEDED
    )
    return RunRecord(
        run_id="one",
        job_file="x.py",
        status=RunStatus.SUCCEEDED,
        attempts=(attempt,),
        details={"rows": {"train": 80, "test": 20}, "matrix": ["a", "b"], **details},
    )


def event(t, kind, **fields):
    return {"t": float(t), "kind": kind, **fields}


def unit(name, start, end, *, cpus=1, cached=False, **fields):
    began = event(start, "unit_started", unit=name, member="m", rows=50, cpus=cpus, **fields)
    peak = {"peak_bytes": 100, "worker": "w", "cached": cached}
    ended = event(end, "unit_done", unit=name, member="m", rows=50, seconds=end - start, **peak)
    return began, ended


def stack():
    """Two folds side by side from 15 on, then the final one; Ray took from 5 to 14."""
    one, two, final = (
        unit("m, fold 1 of 2", 15, 25),
        unit("m, fold 2 of 2", 15, 35),
        unit("final", 36, 40, cpus=2),
    )
    return [
        event(0, "attempt", number=1),
        event(0, "phase", name="read"),
        event(5, "phase", name="fit"),
        event(14, "plan", units=1, cached=0),
        event(14, "plan", units=1, cached=0),
        one[0],
        two[0],
        one[1],
        two[1],
        event(36, "plan", units=1, cached=0),
        *final,
        event(50, "phase", name="save"),
    ]


def test_units_of_one_kind_are_told_together_stage_by_stage():
    plan = plan_from_run(record(), stack())

    assert plan["left"] == [{"m, fold # of #": 2}, {"final": 1}]
    assert plan["stages"] == [2, 1]
    fold, final = plan["members"]
    assert (fold["fit"], fold["units"], fold["rows"]) == ("m, fold # of #", 2, 50)
    assert fold["seconds"] == pytest.approx({"value": 15.0, "low": 10 / 1.15, "high": 20 * 1.15})
    assert final["seconds"]["value"] == pytest.approx(8.0)  # on two threads for four seconds
    assert fold["peak_bytes"]["value"] == 100


def test_phases_are_what_no_unit_ran_in_and_the_start_of_ray_is_apart():
    plan = plan_from_run(record(), stack())

    assert plan["start_seconds"]["value"] == pytest.approx(9.0)
    values = {name: span["value"] for name, span in plan["phases"].items()}
    # Of the fit: a second before the folds, one before the final, ten after it.
    assert values == pytest.approx({"read": 5.0, "fit": 12.0, "save": 50.0})
    assert plan["seconds"]["value"] == 100.0


def test_workers_of_a_unit_are_kept_and_its_time_is_theirs():
    began, ended = unit("net, all rows", 1, 5, cpus=2, workers=WORKERS)

    [member] = plan_from_run(record(), [event(0, "attempt", number=1), began, ended])["members"]

    assert member["workers"] == WORKERS
    assert member["seconds"]["value"] == pytest.approx(4.0)


def test_units_that_were_stored_count_as_they_took_and_make_no_stages():
    done = [unit(f"m, fold {n} of 2", n, n + 3, cached=True)[1] for n in (1, 2)]
    events = [event(0, "plan", units=1, cached=1), done[0], event(0, "plan", units=1, cached=1)]

    plan = plan_from_run(record(), [*events, done[1]])

    assert plan["left"] == [{"m, fold # of #": 2}]
    assert plan["members"][0]["seconds"]["value"] == pytest.approx(3.0)


def test_what_the_run_was_seen_to_take_of_memory_is_in_it():
    assert plan_from_run(record(), [])["memory"]["peak_bytes"] is None
    plan = plan_from_run(record(actual={"seconds": 1.0, "peak_bytes": 1000}), [])
    assert plan["memory"]["driver_bytes"]["value"] == 1000
    assert plan["memory"]["matrix_bytes"]["value"] == 8 * 80 * 2
    assert plan["rows"] == 100
    assert plan["left"] == plan["members"] == []


def test_an_attempt_that_was_broken_off_counts_what_it_finished():
    lost, _ = unit("m, fold 1 of 2", 1, 9)
    one = unit("m, fold 1 of 2", 21, 24)
    again = [event(20, "attempt", number=2), event(20, "phase", name="fit"), *one]

    plan = plan_from_run(record(), [event(0, "attempt", number=1), lost, *again])

    assert [member["units"] for member in plan["members"]] == [1]
    assert plan["phases"]["fit"]["value"] == pytest.approx(1.0 + 76.0)
