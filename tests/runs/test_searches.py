"""The trials of searches as events tell of them, and how a search is shown while it goes on."""

from typing import Any

import pytest

from distml.runs.progress import describe, lines, progress_of
from distml.runs.searches import main_searches, searches_of


def started(t: float = 0.0, **fields: Any) -> dict[str, Any]:
    told = {"search": 1, "metric": "roc_auc", "mode": "max", "trials": 4, "rows": 100}
    return {"t": t, "kind": "search_started", **told, **fields}


def trial(number: int, t: float, reason: str = "completed", **fields: Any) -> list[dict[str, Any]]:
    begun = {"t": t - 1, "kind": "trial_started", "search": 1, "trial": number, "params": {"C": t}}
    told = {"step": 9, "score": 0.5 + t / 100, "params": {"C": t}, "reason": reason}
    ended = {"t": t, "kind": "trial_ended", "search": 1, "trial": number, **told}
    return [begun | fields, ended | fields]


EVENTS = [
    {"t": 0.0, "kind": "attempt"},
    started(),
    *trial(0, 2.0),
    *trial(1, 4.0, "scheduler", step=3),
    *trial(2, 6.0, "failed", score=None),
    {"t": 7.0, "kind": "trial_started", "search": 1, "trial": 3, "params": {"C": 7.0}},
]


def test_a_trial_is_known_by_number_state_score_and_time():
    (search,) = searches_of(EVENTS)
    states = {n: (t.state, t.score, t.ended_s) for n, t in search.trials.items()}
    assert states == {
        1: ("completed", 0.52, 2.0),
        2: ("stopped early", 0.54, 4.0),
        3: ("failed", None, 6.0),
        4: ("running", None, None),
    }


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 1)])
def test_the_best_is_among_those_that_came_to_their_end(mode, best):
    events = [started(mode=mode), *trial(0, 2.0), *trial(1, 3.0), *trial(2, 4.0, "scheduler")]
    (search,) = searches_of(events)
    assert search.best is not None
    assert search.best.number == best


def test_a_resumed_search_knows_when_its_trials_first_ended():
    again = [{"t": 100.0, "kind": "attempt"}, started(100.0), *trial(0, 100.5), *trial(1, 103.0)]
    events = [{"t": 0.0, "kind": "attempt"}, started(), *trial(0, 2.0), {"t": 5.0, "kind": "log"}]
    (search,) = searches_of([*events, *again])
    assert [t.ended_s for t in search.trials.values()] == [2.0, 8.0]


def test_what_an_ensemble_repeats_on_its_folds_is_beside_the_point():
    small = [started(search=2, rows=50), *trial(0, 3.0, search=2)]
    found = main_searches(searches_of([started(), *trial(0, 2.0), *small]))
    assert [search.rows for search in found] == [100]


def test_a_search_that_goes_on_says_how_far_it_is_and_what_is_best():
    said = lines(progress_of(EVENTS), now=8.0)
    assert said[0] == (
        "search: 3 of 4 trials done, 1 running, 1 stopped early, 1 failed, about 3 s left"
    )
    assert said[1] == "best roc_auc 0.52, trial 1: C=2"
    assert progress_of(EVENTS).share == (3, 4)


def test_trials_to_come_count_in_what_is_left():
    fits = [
        {"t": t, "kind": kind, "unit": f"u{t}", "member": "trial 1", "seconds": 2.0}
        for t, kind in ((0.0, "unit_started"), (0.0, "unit_done"))
    ]
    plan = {"t": 0.0, "kind": "plan", "units": 1, "cached": 0}
    progress = progress_of([started(), plan, *fits, *trial(0, 2.0)])
    assert progress.eta_s(2.0) == 6.0


def fits(*seconds: float) -> list[dict[str, Any]]:
    """Units of some seconds each, one after the other, of twenty that are planned."""
    told = [{"t": 0.0, "kind": "plan", "units": 20, "cached": 0}]
    for number, each in enumerate(seconds):
        unit = {"t": 0.0, "unit": str(number), "member": f"trial {number}", "seconds": each}
        told += [{**unit, "kind": "unit_started"}, {**unit, "kind": "unit_done"}]
    return told


def begun(*numbers: int) -> list[dict[str, Any]]:
    return [event for number in numbers for event in trial(number, 1.0)[:1]]


def test_trials_of_so_many_folds_are_counted_before_one_has_ended():
    # Four trials of five folds, all planned; six more follow.
    events = [started(trials=10, max_step=5), *begun(0, 1, 2, 3), *fits(2.0, 2.0)]
    assert progress_of(events).eta_s(0.0) == (18 + 6 * 5) * 2.0


def test_nothing_is_said_of_trials_in_steps_until_one_has_ended():
    events = [started(trials=10, max_step=27, resource="epochs"), *begun(0, 1), *fits(1.0, 1.0)]
    assert progress_of(events).eta_s(0.0) is None
    # What three trials took is what one took that ended: further steps are in it.
    events += [*fits(*[3.0] * 22)[1:], *trial(2, 1.0, "scheduler", step=1)]
    assert progress_of(events).eta_s(0.0) == pytest.approx((2 * 1.0 + 20 * 3.0) * 9, rel=0.1)


def test_trials_of_a_former_attempt_count_by_their_own_time():
    events = [started(100.0), *trial(0, 100.1, seconds=30.0), *trial(1, 100.1, seconds=10.0)]
    (search,) = searches_of([*events, *begun(2)])
    assert search.eta_s(100.2) == 40.0


def test_after_a_search_units_are_counted_again():
    plan = {"t": 0.0, "kind": "plan", "units": 3, "cached": 0}
    over = {"t": 9.0, "kind": "search_ended", "search": 1}
    assert describe(progress_of([started(), plan, over]), 9.0) == "units: 0 of 3 done"


def test_a_search_that_announced_nothing_is_shown_as_well():
    (search,) = searches_of([event | {"search": None} for event in trial(0, 2.0)])
    assert (search.metric, search.total, len(search.ended)) == ("score", None, 1)


def test_a_trial_that_waits_for_its_turn_counts_as_done():
    told = {"kind": "trial_reported", "search": 1, "trial": 3, "step": 9, "score": 0.9}
    (search,) = searches_of([{**EVENTS[1], "max_step": 9}, *EVENTS[2:], {"t": 8.0, **told}])
    assert (len(search.ended), search.best and search.best.number) == (4, 4)


def test_a_parameter_that_is_an_estimator_is_named_in_short():
    long = "HistGradientBoostingClassifier(early_stopping=False, random_state=0)"
    events = [started(), *trial(0, 2.0, params={"model": long})]
    said = lines(progress_of(events), now=3.0)[1]
    assert said.endswith("trial 1: model=HistGradientBoostingClassifier(…)")
