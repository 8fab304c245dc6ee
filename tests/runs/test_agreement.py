"""When a run and its reproduction come to the same, and what is said when they do not."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.runs.agreement import TOLERANCE, agreement
from distml.runs.record import RunRecord


def record(score=0.75, **changes):
    fields = {
        "run_id": "one",
        "job_file": "jobs/x.py",
        "seed": 1,
        "metrics": {"test": {"roc_auc": score}},
        "details": {"data": {"uri": "data", "fingerprint": "aa"}},
        "versions": {"sklearn": "1.5.0"},
        "host": {"name": "here"},
    }
    return RunRecord(**{**fields, **changes})


def test_equal_values_agree_exactly():
    sets = {"sets": {"test": {"rows": 9, "confusion": {"counts": [[3, 1], [2, 3]]}}}}
    golden = {"prediction": ["yes", "no"]}

    found = agreement(record(), record(), [sets, sets], [golden, golden])

    assert found.agrees
    assert str(found) == "agrees exactly: 8 values are the same"


@given(share=st.floats(1e-12, TOLERANCE / 2))
def test_rounding_agrees_within_what_it_comes_to(share):
    found = agreement(record(0.5), record(0.5 * (1 + share)))

    assert found.agrees
    assert found.largest == pytest.approx(share, rel=0.01, abs=1e-15)


@pytest.mark.parametrize(
    ("evaluation", "where"),
    [
        ({"counts": [[3, 1], [2, 2]]}, "evaluation test counts [1] [1] is 2, it was 3"),
        ({"counts": [[3, 1]]}, "evaluation test counts has 1 value, it had 2"),
        ({"counts": [[3, 1], [2, 3, 0]]}, "evaluation test counts [1] has 3 values, it had 2"),
        ({}, "evaluation test counts is None, it was [[3, 1], [2, 3]]"),
    ],
    ids=["another value", "another length", "another length within", "missing"],
)
def test_the_value_that_differs_is_named(evaluation, where):
    found = agreement(
        record(),
        record(),
        [{"sets": {"test": {"counts": [[3, 1], [2, 3]]}}}, {"sets": {"test": evaluation}}],
    )

    assert not found.agrees
    assert found.where == where


CURVE = [0.0, 0.005, *(0.01 * step for step in range(1, 90))]


@pytest.mark.parametrize(
    ("scores", "sets", "where"),
    [
        ((0.75, 0.74), {"roc": [{"fpr": CURVE[:-1]}], "brier": 0.3}, "metrics test roc_auc is"),
        ((0.75, 0.75), {"roc": [{"fpr": CURVE[:-1]}], "brier": 0.3}, "evaluation test brier is"),
        (
            (0.75, 0.75),
            {"roc": [{"fpr": CURVE[:-1]}], "brier": 0.2},
            "evaluation test roc [0] fpr has 90 values, it had 91",
        ),
        (
            (0.75, 0.75),
            {"roc": [{"fpr": [*CURVE[:-1], 0.9]}], "brier": 0.2},
            "evaluation test roc [0] fpr [90] is 0.9, it was 0.89",
        ),
    ],
    ids=["a score", "another value", "a length", "a point"],
)
def test_a_score_is_named_before_a_curve_and_the_first_point_of_that(scores, sets, where):
    former = {"sets": {"test": {"roc": [{"fpr": CURVE}], "brier": 0.2}}}

    found = agreement(*map(record, scores), [former, {"sets": {"test": sets}}])

    assert found.where.startswith(where)


def test_long_values_are_told_from_where_they_differ():
    long = "a" * 90
    before, after = {"golden": [f"{long}b"]}, {"golden": [f"{long}c"]}

    found = agreement(record(), record(), predictions=[before, after])

    assert found.where == "prediction golden [0] is ...aaaaaaaaaaaac', it was ...aaaaaaaaaaaab'"


def test_a_score_that_became_undefined_does_not_agree():
    found = agreement(record(0.5), record(None))

    assert (found.agrees, found.largest) == (False, math.inf)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"details": {"data": {"uri": "data", "fingerprint": "bb"}}},
            "the data changed (fingerprint: 'aa', now 'bb')",
        ),
        ({"versions": {"sklearn": "1.6.0"}}, "a version changed (sklearn: '1.5.0', now '1.6.0')"),
        ({"git": {"commit": "c"}}, "the code in the repository changed (commit: None, now 'c')"),
        ({"host": {"name": "there"}}, "so the job is not determined by its seed"),
    ],
    ids=["data", "version", "code", "none"],
)
def test_what_else_changed_is_the_reason(changes, reason):
    found = agreement(record(0.75), record(0.5, **changes))

    assert str(found).endswith(reason)


def test_no_reason_is_sought_where_they_agree():
    found = agreement(record(), dataclasses.replace(record(), versions={"sklearn": "1.6.0"}))

    assert found.reasons == ()


def test_runs_without_values_cannot_be_told_to_agree():
    found = agreement(record(metrics={}), record(metrics={}))

    assert not found.agrees
    assert str(found) == "cannot tell: the runs have no values in common"
