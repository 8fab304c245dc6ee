import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import (
    ByHash,
    Selection,
    ShardedDataset,
    Split,
    Stratified,
    divide,
    sides_of,
    write_shards,
)
from distml.errors import DataError

ROWS = 120


@pytest.fixture(scope="module")
def table():
    return pa.table({"id": np.arange(ROWS), "label": np.arange(ROWS) % 3})


@pytest.fixture(scope="module")
def dataset(table, tmp_path_factory):
    return write_shards(table, tmp_path_factory.mktemp("rows") / "data", num_shards=7)


def ids(rows):
    return rows["id"].to_pylist()


CHOSEN = st.sets(st.integers(0, ROWS - 1)).map(sorted)


@settings(deadline=None, max_examples=40)
@given(CHOSEN, st.integers(0, ROWS), st.integers(0, ROWS))
def test_rows_are_read_by_range_by_number_and_whole(dataset, chosen, start, stop):
    rows = Selection(dataset).pick(np.array(chosen, dtype=np.int64))

    assert (len(rows), rows.num_rows) == (len(chosen), len(chosen))
    assert ids(rows.to_table(["id"])) == chosen
    assert ids(rows[start:stop]) == chosen[start:stop]
    assert ids(rows.take(range(0, len(chosen), 3))) == chosen[::3]
    assert [n for shard in rows.iter_tables() for n in ids(shard)] == chosen
    assert ids(pickle.loads(pickle.dumps(rows)).to_table()) == chosen
    assert len(rows.thinned(10)) <= 10


@settings(deadline=None, max_examples=20)
@given(CHOSEN.filter(lambda chosen: len(chosen) > 6), st.booleans())
def test_a_selection_is_divided_as_the_table_of_its_rows_is(dataset, table, chosen, level):
    rule = Stratified("label", 0.3) if level else ByHash(0.3)
    split = Split({"test": rule, "more": ByHash(0.5, "id")})
    rows = Selection(dataset).pick(np.array(chosen))
    parts = divide(rows, sides_of(rows, split), 3)

    expected = split.rows(table.take(pa.array(chosen)))
    for part, numbers in zip(parts, expected.values(), strict=True):
        assert ids(part.to_table()) == [chosen[number] for number in numbers]


def test_ranges_in_order_read_each_shard_once(dataset, monkeypatch):
    read = []
    whole = ShardedDataset.read_shard

    def remember(self, index, *rest, **more):
        read.append(index)
        return whole(self, index, *rest, **more)

    monkeypatch.setattr(ShardedDataset, "read_shard", remember)
    rows = Selection(dataset)
    assert [n for start in range(0, ROWS, 5) for n in ids(rows[start : start + 5])] == [
        *range(ROWS)
    ]
    assert read == list(range(7))


def test_columns_are_selected_and_unknown_ones_named(dataset):
    rows = Selection(dataset).select(["label"])

    assert rows.column_names == ["label"]
    assert rows[:2].column_names == ["label"]
    with pytest.raises(DataError, match="no column 'x'"):
        rows.select(["x"])


def test_what_rows_take_is_told_from_a_shard(dataset):
    rows = Selection(dataset)

    assert rows.row_bytes() == pytest.approx(16, rel=0.1)
    assert rows.is_larger_than(1000)
    assert not rows.is_larger_than(10_000)
    assert not rows.is_larger_than(None)


def test_other_rows_have_another_fingerprint(dataset):
    rows = Selection(dataset)
    drawn = rows.pick(np.arange(20))

    assert len(drawn) == 20
    assert drawn.fingerprint == rows.pick(np.arange(20)).fingerprint
    assert len({rows.fingerprint, drawn.fingerprint, rows.pick(np.arange(1, 21)).fingerprint}) == 3
    assert (rows.numbers, Selection(dataset, [None] * 7).fingerprint) == (None, rows.fingerprint)
