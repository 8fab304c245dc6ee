"""The table of a search's trials, from the events of its run."""

from typing import Any

import pytest

from distml.errors import UserError
from distml.runs.trials import sorted_rows, trials_of


def started(t: float, number: int, **params: Any) -> dict[str, Any]:
    return {"t": t, "kind": "trial_started", "trial": number, "params": params}


def reported(t: float, number: int, step: int, score: float) -> dict[str, Any]:
    return {"t": t, "kind": "trial_reported", "trial": number, "step": step, "score": score}


def ended(t: float, number: int, reason: str, score: float | None, **params: Any) -> dict[str, Any]:
    told = {"t": t, "kind": "trial_ended", "trial": number, "reason": reason}
    return {**told, "step": 4, "score": score, "params": params}


EVENTS = [
    {"t": 0.0, "kind": "attempt", "number": 1},
    started(1, 0, lr=0.1),
    reported(2, 0, 2, 0.5),
    started(3, 1, lr=0.2),
    ended(4, 0, "completed", 0.7, lr=0.1),
    ended(5.5, 1, "scheduler", 0.3, lr=0.2),
    started(6, 2, lr=0.3),
    reported(7, 2, 1, 0.1),
]

ROWS = [
    {"trial": 1, "accuracy": 0.7, "state": "completed", "step": 4, "lr": 0.1, "seconds": 3},
    {"trial": 2, "accuracy": 0.3, "state": "stopped early", "step": 4, "lr": 0.2, "seconds": 2.5},
    {"trial": 3, "accuracy": 0.1, "state": "running", "step": 1, "lr": 0.3},
]


def test_each_trial_is_a_row_however_far_it_is() -> None:
    assert trials_of(EVENTS, "accuracy") == ROWS


def test_attempt_that_goes_on_tells_anew() -> None:
    assert trials_of([*EVENTS[:4], *EVENTS], "accuracy") == ROWS


def test_first_of_several_searches_is_shown() -> None:
    again = [started(9, 0, lr=0.9), ended(10, 0, "completed", 0.9, lr=0.9)]
    assert trials_of([*EVENTS, *again], "accuracy") == ROWS


def test_parameters_keep_apart_from_columns_of_the_table() -> None:
    row = trials_of([started(0, 0, state=3, trial=4)])[0]
    assert row == {"trial": 1, "score": None, "state": "running", "state=": 3, "trial=": 4}


def test_run_without_trials_has_no_table() -> None:
    assert trials_of([{"t": 0.0, "kind": "unit_done", "unit": "x"}]) == []


def test_rows_are_sorted_by_any_column_and_blanks_come_last() -> None:
    rows = [{"a": 2}, {"a": None}, {"a": 10}, {"a": "x"}, {"b": 1}]
    assert sorted_rows(rows, "a") == [{"a": 2}, {"a": 10}, {"a": "x"}, {"a": None}, {"b": 1}]
    assert sorted_rows(rows, "-a") == [{"a": "x"}, {"a": 10}, {"a": 2}, {"a": None}, {"b": 1}]


def test_unknown_column_names_the_nearest() -> None:
    with pytest.raises(UserError, match="--sort -acuracy: no column acuracy; did you mean accur"):
        sorted_rows(ROWS, "-acuracy")
