import datetime as dt
from functools import reduce

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import Summary
from distml.errors import DataError

row = st.fixed_dictionaries(
    {
        "number": st.none() | st.floats(width=64),
        "integer": st.none() | st.integers(-(2**62), 2**62),
        "flag": st.none() | st.booleans(),
        "word": st.none() | st.sampled_from(["a", "b c", "d  e", ""]) | st.text(max_size=5),
        "day": st.none() | st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)),
        "at": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    }
)
SCHEMA = pa.schema(
    [
        ("number", pa.float64()),
        ("integer", pa.int64()),
        ("flag", pa.bool_()),
        ("word", pa.string()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
    ]
)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(row, min_size=1, max_size=25),
    limit=st.integers(1, 12),
    data=st.data(),
)
def test_shards_merged_in_any_way_equal_one_pass(rows, limit, data):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    order = data.draw(st.permutations(range(len(rows))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    shuffled = table.take(order)
    shards = [
        shuffled.slice(low, high - low)
        for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True)
    ]
    summaries = [Summary.of(shard, count=["integer", "day"], limit=limit) for shard in shards]
    left = reduce(Summary.merge, summaries)
    right = reduce(lambda a, b: b.merge(a), summaries)
    assert left == right == Summary.of(table, count=["integer", "day"], limit=limit)


def test_summary_counts_what_is_there():
    table = pa.table({"x": [1.0, None, float("nan"), float("inf")], "s": ["a", "b c", "a", None]})
    summary = Summary.of(table)
    x, s = summary.columns["x"], summary.columns["s"]
    assert (x.family, x.missing, x.infinite, x.moments.count, x.moments.mean) == (
        "number",
        2,
        1,
        1,
        1.0,
    )
    assert (s.family, s.missing, s.counts, s.words, s.present) == (
        "string",
        1,
        {"a": 2, "b c": 1},
        4,
        3,
    )


def test_dictionary_encoding_does_not_count():
    plain = pa.table({"s": ["a", None, "b", "a"]})
    encoded = pa.table({"s": plain["s"].dictionary_encode()})
    assert Summary.of(plain) == Summary.of(encoded)


def test_too_many_values_are_only_known_to_be_too_many():
    some = Summary.of({"s": ["a", "b"]}, limit=3)
    more = Summary.of({"s": ["c", "d"]}, limit=3)
    assert some.columns["s"].counts == {"a": 1, "b": 1}
    assert some.merge(more).columns["s"].counts is None
    assert some.merge(more).merge(some).columns["s"].counts is None


def test_zeros_of_either_sign_are_one_value():
    summary = Summary.of({"x": [0.0, -0.0]}, count=["x"])
    assert summary.columns["x"].counts == {0.0: 2}


def test_all_null_shards_fit_to_any_type():
    typed = Summary.of({"x": [1.5], "s": ["a"]})
    empty = Summary.of(pa.table({"x": pa.nulls(2), "s": pa.array([None, None], pa.string())}))
    merged = empty.merge(typed)
    assert merged == typed.merge(empty)
    assert merged.columns["x"].family == "number"
    assert merged.columns["x"].missing == 2


@pytest.mark.parametrize(
    ("other", "message"),
    [
        pytest.param({"y": [1]}, "'x' is not in all", id="other columns"),
        pytest.param({"x": ["a"]}, "'x' is number in one shard and string", id="other type"),
    ],
)
def test_unlike_shards_are_refused(other, message):
    with pytest.raises(DataError, match=message):
        Summary.of({"x": [1]}).merge(Summary.of(other))


def test_skipped_columns_are_not_looked_at():
    table = pa.table({"x": [1], "nested": [[1]]})
    assert list(Summary.of(table, skip=["nested"]).columns) == ["x"]
    with pytest.raises(DataError, match="'nested'"):
        Summary.of(table)
