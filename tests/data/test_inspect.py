import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from distml.data import ShardedDataset
from distml.data.inspect import inspect, sample
from distml.data.inspect_split import SplitPlan
from distml.errors import DataError

N = 1_000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def look(tmp_path, rng):
    """Inspect columns beside an honest feature `x` and a label `y` of two classes."""

    def looked(columns, label="y", task=None, **labels):
        x = rng.normal(size=N)
        y = labels.get("y", (x + rng.normal(size=N) > 0).astype(int))
        table = pa.table({**columns, "x": x, "y": y})
        pq.write_table(table, tmp_path / "data.parquet")
        return inspect(ShardedDataset.open(tmp_path / "data.parquet"), label, task)

    return looked


def roles(found):
    return {column.name: column.role for column in found.columns}


def days(numbers):
    return [datetime.date(2020, 1, 1) + datetime.timedelta(int(day)) for day in numbers]


@pytest.mark.parametrize(
    ("name", "make", "role", "note"),
    [
        ("c", lambda rng: [None] * N, "empty", "no value"),
        ("c", lambda rng: [float("nan")] * N, "empty", "no value"),
        ("c", lambda rng: ["same"] * N, "constant", "always the same value"),
        ("c", lambda rng: ["same"] * (N - 1) + [None], "feature", "0.1% missing"),
        ("c", lambda rng: [f"k{i}" for i in range(N)], "identifier", "another value in every row"),
        ("c", lambda rng: list(range(N)), "identifier", "another value in every row"),
        ("row_id", lambda rng: rng.permutation(N), "identifier", "another value in every row"),
        ("rowId", lambda rng: rng.permutation(N), "identifier", "another value in every row"),
        ("paid", lambda rng: rng.permutation(N), "feature", ""),
        ("c", lambda rng: rng.normal(size=N), "feature", ""),
        ("c", lambda rng: [[1, 2]] * N, "unfit", "a list<element: int64>, which cannot be encoded"),
        ("c", lambda rng: [b"\x00"] * N, "unfit", "bytes, which cannot be encoded"),
        ("c", lambda rng: [np.inf, *rng.normal(size=N - 1)], "unfit", "1 infinite values"),
        ("user_id", lambda rng: rng.integers(0, 100, N), "group", "names 100 groups of rows"),
        ("customerNr", lambda rng: rng.integers(0, 100, N), "group", "names 100 groups of rows"),
        ("customer_age", lambda rng: rng.integers(0, 100, N), "feature", ""),
        ("station_id", lambda rng: rng.integers(0, 100, N), "feature", "an id that repeats"),
        ("zip", lambda rng: rng.integers(0, 100, N), "feature", ""),
        ("c", lambda rng: [f"word number {i} here" for i in range(N)], "feature", "text"),
        ("c", lambda rng: [f"v{i % 300}" for i in range(N)], "feature", "300 values, hashed"),
        ("c", lambda rng: [str(day) for day in days(rng.integers(0, 300, N))], "unfit",
         "dates as text"),
        ("c", lambda rng: [f"{i % 12 + 1}/{i % 28 + 1}/2015 01:19:15" for i in range(N)], "unfit",
         "dates in another form"),
    ],
    ids=["null", "NaN", "constant", "constant or null", "unique text", "counter", "named id",
         "named Id", "named like it", "numbers", "lists", "bytes", "infinite", "group",
         "camel case", "of a group", "repeated id", "no group", "text", "many values",
         "dates as text", "other dates"],
)  # fmt: skip
def test_each_column_gets_its_role(look, rng, name, make, role, note):
    found = look({name: make(rng)})

    (column,) = [column for column in found.columns if column.name == name]
    assert (column.role, column.note[: len(note)]) == (role, note)
    assert roles(found)["x"] == "feature"


def test_a_leak_is_dropped(look, rng):
    y = rng.integers(0, 2, N)

    assert roles(look({"copy": y}, y=y)) == {"copy": "leak", "x": "feature"}


def test_rows_that_cannot_teach_are_left_out_of_the_judgement(look, rng):
    y = ["rare"] + [None] * 9 + ["a", "b"] * ((N - 10) // 2)
    odd = ["odd"] * 10 + ["usual"] * (N - 10)

    found = look({"c": odd}, y=y)

    assert roles(found)["c"] == "constant"
    assert found.label.num_unusable == 9
    assert dict(found.label.rare) == {"rare": 1}


@pytest.mark.parametrize(
    ("make", "plan"),
    [
        (lambda rng: {}, SplitPlan()),
        (lambda rng: {"day": days(rng.integers(0, 300, N))}, SplitPlan(time="day")),
        (lambda rng: {"day": [str(d) for d in days(rng.integers(0, 300, N))]},
         SplitPlan(time="day")),
        (lambda rng: {"user": rng.integers(0, 99, N)}, SplitPlan(group="user")),
        (lambda rng: {"day": days(rng.integers(0, 300, N)), "user": rng.integers(0, 99, N)},
         SplitPlan(time="day", group="user")),
        (lambda rng: {"day": [None] * 100 + days(rng.integers(0, 300, N - 100))}, SplitPlan()),
        (lambda rng: {"day": days([0] * N)}, SplitPlan()),
    ],
    ids=["plain", "date", "date as text", "group", "both", "date with holes", "one day"],
)  # fmt: skip
def test_rows_are_split_by_time_and_group_where_there_are_such(look, rng, make, plan):
    assert look(make(rng)).split == plan


def test_a_time_that_parts_a_class_from_training_is_not_split_by(look):
    y = ["old"] * (N - 150) + ["new"] * 150

    assert look({"day": days(np.arange(N))}, y=y).split == SplitPlan()


def test_the_rule_is_told_for_two_classes_and_numbers_but_not_for_more(look, rng):
    assert look({}).rule.startswith("x > ")
    assert look({"z": rng.normal(size=N)}, "x", "regression").rule.startswith("y > ")
    assert look({}, y=["a", "b", "c", "d"] * (N // 4)).rule is None


@pytest.mark.parametrize(
    ("label", "words"),
    [("yy", ["'yy'", "did you mean 'y'"]), ("empty", ["'empty'", "no value"])],
    ids=["unknown", "empty"],
)
def test_a_label_that_cannot_be_learnt_is_refused(look, label, words):
    with pytest.raises(DataError) as caught:
        look({"empty": [None] * N}, label)

    assert all(word in str(caught.value) for word in words)


def test_a_file_without_a_header_is_recognised(tmp_path):
    (tmp_path / "x.csv").write_text("39,Male,1.5\n50,Female,2.5\n")

    with pytest.raises(DataError, match="put a line of names above it"):
        inspect(ShardedDataset.open(tmp_path / "x.csv"), "income")


def test_nothing_to_learn_from_is_refused(tmp_path):
    csv.write_csv(pa.table({"c": [1] * 100, "y": [0, 1] * 50}), tmp_path / "x.csv")

    with pytest.raises(DataError, match=r"no column is left.*'c' is always the same value"):
        inspect(ShardedDataset.open(tmp_path / "x.csv"), "y")


def test_a_sample_comes_from_all_over_the_data(tmp_path):
    for shard in range(20):
        first = shard * 1_000
        table = pa.table({"i": np.arange(first, first + 1_000)})
        pq.write_table(table, tmp_path / f"part-{shard:02}.parquet")
    dataset = ShardedDataset.open(tmp_path)

    drawn = sample(dataset, 1_600)["i"].to_numpy()

    assert (drawn.min(), drawn.max(), len(drawn)) == (0, 19_999, 1_600)
    assert len(np.unique(drawn)) == 1_600
    assert sample(dataset, 20_000).num_rows == 20_000


def test_a_counter_is_seen_in_a_sample_too(tmp_path, rng):
    num_rows = 150_000
    table = pa.table(
        {
            "c": np.arange(num_rows),
            "x": rng.normal(size=num_rows),
            "y": rng.integers(0, 2, num_rows),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=10_000)

    found = inspect(ShardedDataset.open(tmp_path / "x.parquet"), "y")

    assert roles(found) == {"c": "identifier", "x": "feature"}
    assert found.num_sampled < found.num_rows == num_rows
