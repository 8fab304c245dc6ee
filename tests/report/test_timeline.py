import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.report.bars import Bar
from distml.report.timeline import timelines
from distml.runs.record import Attempt

ZERO = 1_000.0


def started(unit, t, member="tree", **more):
    return {"t": ZERO + t, "kind": "unit_started", "unit": unit, "member": member, **more}


def done(unit, t, seconds, worker="w", **more):
    told = {"member": "tree", "seconds": seconds, "worker": worker, "cached": False}
    return {"t": ZERO + t, "kind": "unit_done", "unit": unit, **told, **more}


def attempt(t=0.0):
    return {"t": ZERO + t, "kind": "attempt", "number": 1}


def test_a_fit_is_as_long_as_it_took_and_ends_when_it_was_heard_of():
    (line,) = timelines([attempt(), started("a", 1), done("a", 6, 2.0)])

    (lane,) = line.lanes
    (bar,) = lane.bars
    assert (bar.handed_s, bar.start_s, bar.end_s) == (1, 4, 6)
    assert lane.busy_s == 2
    assert lane.busy == 2 / 5
    assert line.percent(3) == 50


def test_each_worker_has_a_lane():
    events = [
        attempt(),
        started("a", 0),
        started("b", 0),
        done("a", 4, 4.0, "w1"),
        done("b", 4, 1.0, "w2"),
    ]
    (line,) = timelines(events)

    assert [(lane.name, lane.num_fits, lane.busy) for lane in line.lanes] == [
        ("w1", 1, 1.0),
        ("w2", 1, 0.25),
    ]


@pytest.mark.parametrize(
    ("ended", "state", "words"),
    [
        ([{"t": ZERO + 3, "kind": "unit_failed", "unit": "a", "error": "E"}], "failed", "E"),
        ([{"t": ZERO + 3, "kind": "unit_retried", "unit": "a", "reason": "R"}], "again", "R"),
        ([{"t": ZERO + 3, "kind": "log", "message": "x"}], "open", "not finished"),
    ],
    ids=["failed", "tried again", "never heard of again"],
)
def test_what_was_not_done_is_told_apart(ended, state, words):
    (line,) = timelines([attempt(), started("a", 1), *ended])

    (bar,) = line.lanes[0].bars
    assert (bar.state, bar.end_s) == (state, 3)
    assert words in bar.name


def test_a_unit_that_was_tried_again_is_there_twice():
    again = {"t": ZERO + 2, "kind": "unit_retried", "unit": "a", "reason": "lost"}
    events = [attempt(), started("a", 1), again, started("a", 3), done("a", 5, 1.0)]
    (line,) = timelines(events)

    states = [bar.state for lane in line.lanes for bar in lane.bars]
    assert sorted(states) == ["again", "done"]


def test_what_was_there_already_is_counted_and_not_drawn():
    phase = {"t": ZERO, "kind": "phase", "name": "fit"}
    (line,) = timelines([attempt(), phase, done("a", 1, 0.0, cached=True)])
    assert (line.cached, line.lanes) == (1, ())


def test_each_attempt_has_a_timeline_that_begins_at_zero():
    events = [
        attempt(),
        started("a", 1),
        attempt(9_000),
        started("a", 9_001),
        done("a", 9_002, 1.0),
    ]
    first, second = timelines(events)

    assert [line.number for line in (first, second)] == [1, 2]
    assert second.lanes[0].bars[0].end_s == 2


def test_the_last_phase_ends_when_the_attempt_did():
    ended = Attempt(started_at=ZERO, finished_at=ZERO + 10, host="h", pid=1)
    phases = [{"t": ZERO + t, "kind": "phase", "name": n} for t, n in ((1, "fit"), (4, "save"))]
    events = [attempt(), *phases]
    (line,) = timelines(events, [ended])

    assert [(bar.group, bar.start_s, bar.end_s) for bar in line.phases] == [
        ("fit", 1, 4),
        ("save", 4, 10),
    ]


@pytest.mark.parametrize(
    ("members", "groups"),
    [
        (["tree 1", "tree 12", "forest"], ["forest", "tree"]),
        ([f"cross-validation, fold {n} of 12" for n in (1, 12)], ["cross-validation"]),
        ([f"learning curve, {n} rows" for n in (340, 3399)], ["learning curve"]),
        (["7"], ["7"]),
        ([""], ["unit"]),
    ],
    ids=["members of a bagging", "folds", "sizes", "a mere number", "no name"],
)
def test_fits_for_the_same_purpose_have_one_colour(members, groups):
    events = [attempt()]
    for member in members:
        events += [started(member, 1, member=member), done(member, 3, 1.0)]
    (line,) = timelines(events)

    assert sorted(line.colours) == groups


def test_more_groups_than_colours_share_the_last():
    names = [f"member {chr(97 + k)}" for k in range(12)]
    (line,) = timelines([attempt(), *(started(n, 1, member=n) for n in names), attempt()][:-1])
    assert len(set(line.colours.values())) == 8


@given(spans=st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 20)), min_size=1, max_size=20))
def test_a_worker_is_busy_while_at_least_one_fit_goes_on(spans):
    events = [attempt()]
    for place, (start, took) in enumerate(spans):
        events += [started(str(place), start), done(str(place), start + took, took)]
    (line,) = timelines(sorted(events, key=lambda event: event["t"]))

    fine = 1000
    steps = [k / fine * 70 for k in range(fine)]
    brute = sum(any(s <= at < s + took for s, took in spans) for at in steps) * 70 / fine
    assert line.lanes[0].busy_s == pytest.approx(brute, abs=0.08 * len(spans))
    assert line.lanes[0].busy <= 1 + 1e-6


@pytest.mark.parametrize("number", [1, 2, 2_499, 2_500, 2_501, 6_000])
def test_however_many_fits_a_lane_stays_light_and_counts_all(number):
    events = [attempt()]
    for k in range(number):
        events += [started(str(k), k), done(str(k), k + 0.9, 0.9)]
    (line,) = timelines(events)

    (lane,) = line.lanes
    assert lane.num_fits == number
    assert len(lane.bars) <= 2_500
    assert lane.bars[-1].end_s == pytest.approx(number - 0.1)


@pytest.mark.parametrize("span_s", [0.0, 0.01, 0.7, 9, 59, 61, 3_599, 90_000, 9e6])
def test_the_axis_has_few_marks_and_begins_at_zero(span_s):
    (line,) = timelines([attempt(), {"t": ZERO + span_s, "kind": "phase", "name": "fit"}])

    assert len(line.ticks) <= 7
    assert all(0 <= place <= 1 for place, _ in line.ticks)
    assert not line.ticks or line.ticks[0][1] == "0 s"


def test_a_log_without_fits_and_phases_has_no_timeline():
    assert timelines([]) == []
    assert timelines([attempt(), {"t": ZERO, "kind": "log", "message": "x"}]) == []


def test_a_bar_is_done_unless_it_says_otherwise():
    assert Bar(name="", group="", handed_s=0, start_s=0, end_s=0).state == "done"


def test_of_very_many_workers_the_busiest_are_drawn():
    events = [attempt()]
    for k in range(300):
        events += [started(str(k), 0), done(str(k), 9, 9 - k / 100, worker=f"w{k:03}")]
    (line,) = timelines(events)

    assert line.num_workers == 300
    assert [lane.name for lane in line.lanes] == [f"w{k:03}" for k in range(100)]
