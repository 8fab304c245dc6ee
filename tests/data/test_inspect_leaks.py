import datetime

import numpy as np
import pyarrow as pa
import pytest

from distml.data import evaluate_rule
from distml.data.inspect_leaks import Target, best_rule, leak

N = 2_000
rng = np.random.default_rng(0)
PRICE = np.round(rng.gamma(2.0, 100.0, N))
SICK = (rng.random(N) < 0.2).astype(np.int64)


def column(values):
    return pa.chunked_array([pa.array(values)])


def dates(days):
    start = datetime.date(2020, 1, 1)
    return [start + datetime.timedelta(int(day)) for day in days]


NUMBERS = Target.of(column(PRICE), "regression")
CLASSES = Target.of(column(SICK), "classification")
WORDS = Target.of(column(np.where(SICK, "yes", "no")), "classification")


@pytest.mark.parametrize(
    ("values", "target", "words"),
    [
        (PRICE, NUMBERS, "the same as the label"),
        (PRICE.astype(str), NUMBERS, "the same as the label"),
        (PRICE * 1.1 + 3, NUMBERS, "one to one with the label"),
        (PRICE + rng.normal(0, 1, N), NUMBERS, "predicts the label alone (R2: "),
        (SICK, CLASSES, "the same as the label"),
        (SICK.astype(float), CLASSES, "the same as the label"),
        (SICK == 1, CLASSES, "the same as the label"),
        (np.where(SICK, "ill", "well"), CLASSES, "one to one with the label"),
        (np.where(SICK, "yes", "no"), WORDS, "the same as the label"),
        (SICK, WORDS, "one to one with the label"),
        (SICK * 5 + rng.random(N), CLASSES, "predicts the label alone (balanced accuracy"),
        ([None if sick else "2020" for sick in SICK], CLASSES, "one to one with the label"),
        (dates(rng.integers(0, 100, N) + 200 * SICK), CLASSES, "predicts the label alone"),
    ],
    ids=["copy", "copy as text", "other unit", "nearly", "copy of classes", "as floats",
         "as booleans", "renamed", "copied text", "text as numbers", "threshold",
         "missing where sick", "date"],
)  # fmt: skip
def test_a_column_that_gives_the_label_away_is_named(values, target, words):
    assert leak(column(values), target).startswith(words)


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (PRICE + rng.normal(0, 30, N), NUMBERS),
        (rng.random(N), NUMBERS),
        (np.arange(N), NUMBERS),
        (SICK + rng.normal(0, 0.5, N), CLASSES),
        ([f"row {i}" for i in range(N)], CLASSES),
        (np.where(rng.random(N) < 0.9, SICK, 1 - SICK), CLASSES),
        (np.full(N, np.nan), CLASSES),
        (np.where(SICK, np.inf, rng.random(N)), NUMBERS),
    ],
    ids=["good", "noise", "counter", "good for classes", "identifier", "nine of ten", "nothing",
         "infinite"],
)  # fmt: skip
def test_an_honest_column_is_no_leak(values, target):
    assert leak(column(values), target) is None


def test_few_rows_prove_nothing():
    target = Target.of(column(SICK[:30]), "classification")

    assert leak(column(SICK[:30] * 5 + rng.random(30)), target) is None


def test_the_best_rule_holds_where_the_second_class_is_likelier():
    age = rng.uniform(20, 80, N)
    sick = (age > 50) ^ (rng.random(N) < 0.1)
    columns = {"age": column(age), "noise": column(rng.random(N))}

    rule = best_rule(columns, Target.of(column(sick), "classification"))

    assert rule.startswith("age > ")
    assert float(rule.split()[-1]) == pytest.approx(50, abs=1)
    holds = evaluate_rule(rule, pa.table(columns))
    assert sick[holds].mean() > 0.8 > 0.2 > sick[~holds].mean()


def test_the_best_rule_may_point_downward():
    age = rng.uniform(20, 80, N)
    columns = {"age": column(age)}

    assert best_rule(columns, Target.of(column(-age), "regression")).startswith("age <= ")


@pytest.mark.parametrize("name", ["two words", "class", 'a"b', ""])
def test_a_column_that_a_rule_cannot_spell_makes_none(name):
    columns = {name: column(PRICE)}

    assert best_rule(columns, NUMBERS) is None


def test_no_rule_is_better_than_a_rule_that_guesses():
    assert best_rule({"noise": column(rng.random(N))}, NUMBERS) is None
