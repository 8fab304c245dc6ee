import datetime as dt
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import ByGroup, ByHash, ByTime, Split, Stratified
from distml.errors import DataError, UserError


def table_of(n, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "id": np.arange(n) + 1_000_000 * seed,
            "plane": [f"N{i}" for i in rng.integers(0, max(1, n // 10), n)],
            "label": rng.choice(["late", "early", "ok"], n, p=[0.2, 0.1, 0.7]),
            "day": pa.array(rng.integers(0, 365, n), pa.int32()).cast(pa.date32()),
        }
    )


SPLIT = Split(
    {
        "last": ByTime("day", start="1970-11-01"),
        "planes": ByGroup("plane", 0.1),
        "random": ByHash(0.2, key="id"),
        "level": Stratified("label", 0.1, key="id"),
    },
    seed=3,
)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(0, 300), seed=st.integers(0, 5), data=st.data())
def test_sets_are_disjoint_complete_and_independent_of_layout(n, seed, data):
    table = table_of(n, seed)
    rows = SPLIT.rows(table)
    assert list(rows) == ["train", "last", "planes", "random", "level"]
    assert np.array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(n))
    order = np.array(data.draw(st.permutations(range(n))), dtype=np.int64)
    cut = data.draw(st.integers(0, n))
    shuffled = table.take(order)
    shuffled = pa.concat_tables([shuffled.slice(0, cut), shuffled.slice(cut)])
    shuffled = shuffled.set_column(1, "plane", shuffled["plane"].dictionary_encode())
    assert np.array_equal(SPLIT.assign(shuffled), SPLIT.assign(table)[order])


@pytest.mark.parametrize(
    "rule",
    [
        ByHash(0.3),
        ByHash(0.3, ["id", "day"]),
        ByGroup("plane", 0.3),
        ByTime("day", start=dt.date(1970, 6, 1)),
    ],
    ids=lambda rule: type(rule).__name__,
)
@pytest.mark.parametrize("num_shards", [2, 3, 7])
def test_more_shards_move_no_row(rule, num_shards):
    split = Split({"test": rule})
    shards = [table_of(200, seed) for seed in range(num_shards)]
    together = split.assign(pa.concat_tables(shards))
    apart = np.concatenate([split.assign(shard) for shard in shards])
    assert np.array_equal(together, apart)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_hash_takes_its_fraction(fraction, seed):
    n = 50_000
    taken = len(Split({"test": ByHash(fraction)}, seed).rows({"id": range(n)})["test"])
    assert abs(taken - n * fraction) < 5 * math.sqrt(n * fraction * (1 - fraction))


def test_group_takes_its_fraction_of_the_groups():
    n = 20_000
    table = pa.table({"g": np.repeat(np.arange(n), 3)})
    taken = len(Split({"test": ByGroup("g", 0.2)}).rows(table)["test"])
    assert taken % 3 == 0
    assert abs(taken / 3 - n * 0.2) < 5 * math.sqrt(n * 0.16)


def test_groups_and_equal_keys_stay_together():
    table = table_of(2000)
    for rule in (ByGroup("plane", 0.3), ByHash(0.3, "plane")):
        sides = Split({"test": rule}).assign(table)
        planes = table["plane"].to_numpy(zero_copy_only=False)
        assert not set(planes[sides == 0]) & set(planes[sides == 1])
        assert 0 < sides.sum() < len(sides)


@settings(deadline=None, max_examples=50)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=5), fraction=st.floats(0.01, 0.99))
def test_stratified_is_exact_in_each_class(counts, fraction):
    labels = np.repeat(np.arange(len(counts)), counts)
    table = pa.table({"y": labels, "id": np.arange(len(labels))})
    taken = Split({"test": Stratified("y", fraction)}).rows(table)["test"]
    got = np.bincount(labels[taken], minlength=len(counts))
    assert got.tolist() == [int(fraction * count + 0.5) for count in counts]


def test_stratified_never_parts_equal_rows():
    table = pa.table({"y": [0] * 100, "id": [0] * 33 + [1] * 67})
    sides = Split({"test": Stratified("y", 0.4)}).assign(table)
    assert len(set(sides[:33])) == len(set(sides[33:])) == 1
    assert sides.sum() in (33, 67)


def test_sets_of_one_split_are_independent():
    n = 40_000
    rows = Split({"a": ByHash(0.5), "b": ByHash(0.5)}).rows({"id": range(n)})
    assert abs(len(rows["b"]) - n / 4) < 5 * math.sqrt(n * 3 / 16)


TIMES = [dt.datetime(2013, month, 1) for month in range(1, 13)]


@pytest.mark.parametrize(
    ("column", "start"),
    [
        pytest.param(pa.array(TIMES), "2013-11-01", id="text"),
        pytest.param(pa.array(TIMES), TIMES[10], id="datetime"),
        pytest.param(pa.array(TIMES).cast(pa.date32()), dt.date(2013, 11, 1), id="date"),
        pytest.param(pa.array(TIMES, pa.timestamp("us", tz="UTC")), "2013-11-01", id="zone"),
        pytest.param(
            pa.array(TIMES, pa.timestamp("us", tz="America/New_York")),
            dt.datetime(2013, 11, 1, tzinfo=dt.UTC),
            id="two zones",
        ),
        pytest.param(pa.array([t.isoformat() for t in TIMES]), "2013-11", id="iso strings"),
        pytest.param(pa.array(range(12)), 10, id="numbers"),
    ],
)
def test_time_starts_where_it_is_told(column, start):
    rows = Split({"late": ByTime("t", start=start)}).rows({"t": column})
    assert rows["late"].tolist() == [10, 11]


def test_time_fraction_takes_the_latest_and_keeps_equal_times_together():
    rows = Split({"late": ByTime("t", fraction=0.2)}).rows({"t": [5, 1, 2, 3, 4, 9, 7, 7, 6, None]})
    assert rows["late"].tolist() == [5, 6, 7]


def test_time_of_nothing_takes_nothing():
    table = pa.table({"t": pa.array([None, None], pa.timestamp("s"))})
    assert Split({"late": ByTime("t", fraction=0.5)}).rows(table)["late"].tolist() == []


def test_pandas_and_arrow_are_split_alike():
    table = table_of(300).append_column("gap", pa.array([None if i % 3 else i for i in range(300)]))
    split = Split({"test": ByHash(0.5)})
    assert np.array_equal(split.assign(table), split.assign(table.to_pandas()))
    assert isinstance(table.to_pandas(), pd.DataFrame)


def test_columns_are_those_the_rules_need():
    assert SPLIT.columns == ("day", "plane", "id", "label")
    assert Split({"a": ByTime("day", start=1), "b": ByHash(0.1)}).columns is None


def test_description_is_json_and_says_everything():
    text = json.dumps(SPLIT.describe())
    assert '"fraction": 0.2' in text
    assert '"1970-11-01"' in text
    assert json.dumps(Split({"a": ByTime("d", start=dt.date(2013, 1, 1))}).describe())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: ByHash(1.5), "fraction=1.5", id="fraction above 1"),
        pytest.param(lambda: ByGroup("g", 0), "fraction=0", id="fraction 0"),
        pytest.param(lambda: Stratified("y", -1), "fraction=-1", id="negative"),
        pytest.param(lambda: ByTime("t"), "start or fraction", id="no start"),
        pytest.param(lambda: ByTime("t", start=1, fraction=0.5), "only one", id="both"),
        pytest.param(lambda: Split({}), "0 test sets", id="no set"),
        pytest.param(lambda: Split({"train": ByHash(0.1)}), "'train'", id="reserved name"),
    ],
)
def test_senseless_rules_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_unknown_column_names_the_nearest():
    with pytest.raises(DataError, match="did you mean 'plane'"):
        Split({"a": ByGroup("plain", 0.1)}).assign(table_of(5))


def test_start_of_another_type_is_refused():
    with pytest.raises(UserError, match="start='soon' is no date32"):
        Split({"a": ByTime("day", start="soon")}).assign(table_of(5))
