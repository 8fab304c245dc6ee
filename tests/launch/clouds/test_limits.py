"""What a cluster may take and whether that is reached: pure decisions."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.launch.clouds.limits import Plan, State, look, over_cost, rate, verdict

HOUR = 3600.0
PLAN = Plan(cluster="x", prices={"head": 0.2, "worker": 0.6}, poll_s=10)
START = State(started_at=1000.0, seen_at=1000.0)


def seen(plan, *looks, state=START):
    """The state after looks, each (seconds after the start, node types, jobs)."""
    for after, types, jobs in looks:
        state = look(plan, state, 1000.0 + after, types, jobs)
    return state


def test_rate_takes_the_dearest_price_for_a_kind_without_one():
    assert rate(["head", "worker", "worker"], PLAN.prices) == pytest.approx(1.4)
    assert rate(["head", "unheard"], PLAN.prices) == pytest.approx(0.8)
    assert rate(["head"], {}) == 0


def test_cost_is_added_up_look_by_look_at_the_dearer_of_both_ends():
    state = seen(PLAN, (0, ["head"], {}), (HOUR, ["head", "worker"], {}), (2 * HOUR, ["head"], {}))

    assert state.cost == pytest.approx(0.8 + 0.8)
    assert state.rate == pytest.approx(0.2)
    assert state.nodes == {"head": 1}


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 9)), max_size=8))
def test_cost_never_falls_and_is_never_less_than_what_runs_at_both_ends(steps):
    state, now, least = look(PLAN, START, 1000.0, [], {}), 1000.0, 0.0
    for after, workers in steps:
        now += after
        new = look(PLAN, state, now, ["worker"] * workers, {})
        least += after / HOUR * min(new.rate, state.rate)
        assert new.cost >= state.cost
        state = new
    assert state.cost >= least - 1e-6


def test_cluster_ends_at_its_hours():
    plan = replace(PLAN, max_hours=2)

    assert verdict(plan, seen(plan, (2 * HOUR - 1, ["head"], {"a": "RUNNING"}))) is None
    reason = verdict(plan, seen(plan, (2 * HOUR, ["head"], {"a": "RUNNING"})))
    assert reason == "it has been up for 2.00 of at most 2 hours"


def test_cluster_ends_one_look_before_its_cost_would_be_passed():
    plan = replace(PLAN, max_cost=0.2, poll_s=36)

    busy = {"a": "RUNNING"}
    assert verdict(plan, seen(plan, (0, ["head"], busy), (0.98 * HOUR, ["head"], busy))) is None
    state = seen(plan, (0, ["head"], busy), (0.991 * HOUR, ["head"], busy))
    assert state.cost < 0.2
    assert "0.20 of at most 0.2 US dollars" in verdict(plan, state)


def test_cluster_without_a_job_ends_when_it_has_been_idle_for_long():
    plan = replace(PLAN, idle_s=600)

    idle = seen(plan, (0, [], {"a": "RUNNING"}), (100, [], {"a": "FAILED"}))
    assert verdict(plan, idle) is None
    assert verdict(plan, seen(plan, (699, [], {}), state=idle)) is None
    assert "no job has run for 10.0 of at most 10 minutes" in verdict(
        plan, seen(plan, (700, [], {}), state=idle)
    )
    assert verdict(plan, seen(plan, (700, [], {"b": "PENDING"}), state=idle)) is None


def test_job_that_waits_for_ever_does_not_keep_a_cluster_up():
    plan = replace(PLAN, idle_s=600.0)
    waits = {"a": "PENDING"}
    state = seen(plan, (0, ["head"], waits), (1700, ["head"], waits))
    assert state.idle_since is None

    state = seen(plan, (1800, ["head"], waits), (2500, ["head"], waits), state=state)
    assert verdict(plan, state) == "no job has run for 11.7 of at most 10 minutes"

    # One that came later is waited for, and one that runs as long as it takes.
    waits["b"] = "PENDING"
    assert verdict(plan, seen(plan, (2600, ["head"], waits), state=state)) is None
    waits["b"] = "RUNNING"
    assert verdict(plan, seen(plan, (9999, ["head"], waits), state=state)) is None


def test_jobs_that_cannot_be_asked_for_do_not_keep_a_cluster_up():
    plan = replace(PLAN, idle_s=600)

    state = seen(plan, (0, [], {"a": "RUNNING"}), (10, [], None), (610, [], None))
    assert state.jobs == {"a": "RUNNING"}
    assert verdict(plan, state) is not None


def test_cluster_ends_a_little_after_the_run_it_was_started_for():
    plan = replace(PLAN, idle_s=6000, down_after=("a",), down_s=60)

    running = seen(plan, (0, [], {"a": "RUNNING"}))
    ended = seen(plan, (10, [], {"a": "SUCCEEDED"}), state=running)
    assert verdict(plan, running) is None
    assert verdict(plan, ended) is None
    assert "has ended: a" in verdict(plan, seen(plan, (70, [], {"a": "SUCCEEDED"}), state=ended))
    other = seen(plan, (70, [], {"a": "SUCCEEDED", "b": "RUNNING"}), state=ended)
    assert verdict(plan, other) is None


def test_run_that_never_came_leaves_the_cluster_to_its_idle_limit():
    plan = replace(PLAN, idle_s=600, down_after=("a",), down_s=60)

    waiting = seen(plan, (0, [], {}), (100, [], {}))
    assert verdict(plan, waiting) is None
    assert "no job has run" in verdict(plan, seen(plan, (600, [], {}), state=waiting))


def test_job_stops_at_its_own_cost_and_the_cluster_goes_on():
    plan = replace(PLAN, job_costs={"b": 0.4})
    both = {"a": "RUNNING", "b": "RUNNING"}

    state = seen(plan, (0, ["head"], {"a": "RUNNING"}), (HOUR, ["head"], both))
    assert state.cost_before == {"b": pytest.approx(0.2)}
    assert over_cost(plan, state) == []
    state = seen(plan, (3 * HOUR, ["head"], both), state=state)
    assert over_cost(plan, state) == ["b"]
    assert verdict(plan, state) is None
    assert over_cost(plan, seen(plan, (4 * HOUR, ["head"], {"b": "STOPPED"}), state=state)) == []


def test_cluster_without_limits_goes_on():
    state = seen(PLAN, (0, ["head"], {}), (1000 * HOUR, ["head"], {}))

    assert verdict(PLAN, state) is None
    assert state.cost == pytest.approx(200)
