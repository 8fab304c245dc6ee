import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from distml.data.moments import Moments

numbers = st.floats(allow_nan=False, allow_infinity=False)


def exact(values):
    """The judge: rational arithmetic."""
    fractions = [Fraction(value) for value in values]
    return (
        len(values),
        int(sum(fractions) * 2**1100),
        int(sum(value * value for value in fractions) * 2**2200),
    )


@settings(deadline=None, max_examples=300)
@given(st.lists(numbers, max_size=30))
def test_sums_are_exact(values):
    moments = Moments.of(np.array(values, dtype=np.float64))
    assert (moments.count, moments.total, moments.squares) == exact(values)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(numbers, max_size=8), min_size=1, max_size=6), st.randoms())
def test_any_parts_in_any_order_give_the_same(parts, random):
    whole = Moments.of(np.array([value for part in parts for value in part], dtype=np.float64))
    random.shuffle(parts)
    merged = Moments()
    for part in parts:
        merged = Moments.of(np.array(part, dtype=np.float64)).merge(merged)
    assert merged == whole


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([5e-324, -1.7e308, 1.0, 2.0**500, 2.0**-400], id="extremes"),
        pytest.param(np.random.default_rng(0).normal(size=20_000), id="several blocks"),
        pytest.param(np.random.default_rng(1).lognormal(0, 20, size=9_000), id="wide range"),
        pytest.param(
            np.random.default_rng(0).integers(2**18, 2**19, 1 << 18) * 2.0**20, id="large limbs"
        ),
        pytest.param(np.full(9_000, -(2.0**39 - 2.0**-13)), id="largest negative numbers"),
        pytest.param(np.full(8192, 2.0**19 + 0.5), id="halves between limbs"),
    ],
)
def test_large_and_odd_arrays_are_exact(values):
    moments = Moments.of(np.array(values, dtype=np.float64))
    assert (moments.count, moments.total, moments.squares) == exact(np.array(values).tolist())


def test_mean_is_correctly_rounded():
    values = np.random.default_rng(0).normal(size=10_001) * 1e6
    assert Moments.of(values).mean == float(sum(Fraction(v) for v in values.tolist()) / 10_001)


@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e150])
def test_standard_deviation_is_accurate(offset, scale):
    values = (np.random.default_rng(0).normal(size=1000) + offset) * scale
    fractions = [Fraction(value) for value in values.tolist()]
    mean = sum(fractions) / 1000
    variance = sum((value - mean) ** 2 for value in fractions) / 1000
    judge = math.sqrt(variance / Fraction(scale) ** 2) * scale
    assert Moments.of(values).std == pytest.approx(judge, rel=1e-14)


def test_scikit_learn_agrees():
    values = np.random.default_rng(0).normal(3, 2, size=(5000, 1))
    judge = StandardScaler().fit(values)
    moments = Moments.of(values[:, 0].copy())
    assert moments.mean == pytest.approx(judge.mean_[0], rel=1e-12)
    assert moments.std == pytest.approx(judge.scale_[0], rel=1e-12)


def test_constants_have_no_deviation_at_all():
    assert Moments.of(np.full(1000, 0.1)).std == 0.0
    assert (Moments().mean, Moments().std) == (0.0, 0.0)


@given(st.lists(st.integers(0, 50), max_size=20))
def test_counts_are_the_moments_of_codes(counts):
    codes = np.repeat(np.arange(len(counts)), np.array(counts, dtype=int)).astype(np.float64)
    assert Moments.of_counts(counts) == Moments.of(codes)
