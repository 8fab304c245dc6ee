"""The table of a run's trials: its columns, and its order."""

import pytest

from distml.errors import UserError
from distml.runs.search_words import trials_title
from distml.runs.searches import Search, Trial
from distml.runs.trials import best_of, rows_of, sorted_rows

SEARCH = Search(
    metric="accuracy",
    resource="n_estimators",
    trials={
        1: Trial(number=1, params={"lr": 0.1}, state="completed", score=0.7, step=4, seconds=3.0),
        2: Trial(number=2, params={"lr": 0.2}, state="failed"),
        3: Trial(number=3, params={"lr": 0.3}, score=0.1, spread=0.02, step=1),
    },
)


def test_each_trial_is_a_row_however_far_it_is() -> None:
    assert rows_of([SEARCH]) == [
        {
            "trial": 1, "accuracy": 0.7, "state": "completed", "step": 4, "lr": 0.1, "seconds": 3.0,
        },
        {"trial": 2, "accuracy": None, "state": "failed", "step": 0, "lr": 0.2},
        {"trial": 3, "accuracy": 0.1, "±": 0.02, "state": "running", "step": 1, "lr": 0.3},
    ]  # fmt: skip


def test_several_searches_are_told_apart() -> None:
    other = Search(trials={1: Trial(number=1, params={})})
    assert [row["search"] for row in rows_of([SEARCH, other])] == [1, 1, 1, 2]


def test_parameters_keep_apart_from_columns_of_the_table() -> None:
    trial = Trial(number=1, params={"state": 3, "trial": 4})
    row = rows_of([Search(trials={1: trial})])[0]
    assert row == {"trial": 1, "score": None, "state": "running", "state=": 3, "trial=": 4}


def test_rows_are_sorted_by_any_column_and_blanks_come_last() -> None:
    rows = [{"a": 2}, {"a": None}, {"a": 10}, {"a": "x"}, {"b": 1}]
    assert sorted_rows(rows, "a") == [{"a": 2}, {"a": 10}, {"a": "x"}, {"a": None}, {"b": 1}]
    assert sorted_rows(rows, "-a") == [{"a": "x"}, {"a": 10}, {"a": 2}, {"a": None}, {"b": 1}]


def test_unknown_column_names_the_nearest() -> None:
    rows = rows_of([SEARCH])
    with pytest.raises(UserError, match="--sort -acuracy: no column acuracy; did you mean accur"):
        sorted_rows(rows, "-acuracy")


def test_a_trial_that_failed_says_why() -> None:
    trial = Trial(number=1, params={}, state="failed", error="ValueError: bad a")
    assert rows_of([Search(trials={1: trial})])[0]["reason"] == "ValueError: bad a"


def test_the_best_few_are_taken() -> None:
    assert list(best_of(SEARCH, 1).trials) == [1]
    assert sorted(best_of(SEARCH, None).trials) == [1, 2, 3]


@pytest.mark.parametrize(
    ("shown", "title"),
    [(30, "trials"), (20, "trials, the best 20 of 30; --sort trial shows all")],
    ids=["all", "some"],
)
def test_a_table_of_some_trials_says_how_to_see_all(shown: int, title: str) -> None:
    assert trials_title({"search": {"trials": 30}}, shown) == title
