"""The growth curve and the makespan, against what they are known to be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.fit.growth import Estimate, expect, fit_growth, makespan, total

SIZES = [1000, 2000, 4000, 8000]


@settings(max_examples=25, deadline=None)
@given(
    exponent=st.floats(0.9, 2.0), slope=st.floats(1e-8, 1e2), scale=st.sampled_from([1, 100, 1e5])
)
def test_a_power_law_is_recovered(exponent, slope, scale):
    sizes = [scale * size for size in SIZES]
    curve = fit_growth(sizes, [slope * n**exponent for n in sizes])

    assert curve.at(16 * sizes[-1]) == pytest.approx(slope * (16 * sizes[-1]) ** exponent, rel=0.1)
    assert curve.exponent == pytest.approx(exponent, abs=0.04)


@settings(max_examples=25, deadline=None)
@given(fixed=st.floats(0.01, 10), per_row=st.floats(1e-6, 1e-2))
def test_a_fixed_cost_is_told_from_one_per_row(fixed, per_row):
    curve = fit_growth(SIZES, [fixed + per_row * n for n in SIZES])

    assert curve.at(128_000) == pytest.approx(fixed + per_row * 128_000, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(costs=st.lists(st.floats(0, 1e3), min_size=4, max_size=4), at=st.integers(1, 10**6))
def test_an_estimate_lies_in_its_range_and_is_not_negative(costs, at):
    estimate = expect(SIZES, costs, at)

    assert 0 <= estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize("spread", [0.01, 0.03])
def test_the_range_holds_the_truth_in_nine_of_ten_noisy_timings(spread):
    noise = np.random.default_rng(0).normal(1, spread, size=(100, len(SIZES)))
    estimates = [expect(SIZES, 1e-4 * np.multiply(SIZES, drawn), 64_000) for drawn in noise]

    assert sum(found.low <= 6.4 <= found.high for found in estimates) >= 90


def test_more_rows_never_cost_less():
    curve = fit_growth(SIZES, [5.0, 4.0, 3.0, 2.0])

    assert curve.at(100_000) >= curve.at(1000)


@pytest.mark.parametrize(
    ("sizes", "costs", "expected"),
    [([500], [2.0], 8.0), ([500, 1000], [1.0, 2.0], 4.0), (SIZES, [0.0] * 4, 0.0)],
    ids=["one size", "two sizes", "no cost"],
)
def test_few_sizes_are_taken_as_proportional(sizes, costs, expected):
    assert expect(sizes, costs, 2000).value == pytest.approx(expected)


def test_one_size_leaves_open_whether_the_cost_grows_at_all():
    estimate = expect([500], [2.0], 2000)

    assert estimate.low < 2.0 < 8.0 < estimate.high


@given(seconds=st.lists(st.floats(0.1, 10), min_size=1, max_size=6), num_cpus=st.integers(1, 3))
def test_makespan_is_within_four_thirds_of_the_best_assignment(seconds, num_cpus):
    def finish(assignment):
        return max(
            sum(s for s, cpu in zip(seconds, assignment, strict=True) if cpu == number)
            for number in range(num_cpus)
        )

    best = min(map(finish, itertools.product(range(num_cpus), repeat=len(seconds))))

    assert best - 1e-9 <= makespan(seconds, num_cpus) <= 4 / 3 * best + 1e-9


def test_makespan_of_nothing_is_nothing():
    assert makespan([], 4) == 0


def test_estimates_add_up_with_their_ranges():
    assert total([Estimate(1, 0, 2), Estimate(3, 2, 5)]) == Estimate(4, 2, 7)
