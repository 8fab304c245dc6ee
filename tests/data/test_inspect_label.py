import datetime
import decimal
import math

import pyarrow as pa
import pytest

from distml.data.inspect_label import LEAST_ROWS, MOST_CLASSES, read_label, usable
from distml.errors import DataError


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 20, "classification"),
        ([True, False] * 20, "classification"),
        ([0, 1] * 20, "classification"),
        ([0.0, 1.0] * 20, "classification"),
        ([0.5, 1.0] * 20, "regression"),
        (list(range(40)), "regression"),
        (list(range(20)), "regression"),
        ([decimal.Decimal("1.5"), decimal.Decimal("2.5")] * 20, "regression"),
        (pa.array(["a", "b"] * 20).dictionary_encode(), "classification"),
    ],
    ids=["text", "booleans", "few integers", "few whole floats", "fractions", "many integers",
         "integers that hardly repeat", "decimals", "dictionary"],
)  # fmt: skip
def test_the_task_is_told_by_the_values(values, task):
    assert read_label(column(values), "y").task == task


def test_the_task_may_be_given():
    assert read_label(column([0, 1] * 20), "y", "regression").task == "regression"
    assert read_label(column(list(range(20)) * 10), "y", "classification").num_values == 20


def test_classes_are_counted_the_most_frequent_first():
    label = read_label(column(["b"] * 15 + ["a"] * 30 + ["c"] * 3), "y")

    assert dict(label.classes) == {"a": 30, "b": 15}
    assert list(label.classes) == ["a", "b"]
    assert dict(label.rare) == {"c": 3}
    assert label.needs_cleaning
    assert label.least_share == 15 / 45


@pytest.mark.parametrize(
    ("counts", "uneven"), [((50, 50), False), ((89, 11), False), ((95, 10), True)]
)
def test_classes_are_uneven_if_the_rarest_has_less_than_a_fifth_of_its_share(counts, uneven):
    label = read_label(column(["a"] * counts[0] + ["b"] * counts[1]), "y")

    assert label.is_imbalanced is uneven


def test_rows_without_a_finite_label_are_counted():
    values = column([1.5, None, math.nan, math.inf, 2.5], pa.float64())

    assert usable(values).to_pylist() == [True, False, False, False, True]
    assert read_label(values, "y").num_unusable == 3


@pytest.mark.parametrize(
    ("values", "task", "words"),
    [
        (["a"] * 9, None, ["only the value 'a'"]),
        ([None] * 9, None, ["no value"]),
        ([math.nan] * 9, None, ["no value"]),
        ([datetime.date(2020, 1, day + 1) for day in range(9)], None, ["date32"]),
        ([datetime.timedelta(day) for day in range(9)], None, ["duration"]),
        ([[1], [2]], None, ["list"]),
        ([b"1", b"2"], None, ["binary"]),
        (["a", "b"] * 9, "regression", ["text", "classification"]),
        ([f"name {i}" for i in range(10_000)], None, ["10,000 values", "choose another"]),
        (list(range(10_000)), "classification", ["10,000 values", "regression"]),
        (["a", "b", "c"], None, ["fewer than 2 classes of 10 rows"]),
    ],
    ids=["constant", "null", "NaN", "dates", "durations", "lists", "bytes", "text for numbers",
         "10,000 texts", "10,000 numbers", "rare classes alone"],
)  # fmt: skip
def test_a_label_that_cannot_be_learnt_is_refused(values, task, words):
    with pytest.raises(DataError) as caught:
        read_label(column(values), "y", task)

    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ["'y'", *words])


def test_as_many_classes_as_allowed_are_allowed():
    values = [f"c{i}" for i in range(MOST_CLASSES)] * LEAST_ROWS

    assert len(read_label(column(values), "y").classes) == MOST_CLASSES
