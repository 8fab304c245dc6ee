import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.errors import UserError
from distml.runs.comparison import compare
from distml.runs.record import RunRecord, RunStatus

SPLIT = {"seed": 0, "sets": [{"name": "hold_out", "rule": "ByHash", "fraction": 0.2, "key": None}]}
DETAILS = {
    "data": {"uri": "data", "fingerprint": "f00"},
    "rows": {"train": 80, "hold_out": 20},
    "split": SPLIT,
    "features": ["a", "b"],
}


def record(run_id="a", **changes):
    fields = {
        "job_file": "jobs/x.py",
        "parameters": {"trees": 50},
        "seed": 0,
        "status": RunStatus.SUCCEEDED,
        "versions": {"python": "3.11", "sklearn": "1.9.1"},
        "metrics": {"hold_out": {"r2": 0.5}},
        "details": DETAILS,
    }
    return RunRecord(run_id=run_id, **{**fields, **changes})


def evaluation(score=0.5, half=0.1, *, task="regression", label="price", model="forest"):
    interval = {"value": score, "low": score - half, "high": score + half}
    return {
        "task": task,
        "label": label,
        "model": model,
        "level": 0.95,
        "sets": {"hold_out": {"rows": 20, "scores": {model: {"r2": interval}}}},
    }


def scored(score):
    return {"hold_out": {"r2": score}}


def only_score(*arguments, **options):
    (score,) = compare(*arguments, **options).scores
    return score


def test_a_run_beside_itself_differs_in_nothing():
    one = record()

    comparison = compare(one, one, evaluation(), evaluation(), source_a="x", source_b="x")

    assert comparison.differences == ()
    assert comparison.changed == ()
    assert comparison.code == ""
    assert comparison.same_rows is True
    assert [score.verdict for score in comparison.scores] == ["equal"]


@pytest.mark.parametrize(
    ("changes", "area", "name", "values"),
    [
        ({"parameters": {"trees": 9}}, "parameters", "trees", (50, 9)),
        ({"parameters": {"trees": 50, "new": 1}}, "parameters", "new", (None, 1)),
        ({"seed": 3}, "seed", "", (0, 3)),
        ({"versions": {"python": "3.11", "sklearn": "2"}}, "versions", "sklearn", ("1.9.1", "2")),
        ({"host": {"cpus": 4}}, "host", "cpus", (None, 4)),
        ({"git": {"commit": "abc", "dirty": False}}, "git", "commit", (None, "abc")),
        ({"details": {**DETAILS, "data": {"uri": "data", "fingerprint": "ba7"}}},
         "data", "fingerprint", ("f00", "ba7")),
        ({"details": {**DETAILS, "rows": {"train": 81, "hold_out": 20}}},
         "rows", "train", (80, 81)),
        ({"details": {**DETAILS, "split": {**SPLIT, "seed": 7}}}, "split", "seed", (0, 7)),
        ({"details": {**DETAILS, "split": {"seed": 0, "sets": [
            {"name": "hold_out", "rule": "ByHash", "fraction": 0.3, "key": None}]}}},
         "split", "sets hold_out fraction", (0.2, 0.3)),
        ({"details": {**DETAILS, "features": ["a", "c"]}}, "features", "", (["b"], ["c"])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_differs_is_named_with_both_values(changes, area, name, values):
    comparison = compare(record(), record("b", **changes))

    found = {(d.area, d.name): (d.a, d.b) for d in comparison.differences}
    assert found[area, name] == values
    assert area in comparison.changed


def test_lists_in_another_order_are_shown_whole():
    other = record("b", details={**DETAILS, "features": ["b", "a"]})

    (difference,) = compare(record(), other).differences

    assert (difference.a, difference.b) == (["a", "b"], ["b", "a"])


def test_code_is_compared_as_a_unified_diff():
    lines = [f"line {i}" for i in range(20)]
    changed = [*lines[:10], "other", *lines[11:]]

    comparison = compare(
        record(), record("b"), source_a="\n".join(lines), source_b="\n".join(changed)
    )

    assert comparison.changed == ("code",)
    assert comparison.code.splitlines()[:2] == ["--- a/job.py", "+++ b/job.py"]
    assert "-line 10\n+other" in comparison.code
    assert "line 7\n" not in comparison.code


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"parameters": {"trees": 9}}, True),
        ({"details": {**DETAILS, "data": {"uri": "elsewhere", "fingerprint": "f00"}}}, True),
        ({"details": {**DETAILS, "data": {"uri": "data", "fingerprint": "ba7"}}}, False),
        ({"details": {**DETAILS, "split": {**SPLIT, "seed": 7}}}, False),
        ({"details": {**DETAILS, "rows": {"train": 8, "hold_out": 2}}}, False),
        ({"seed": 1}, None),
        ({"details": {}}, None),
    ],
    ids=["same", "parameter", "moved", "data", "split", "rows", "seed", "no details"],
)
def test_rows_are_the_same_if_data_split_and_seed_are(changes, same):
    assert compare(record(), record("b", **changes)).same_rows is same


@pytest.mark.parametrize(
    ("other", "half", "verdict"),
    [(0.5, 0.1, "equal"), (0.55, 0.1, "within chance"), (0.65, 0.1, "better"),
     (0.35, 0.1, "worse"), (0.55, 0.03, "better")],
)  # fmt: skip
def test_a_difference_beyond_its_interval_is_more_than_chance(other, half, verdict):
    score = only_score(
        record(),
        record("b", metrics=scored(other)),
        evaluation(0.5, half),
        evaluation(other, half, model="boosting"),
    )

    assert score.verdict == verdict
    assert score.difference == pytest.approx(other - 0.5)


@given(st.floats(0.001, 1), st.floats(0.001, 1))
def test_half_widths_of_intervals_add_up_as_the_legs_of_a_triangle(half_a, half_b):
    score = only_score(record(), record("b"), evaluation(0.5, half_a), evaluation(0.5, half_b))

    low, high = score.interval
    assert high == pytest.approx(math.sqrt(half_a**2 + half_b**2))
    assert low == pytest.approx(-high)


def test_the_interval_covers_as_often_as_its_level_says():
    """Two independent samples of equal mean: 5 in 100 differences are called more than chance."""
    rng = np.random.default_rng(0)
    rounds, rows = 2_000, 200
    means = rng.normal(size=(rounds, 2, rows)).mean(axis=2)
    half = 1.96 / math.sqrt(rows)

    beyond = 0
    for one, other in means:
        score = only_score(
            record(metrics=scored(one)),
            record("b", metrics=scored(other)),
            evaluation(one, half),
            evaluation(other, half),
        )
        beyond += score.verdict in ("better", "worse")

    assert beyond / rounds == pytest.approx(0.05, abs=0.015)


@pytest.fixture(scope="module")
def bootstraps():
    """Two models of different skill on the same rows, and their evaluations as a run keeps them."""
    from sklearn.dummy import DummyRegressor

    from distml.fit.bootstrap import Bootstrap
    from distml.fit.predictions import Predictions

    rng = np.random.default_rng(0)
    y = rng.normal(size=1_000)
    good = y + rng.normal(0, 0.5, len(y))
    models = {"a": good + rng.normal(0, 0.2, len(y)), "b": good}
    predicted = {
        name: Predictions(DummyRegressor(), {"predict": values}) for name, values in models.items()
    }
    return Bootstrap(predicted, y, ["r2"], seed=0)


def with_draws(score, draws):
    kept = evaluation(score, 0.05)
    kept["sets"]["hold_out"]["draws"] = {"r2": draws}
    return kept


def test_draws_of_the_same_rows_are_paired_as_a_run_pairs_its_own_models(bootstraps):
    values = [bootstraps.values[name]["r2"] for name in "ab"]
    draws = [bootstraps._deviations[name, "r2"].tolist() for name in "ab"]
    expected = bootstraps.difference("b", "a", "r2")

    score = only_score(
        record(metrics=scored(values[0])),
        record("b", metrics=scored(values[1])),
        with_draws(values[0], draws[0]),
        with_draws(values[1], draws[1]),
    )

    assert score.basis == "paired"
    assert score.interval == pytest.approx((expected["low"], expected["high"]))
    # As independent scores they could not be told apart.
    assert score.verdict == "better"


@pytest.mark.parametrize(
    ("changes", "draws"),
    [({"seed": 7}, [0.1, -0.1, 0.0]), ({}, [0.1, -0.1]), ({}, [None, None, 0.1]), ({}, [])],
    ids=["other seed", "other number", "not defined", "none kept"],
)
def test_draws_that_are_not_of_the_same_rows_are_not_paired(changes, draws):
    score = only_score(
        record(),
        record("b", **changes),
        with_draws(0.5, [0.1, -0.1, 0.0]),
        with_draws(0.5, draws),
    )

    assert score.basis == "independent"
    assert score.interval == pytest.approx((-0.05 * math.sqrt(2), 0.05 * math.sqrt(2)))


def test_scores_without_intervals_are_shown_and_called_unknown():
    comparison = compare(record(), record("b", metrics=scored(0.9)))

    (score,) = comparison.scores
    assert (score.a, score.b, score.interval) == (0.5, 0.9, None)
    assert score.verdict == "unknown"
    assert "scores without intervals say nothing about chance" in comparison.notes


def test_scores_that_only_one_run_has_are_shown():
    other = record("b", metrics={"later": {"r2": None, "max_error": -3.0}})

    scores = compare(record(), other).scores

    assert [(s.test, s.metric, s.a, s.b) for s in scores] == [
        ("hold_out", "r2", 0.5, None),
        ("later", "r2", None, None),
        ("later", "max_error", None, -3.0),
    ]
    assert {s.verdict for s in scores} == {"unknown"}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (evaluation(label="weight"), ["label", "'price'", "'weight'"]),
        (evaluation(task="classification"), ["task", "'regression'", "'classification'"]),
    ],
    ids=["label", "task"],
)
def test_runs_that_predict_different_things_are_refused(other, words):
    with pytest.raises(UserError) as caught:
        compare(record(), record("b"), evaluation(), other)

    assert all(word in str(caught.value) for word in words)


PREDICTED = {"metrics": {}, "details": {"out": "predictions", "shards": {"all": 2}}}
"""What a run of `Predict` leaves in its record."""


@pytest.mark.parametrize("is_first", [False, True], ids=["second", "first"])
def test_a_run_with_neither_scores_nor_a_model_is_refused_beside_one_that_has_them(is_first):
    pair = [record(), record("p", **PREDICTED)]

    with pytest.raises(UserError, match="a has scores or a model, p has neither"):
        compare(*(reversed(pair) if is_first else pair))


@pytest.mark.parametrize(
    "other",
    [
        record("b", status=RunStatus.FAILED, **PREDICTED),
        record("b", metrics={}, artifacts={"bundle": {"path": "bundle"}}),
    ],
    ids=["unfinished", "a model without scores"],
)
def test_what_may_yet_have_scores_or_left_a_model_is_not_refused(other):
    assert compare(record(), other).scores[0].a == 0.5


def test_two_runs_without_scores_are_compared_in_how_they_came_to_be():
    pair = record("a", **PREDICTED), record("b", seed=3, **PREDICTED)

    assert compare(*pair).changed == ("seed",)


def test_an_unfinished_run_is_said_to_be_so_and_what_there_is_is_shown():
    other = record("b", status=RunStatus.STOPPED, metrics={}, parameters={"trees": 9})

    comparison = compare(record(), other, evaluation(), None)

    assert comparison.notes == ("run b is STOPPED: it has no final scores",)
    assert [(d.area, d.a, d.b) for d in comparison.differences] == [("parameters", 50, 9)]
    assert [(s.a, s.b) for s in comparison.scores] == [(0.5, None)]


def test_notes_say_what_the_intervals_rest_on():
    same = compare(record(), record("b"), evaluation(), evaluation())
    moved = dataclasses.replace(record("b"), details={**DETAILS, "split": {**SPLIT, "seed": 7}})
    different = compare(record(), moved, evaluation(), evaluation())

    paired = with_draws(0.5, [0.1, -0.1, 0.0])

    assert "same rows; the intervals take them as independent" in same.notes[0]
    assert "row by row" in compare(record(), record("b"), paired, paired).notes[0]
    assert "different rows" in different.notes[0]


def test_a_comparison_is_json():
    written = compare(record(), record("b"), evaluation(), evaluation()).to_json()

    assert json.loads(json.dumps(written))["scores"][0]["verdict"] == "equal"
