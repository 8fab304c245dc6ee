from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.runs.progress import Progress, advance, describe, lines, progress_of


def event(kind: str, t: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "t": t, **fields}


def fit(unit: str, start: float, end: float, member: str = "m") -> list[dict[str, Any]]:
    return [
        event("unit_started", start, unit=unit, member=member),
        event("unit_done", end, unit=unit, member=member, seconds=end - start),
    ]


def test_units_are_counted_as_they_come() -> None:
    progress = progress_of(
        [
            event("phase", name="fit"),
            event("plan", units=6, cached=2),
            event("unit_done", unit="c1", member="m", seconds=0.0, cached=True),
            *fit("a", 0, 4),
            event("unit_started", 4, unit="b", member="m"),
            event("unit_started", 4, unit="c", member="n"),
            event("unit_failed", 5, unit="c", member="n", error="ValueError: no"),
            event("something_new", 5, unit="z"),
        ]
    )
    counts = (progress.total, progress.cached, progress.done, progress.failed, progress.waiting)
    assert counts == (6, 2, 1, 1, 1)
    assert list(progress.running) == ["b"]
    assert progress.message == "n failed: ValueError: no"
    assert describe(progress, 4.0) == (
        "fit: 3 of 6 done, 2 cached, 1 running, 1 failed, about 4 s left"
    )


def test_units_that_join_the_queue_add_up() -> None:
    progress = progress_of(event("plan", units=n, cached=n // 2) for n in (1, 2, 3))
    assert (progress.total, progress.cached) == (6, 2)
    assert advance(progress, event("plan", units=1)).total == 7


def test_a_unit_that_is_tried_again_is_not_running_meanwhile() -> None:
    progress = progress_of(
        [
            event("plan", units=1),
            event("unit_started", unit="a", member="m"),
            event("unit_retried", unit="a", member="m", reason="out of memory"),
        ]
    )
    assert (progress.running, progress.retried, progress.waiting) == ({}, 1, 1)
    assert progress.message == "m again: out of memory"


def test_a_new_attempt_begins_anew() -> None:
    killed = [event("plan", units=5), event("unit_started", unit="a", member="m")]
    assert progress_of([*killed, event("attempt", number=2)]) == Progress()


@pytest.mark.parametrize(
    ("events", "now", "expected"),
    [
        pytest.param([event("plan", units=3)], 9, None, id="nothing-known"),
        pytest.param([event("plan", units=3), *fit("a", 0, 10)], 10, 20, id="one-at-a-time"),
        pytest.param(
            [
                event("plan", units=6),
                event("unit_started", 0, unit="b", member="m"),
                *fit("a", 0, 10),
                event("unit_done", 10, unit="b", member="m", seconds=10.0),
            ],
            10,
            20,
            id="two-at-a-time",
        ),
        pytest.param(
            [
                event("plan", units=3),
                *fit("a", 0, 10, "slow"),
                *fit("b", 10, 12, "fast"),
                event("unit_started", 12, unit="c", member="slow"),
            ],
            15,
            7,
            id="by-member",
        ),
        pytest.param([event("plan", units=1), *fit("a", 0, 10)], 10, 0, id="all-done"),
    ],
)
def test_the_rest_is_estimated_from_what_was_measured(
    events: list[dict[str, Any]], now: float, expected: float | None
) -> None:
    assert progress_of(events).eta_s(now) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1:00 min"), (3599, "59:59 min"), (7320, "2:02 h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    progress = progress_of([event("plan", units=2), *fit("a", 0, seconds)])
    assert describe(progress, seconds).endswith(f"about {text} left")


OUTCOMES = st.sampled_from(["unit_done", "unit_failed", "unit_retried", ""])


@given(st.integers(0, 9), st.lists(OUTCOMES, max_size=9))
def test_every_unit_is_in_exactly_one_place(cached: int, outcomes: list[str]) -> None:
    progress = progress_of([event("plan", units=9 + cached, cached=cached)])
    for number, outcome in enumerate(outcomes):
        unit = str(number)
        progress = advance(progress, event("unit_started", unit=unit, member="m"))
        if outcome:
            end = event(outcome, unit=unit, member="m", seconds=1.0, error="", reason="")
            progress = advance(progress, end)
        places = (progress.cached, progress.done, progress.failed, len(progress.running))
        assert sum(places) + progress.waiting == progress.total == 9 + cached


def started(unit: str | None = None, **fields: Any) -> dict[str, Any]:
    whose = {} if unit is None else {"unit": unit, "member": unit}
    return event("training_started", 0.0, epochs=9, steps=90, step=0, **whose, **fields)


def test_networks_in_units_have_a_line_each_until_their_unit_is_done() -> None:
    names = ["a", "b", "c", "d"]
    events = [event("plan", units=5)]
    events += [event("unit_started", 0.0, unit=name, member=name) for name in names]
    events += [started(name) for name in names]
    events += [event("epoch", 1.0, unit="b", step=10, metrics={"epoch": 0.0, "train_loss": 0.5})]
    progress = progress_of(events)
    assert progress.training is None
    assert lines(progress, 1.0)[1:] == [
        "a: epoch 1 of 9, step 0 of 90",
        "b: epoch 2 of 9, step 10 of 90, loss 0.5",
        "c: epoch 1 of 9, step 0 of 90",
    ]
    for end in ("unit_done", "unit_failed", "unit_retried"):
        progress = advance(progress, event(end, 2.0, unit="b", member="b", seconds=1.0))
        assert "b" not in progress.trainings
