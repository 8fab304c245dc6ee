"""Drift beside scipy, beside sums done by hand, and on rows that did not move."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from distml.fit.drift import drift, ks_distance, psi
from distml.runs.profile import profile

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:scipy")

SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def compared(before, after):
    (row,) = drift(profile(pa.table({"x": before})), profile(pa.table({"x": after})))
    return row


@given(SAMPLES, SAMPLES)
def test_distance_is_scipys(before, after):
    before, after = np.sort(before), np.sort(after)
    assert ks_distance(before, after) == pytest.approx(
        ks_2samp(before, after, method="asymp").statistic
    )


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60),
       st.lists(st.integers(0, 6), min_size=1, max_size=60))  # fmt: skip
def test_distance_of_columns_with_ties_is_scipys(before, after):
    assert compared(before, after)["ks"] == pytest.approx(
        ks_2samp(before, after, method="asymp").statistic
    )


def test_index_is_the_sum_done_by_hand():
    # 0.2 * ln(0.7 / 0.5) + (-0.2) * ln(0.3 / 0.5)
    expected = 0.2 * math.log(1.4) - 0.2 * math.log(0.6)
    assert psi(np.array([0.5, 0.5]), np.array([0.7, 0.3])) == pytest.approx(expected)
    assert compared(["a", "b"] * 50, ["a"] * 70 + ["b"] * 30)["psi"] == pytest.approx(expected)


def test_index_of_numbers_is_over_the_deciles_of_the_earlier_rows():
    # Twice as many of the new rows are in the lowest tenth, none in the highest.
    after = [*range(1, 11), *range(1, 91)]
    # An empty tenth of 100 rows counts as half a row.
    expected = 0.1 * math.log(2) + (0.005 - 0.1) * math.log(0.005 / 0.1)
    assert compared(list(range(1, 101)), after)["psi"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0, 0, 0, 1] * 25, [0, 1, 1, 1] * 25),
        ([5] * 100, [6] * 100),
        ([1.0, 2.0] * 50, [None, 2.0] * 50),
        (["a", "b"] * 50, ["a", "new"] * 50),
        (["a", "b"] * 50, ["a", None] * 50),
        ([None] * 100, [1.0] * 100),
    ],
    ids=["flag", "constant", "nulls", "new-value", "null-text", "never-known"],
)
def test_what_moved_far_is_said_to(before, after):
    row = drift(profile(pa.table({"x": pa.array(before, from_pandas=False)})),
                profile(pa.table({"x": after})))  # fmt: skip
    if before[0] is None:  # a column of nulls has no type, so it is another kind of column
        assert row == []
    else:
        assert row[0]["moved"] == "far"
        assert row[0]["psi"] > 0.25


@given(st.lists(st.sampled_from([None, 0.0, 1.0, 2.5, 7.0]), min_size=1, max_size=80))
def test_rows_that_are_the_same_have_not_moved(values):
    row = compared(pa.array(values, pa.float64()), pa.array(values, pa.float64()))
    assert row["psi"] == 0
    assert row["ks"] in (0, None)
    assert row["moved"] == "no"
    assert row["nulls_before"] == row["nulls_after"] == values.count(None) / len(values)


def test_chance_is_exceeded_in_one_of_twenty_cases():
    generator = np.random.default_rng(0)
    before = generator.normal(size=1000)
    rows = [compared(before, generator.normal(size=500)) for _ in range(600)]
    exceeded = np.mean([row["psi"] > row["chance"] for row in rows])
    assert 0.02 < exceeded < 0.09


def test_a_small_set_does_not_cry_wolf():
    generator = np.random.default_rng(0)
    before = generator.normal(size=5000)
    rows = [compared(before, generator.normal(size=30)) for _ in range(200)]
    assert np.mean([row["psi"] > 0.25 for row in rows]) > 0.5
    assert np.mean([row["moved"] != "no" for row in rows]) < 0.2
    assert compared(before, generator.normal(2, 1, size=30))["moved"] == "far"


def test_columns_are_compared_in_the_order_of_the_earlier_profile():
    before = profile(pa.table({"b": [1], "a": ["x"], "gone": [1]}))
    after = profile(pa.table({"a": ["x"], "new": [1], "b": [2]}))
    assert [row["column"] for row in drift(before, after)] == ["b", "a"]
