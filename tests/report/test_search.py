"""What the report says of searches, from the events of a run that is over or goes on."""

from typing import Any

import pytest

from distml.report import report_html
from distml.report.content import gather
from distml.report.search import searches_in
from distml.runs.record import RunStatus
from tests.report.test_page import assert_sound, headings, parse, text_of

ZERO = 1_000.0
NASTY = "<script>alert('x')</script>"


def events(num_trials: int = 12, **changes: Any) -> list[dict[str, Any]]:
    """A search in steps: every third trial comes to its end, the fifth fails."""
    told: list[dict[str, Any]] = [{"t": ZERO, "kind": "attempt"}]
    started = {"metric": "roc_auc", "mode": "max", "trials": 20, "rows": 100, "resource": "rounds"}
    told.append({"t": ZERO, "kind": "search_started", "search": 1, **started, **changes})
    for number in range(num_trials):
        lr, reason = 10.0 ** -(number % 4), "scheduler" if number % 3 else "completed"
        params = {"lr": lr, "kind": NASTY if number % 2 else "tree", "depth": number % 5}
        named = {"search": changes.get("search", 1), "trial": number, "params": params}
        end = {"reason": reason, "step": 9 if reason == "completed" else 3, "seconds": 1.5}
        end |= {"score": 0.7 + 0.02 * (number % 4), "spread": 0.01}
        if number == 4:
            end |= {"reason": "failed", "score": None, "spread": None}
        told.append({"t": ZERO + 10 * number, "kind": "trial_started", **named})
        told.append({"t": ZERO + 10 * number + 9, "kind": "trial_ended", **named, **end})
    return told


def searched(store: Any, run_id: str) -> Any:
    (found,) = searches_in(gather(store, run_id))
    return found


def test_page_shows_the_search_between_features_and_data(store, make_run, binary):
    page = report_html(store, make_run(binary, events()))
    assert_sound(page)
    titles = [text for _, text in headings(parse(page))]
    wanted = ["Search", "The best configuration, trial 4", "Best score over trials"]
    wanted += ["Best score over time", "Importance of parameters", "All trials"]
    assert [title for title in titles if title in wanted] == wanted
    assert NASTY not in page
    assert ">nan<" not in page.lower()


def test_the_table_has_the_best_first_and_numbers_to_sort_by(store, make_run):
    found = searched(store, make_run(None, events()))
    assert found.head == ("trial", "roc_auc", "std", "state", "step", "lr", "kind", "depth", "took")
    assert [row[0][1] for row in found.rows[:4]] == [4, 7, 10, 1]
    assert found.rows[-1][3][0] == "failed"
    assert found.reasons == {"stopped early": "7", "completed": "4", "failed": "1"}
    assert dict(found.best)["lr"] == "0.0010"


def test_a_run_under_way_shows_its_search(store, make_run):
    told = [*events(5), {"t": ZERO + 99, "kind": "trial_started", "trial": 5, "search": 1}]
    told[-1]["params"] = {"lr": 0.1, "kind": "tree", "depth": 1}
    page = report_html(store, make_run(None, told, status=RunStatus.RUNNING))
    said = text_of(parse(page))
    assert "5 of 20 trials done, 1 running" in said


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_trials_make_a_page_as_well(store, make_run, number):
    page = report_html(store, make_run(None, events(number)))
    assert_sound(page)
    assert ('id="search"' in page) is (number > 0)


def test_a_minimum_is_searched_downwards(store, make_run):
    found = searched(store, make_run(None, events(mode="min", metric="loss")))
    assert found.best_number == 1
    assert "loss 0.7000" in found.figures[0].svg


def test_searches_on_folds_are_left_out(store, make_run):
    told = [*events(), *events(search=2, rows=50)[1:]]
    assert len(searches_in(gather(store, make_run(None, told)))) == 1


def test_thousands_of_trials_stay_within_the_size_of_a_page(store, make_run):
    page = report_html(store, make_run(None, events(2_000)))
    assert len(page.encode()) < 3_000_000
    assert "The best 500 of 2000 trials" in page


def test_few_trials_are_counted_in_whole_numbers(store, make_run):
    found = searched(store, make_run(None, events(3)))
    assert ">1.5<" not in found.figures[0].svg


@pytest.mark.parametrize(
    ("changes", "middle"),
    [({"logarithmic": ["lr"]}, "0.316"), ({}, "0.55")],
    ids=["drawn-by-logarithm", "drawn-evenly"],
)
def test_an_axis_has_the_scale_its_values_were_drawn_by(store, make_run, changes, middle):
    found = searched(store, make_run(None, events(2, **changes)))
    assert f">{middle}<" in found.parallel.svg


def test_who_went_on_from_whom_is_a_table(store, make_run):
    told = events(3)
    went = {"t": ZERO + 40, "kind": "trial_exploits", "search": 1, "trial": 2, "donor": 0}
    told.append({**went, "step": 4, "params": {"lr": 0.02, "kind": "tree", "depth": 2}})
    run_id = make_run(None, told)
    assert searched(store, run_id).exploits == (("3", "1", "4", "lr 0.0100 → 0.0200"),)
    page = report_html(store, run_id)
    assert_sound(page)
    assert "went on from trial" in page
