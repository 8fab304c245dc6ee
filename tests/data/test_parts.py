import datetime as dt
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import (
    ByGroup,
    ByHash,
    ByTime,
    ShardedDataset,
    Split,
    Stratified,
    rows_of_part,
)
from distml.errors import DataError, UserError

SHARDS = (40, 1, 0, 93, 25)


@dataclass(frozen=True)
class Smallest:
    """A rule of one's own, which says nothing about looking at each row alone."""

    column: str
    count: int
    columns = ("id",)

    def take(self, table, left, seed):
        taken = np.zeros_like(left)
        values = np.where(left, table[self.column].to_numpy(), np.inf)
        taken[np.argsort(values)[: self.count]] = True
        return taken & left

    def describe(self):
        return {}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder, n = tmp_path_factory.mktemp("data"), sum(SHARDS)
    rng = np.random.default_rng(0)
    days = pa.array([None if i % 17 == 0 else int(i) for i in rng.integers(0, 365, n)], pa.int32())
    table = pa.table(
        {
            "id": rng.permutation(n),
            "plane": [f"N{i}" for i in rng.integers(0, 12, n)],
            "label": rng.choice(["late", "early", "ok"], n, p=[0.2, 0.1, 0.7]),
            "day": days.cast(pa.date32()),
        }
    )
    start = 0
    for number, rows in enumerate(SHARDS):
        pq.write_table(table.slice(start, rows), folder / f"{number}.parquet", row_group_size=30)
        start += rows
    return ShardedDataset.open(str(folder))


RULES = {
    "hash": ByHash(0.3),
    "key": ByHash(0.3, "id"),
    "group": ByGroup("plane", 0.3),
    "since": ByTime("day", start=dt.date(1970, 10, 1)),
    "latest": ByTime("day", fraction=0.2),
    "level": Stratified("label", 0.25),
    "level_by_key": Stratified("label", 0.25, key="plane"),
    "own": Smallest("id", 20),
}


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(st.sampled_from(sorted(RULES)), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 5),
)
def test_rows_of_all_shards_are_those_of_the_whole_table(dataset, names, seed):
    split = Split({name: RULES[name] for name in names}, seed=seed)
    expected = split.rows(dataset.to_table())
    firsts = np.cumsum([0] + [shard.num_rows for shard in dataset.shards])
    for part in split.names:
        rows = rows_of_part(dataset, split, part)
        assert list(rows) == list(range(len(dataset.shards)))
        assert {mine.dtype for mine in rows.values()} == {np.dtype(np.int64)}
        together = np.concatenate([mine + firsts[i] for i, mine in rows.items()])
        assert np.array_equal(together, expected[part])


@pytest.mark.parametrize("name", ["since", "group", "level_by_key", "latest"])
def test_only_the_columns_of_the_rules_are_read_shard_by_shard(dataset, name, monkeypatch):
    read = []
    whole = ShardedDataset._read

    def remember(self, shards, names):
        read.append((len(shards), tuple(names)))
        return whole(self, shards, names)

    monkeypatch.setattr(ShardedDataset, "_read", remember)
    rows_of_part(dataset, Split({"test": RULES[name]}), "train")
    assert {names for _, names in read} == {RULES[name].columns}
    if name != "latest":  # all times are needed at once
        assert {count for count, _ in read} == {1}


def test_data_without_shards_has_no_rows(tmp_path):
    pq.ParquetWriter(tmp_path / "a.parquet", pa.schema([("id", pa.int64())])).close()
    dataset = ShardedDataset.open(str(tmp_path))
    assert rows_of_part(dataset, Split({"test": Stratified("id", 0.2)}), "test") == {}


def test_unknown_parts_and_columns_are_named(dataset):
    split = Split({"test": ByHash(0.3, "idd")})
    with pytest.raises(UserError, match="no part 'tests'; there are: train, test"):
        rows_of_part(dataset, split, "tests")
    with pytest.raises(DataError, match="no column 'idd'; did you mean 'id'"):
        rows_of_part(dataset, split, "test")


def test_parts_are_complete(dataset):
    split = Split({"a": RULES["latest"], "b": RULES["level"]})
    parts = [rows_of_part(dataset, split, part) for part in split.names]
    for i, shard in enumerate(dataset.shards):
        together = np.sort(np.concatenate([rows[i] for rows in parts]))
        assert np.array_equal(together, np.arange(shard.num_rows))
