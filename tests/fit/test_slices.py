"""Scores on parts of a set: each slice is scored as if it were the whole set."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyRegressor

from distml.fit.bootstrap import Bootstrap
from distml.fit.predictions import Predictions
from distml.fit.slices import evaluate_slices

N = 400


def slices(column):
    generator = np.random.default_rng(0)
    y = generator.normal(size=N)
    predicted = Predictions(DummyRegressor(), {"predict": y + generator.normal(size=N)})
    found = evaluate_slices(["r2"], predicted, y, {"c": pa.chunked_array([column])}, seed=0)
    return found["c"], predicted, y


def test_a_slice_is_scored_like_a_set_of_its_own():
    column = pa.array(["a", "b", "a", "c"] * (N // 4))
    found, predicted, y = slices(column)
    assert [(entry["value"], entry["rows"]) for entry in found] == [
        ("a", N // 2), ("b", N // 4), ("c", N // 4),
    ]  # fmt: skip
    for entry in found:
        rows = np.flatnonzero(np.array(column.to_pylist()) == entry["value"])
        alone = Bootstrap({"m": predicted.take(rows)}, y[rows], ["r2"], seed=0)
        assert entry["scores"] == {"r2": alone.interval("m", "r2")}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, None, 2], [(2, 200), (1, 100), (None, 100)]),
        ([True, False, False, False], [(False, 300), (True, 100)]),
        (
            list(range(40)),
            [("0 to 9", 100), ("10 to 19", 100), ("20 to 29", 100), ("30 to 39", 100)],
        ),
        ([0] * 28 + list(range(1, 13)), [("0 to 0", 280), ("1 to 2", 20), ("3 to 12", 100)]),
        (
            [None, *range(1, 40)],
            [("1 to 10", 100), ("11 to 20", 100), ("21 to 30", 100), ("31 to 39", 90), (None, 10)],
        ),
        (
            [number / 3 for number in range(40)],
            [("0 to 3", 100), ("3.333 to 6.333", 100), ("6.667 to 9.667", 100), ("10 to 13", 100)],
        ),
        (
            [datetime.timedelta(seconds=number % 2) for number in range(20)],
            [(0, 200), (1_000_000, 200)],
        ),
        (
            [datetime.date(2020, 1, 1) + datetime.timedelta(days) for days in range(20)],
            [
                ("2020-01-01 to 2020-01-05", 100),
                ("2020-01-06 to 2020-01-10", 100),
                ("2020-01-11 to 2020-01-15", 100),
                ("2020-01-16 to 2020-01-20", 100),
            ],
        ),
    ],
    ids=[
        "few numbers",
        "booleans",
        "many numbers",
        "one value of most",
        "nulls",
        "fractions",
        "durations",
        "dates",
    ],
)
def test_values_or_ranges_and_their_rows(values, expected):
    found, _, _ = slices(pa.array(values * (N // len(values))))
    assert [(entry["value"], entry["rows"]) for entry in found] == expected


def test_of_many_values_the_most_frequent_come_first_and_the_rest_together():
    names = [f"v{number:02}" for number in range(20) for _ in range(2 * number + 1)]
    found, _, _ = slices(pa.array(names).dictionary_encode())
    assert [entry["value"] for entry in found] == [f"v{n:02}" for n in range(19, 7, -1)] + ["other"]
    assert found[-1]["rows"] == sum(2 * number + 1 for number in range(8))
