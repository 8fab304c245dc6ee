import gc
import itertools
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import RaggedArray, ShardedDataset, StreamOrder, StreamReader
from distml.data.cache import ShardCache
from distml.errors import DataError, UserError

WORLDS = (1, 2, 3, 4, 8)


def write(folder, shard_rows, group_rows=10**6):
    """A file for each number of rows; `a` counts the rows of all files, `b` is its negative."""
    first = 0
    for number, count in enumerate(shard_rows):
        a = np.arange(first, first + count)
        table = pa.table({"a": a, "b": -a.astype(np.float32), "word": [f"w{i}" for i in a]})
        pq.write_table(table, folder / f"part-{number:03}.parquet", row_group_size=group_rows)
        first += count
    return ShardedDataset.open(str(folder))


def order_for(dataset, **changes):
    rows = tuple(shard.num_rows for shard in dataset.shards)
    given_ = {"batch_size": 16, "seed": 5, "num_streams": 4, "block_rows": 40} | changes
    return StreamOrder(shard_rows=rows, **given_)


def decode(table):
    return {"a": table["a"].to_numpy(), "x": table["b"].to_numpy().reshape(-1, 1)}


def numbers(batches):
    """The rows of each batch by their number `a`, seen to belong together."""
    rows = []
    for batch in batches:
        assert np.array_equal(batch["a"], -batch["x"][:, 0])
        rows.append(batch["a"].tolist())
    return rows


def by_definition(dataset, order, epoch, rows=None):
    """The global batches, row by row."""
    firsts = np.cumsum([0] + [shard.num_rows for shard in dataset.shards]).tolist()
    streams = []
    for stream, blocks in enumerate(order.streams(epoch)):
        streams.append([])
        for number, shards in enumerate(blocks):
            kept = [range(dataset.shards[i].num_rows) if rows is None else rows[i] for i in shards]
            block = [firsts[i] + r for i, k in zip(shards, kept, strict=True) for r in k]
            permutation = order.block_permutation(epoch, stream, number, len(block))
            streams[-1] += [block[i] for i in permutation]
    rounds = itertools.zip_longest(*streams)
    flat = [row for round_ in rounds for row in round_ if row is not None]
    cuts = range(0, order.num_batches() * order.batch_size, order.batch_size)
    return [flat[i : i + order.batch_size] for i in cuts]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data"), [60, 7, 0, 25, 100, 33, 1], group_rows=20)


@settings(deadline=None, max_examples=25)
@given(
    data=st.data(),
    batch_size=st.integers(1, 70),
    num_streams=st.integers(1, 9),
    block_rows=st.integers(1, 150),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_workers_together_give_the_global_batches(dataset, data, **given_):
    order = order_for(dataset, **given_)
    epoch = data.draw(st.integers(0, 3))
    start = data.draw(st.integers(0, order.num_batches()))
    expected = by_definition(dataset, order, epoch)
    for world in WORLDS:
        readers = [
            StreamReader(dataset, ["a", "b"], order, rank=rank, world=world, decode=decode)
            for rank in range(world)
        ]
        shares = [numbers(reader.batches(epoch, start)) for reader in readers]
        got = [sorted(itertools.chain(*parts)) for parts in zip(*shares, strict=True)]
        assert got == [sorted(batch) for batch in expected[start:]]
        if world == 1:
            assert shares[0] == expected[start:]


def test_a_worker_keeps_the_order_of_the_global_batch(dataset):
    order = order_for(dataset)
    for rank in range(2):
        reader = StreamReader(dataset, ["a", "b"], order, rank=rank, world=2, decode=decode)
        for part, whole in zip(
            numbers(reader.batches(0)), by_definition(dataset, order, 0), strict=True
        ):
            assert part == [row for row in whole if row in set(part)]


def test_only_the_rows_kept_are_read(dataset):
    rng = np.random.default_rng(0)
    rows = {
        i: np.flatnonzero(rng.random(shard.num_rows) < 0.6)
        for i, shard in enumerate(dataset.shards)
        if i % 4
    }
    counts = [len(rows.get(i, ())) for i in range(len(dataset.shards))]
    order = StreamOrder(
        shard_rows=tuple(counts), batch_size=10, seed=0, num_streams=3, block_rows=30
    )
    reader = StreamReader(dataset, ["a", "b"], order, rows=rows, decode=decode)
    assert numbers(reader.batches(1)) == by_definition(dataset, order, 1, rows)


def test_columns_become_one_matrix_by_default(dataset):
    order = order_for(dataset)
    batches = list(StreamReader(dataset, ["b", "a"], order).batches(0))
    expected = by_definition(dataset, order, 0)
    for batch, rows in zip(batches, expected, strict=True):
        assert batch.keys() == {"x"}
        assert batch["x"].dtype == np.float32
        assert batch["x"].tolist() == [[-row, row] for row in rows]


def test_a_worker_without_a_share_gets_arrays_without_rows(dataset):
    order = order_for(dataset, num_streams=2)
    batches = list(StreamReader(dataset, ["a", "b"], order, rank=2, world=3).batches(0))
    assert [batch["x"].shape for batch in batches] == [(0, 2)] * order.num_batches()


def test_streams_of_unequal_length_leave_late_shares_empty(tmp_path):
    dataset = write(tmp_path, [40, 8])
    order = order_for(dataset, num_streams=2, batch_size=8)
    sizes = [
        [
            len(batch["x"])
            for batch in StreamReader(dataset, ["a"], order, rank=r, world=2).batches(0)
        ]
        for r in range(2)
    ]
    assert sorted(sizes) == [[4, 4, 0, 0, 0, 0], [4, 4, 8, 8, 8, 8]]


def test_epochs_without_batches_end_at_once(dataset):
    order = order_for(dataset)
    assert list(StreamReader(dataset, ["a"], order).batches(0, order.num_batches())) == []
    nothing = {i: np.array([], dtype=np.int64) for i in range(len(dataset.shards))}
    empty = StreamOrder.plan([0] * len(nothing), 8, 100, batch_size=4, seed=0)
    assert list(StreamReader(dataset, ["a"], empty, rows=nothing).batches(0)) == []


def test_blocks_shorter_than_a_batch_do_not_stop_the_reader(tmp_path):
    dataset = write(tmp_path, [1] * 60)
    order = order_for(dataset, block_rows=1, batch_size=50, num_streams=2)
    reader = StreamReader(dataset, ["a", "b"], order, decode=decode)
    assert numbers(reader.batches(0)) == by_definition(dataset, order, 0)


# --- threads


def reading_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("distml-")]


def test_closing_early_ends_the_threads(dataset):
    batches = StreamReader(dataset, ["a"], order_for(dataset)).batches(0)
    next(batches)
    batches.close()
    assert reading_threads() == []


def test_an_error_of_the_consumer_ends_the_threads(dataset):
    def consume():
        for _ in StreamReader(dataset, ["a"], order_for(dataset)).batches(0):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    gc.collect()
    assert reading_threads() == []


@pytest.mark.parametrize("after", [0, 3])
def test_an_error_of_decode_reaches_the_consumer_as_it_is(dataset, after):
    error, calls = RuntimeError("mine"), itertools.count()

    def fail(table):
        if next(calls) >= after:
            raise error
        return decode(table)

    with pytest.raises(RuntimeError) as caught:
        list(StreamReader(dataset, ["a", "b"], order_for(dataset), decode=fail).batches(0))
    assert caught.value is error
    assert reading_threads() == []


def test_a_shard_that_cannot_be_read_is_named(tmp_path):
    dataset = write(tmp_path, [30] * 6)
    Path(tmp_path / "part-004.parquet").unlink()
    with pytest.raises(DataError, match=r"part-004\.parquet: cannot be read"):
        list(StreamReader(dataset, ["a"], order_for(dataset)).batches(0))
    assert reading_threads() == []


def test_reading_waits_when_two_blocks_of_each_stream_are_there(tmp_path):
    dataset = write(tmp_path, [64] * 20)
    decoded, sixth = [], threading.Event()

    def count(table):
        decoded.append(table.num_rows)
        if len(decoded) == 6:
            sixth.set()
        return decode(table)

    order = order_for(dataset, num_streams=2, block_rows=64)
    batches = StreamReader(dataset, ["a", "b"], order, decode=count).batches(0)
    next(batches)
    assert not sixth.wait(0.2)
    assert len(decoded) <= 4
    batches.close()


# --- memory


@pytest.mark.parametrize("keeps", [False, True], ids=["read", "kept"])
@pytest.mark.parametrize("num_streams", [1, 4])
def test_memory_is_what_the_plan_allows(tmp_path, monkeypatch, num_streams, keeps):
    rows, columns = 20_000, 10
    for number in range(16):
        values = np.random.default_rng(number).random((columns, rows), dtype=np.float32)
        table = pa.table(list(values), names=[f"x{j}" for j in range(columns)])
        pq.write_table(table, tmp_path / f"{number}.parquet", use_dictionary=False)
    dataset = ShardedDataset.open(str(tmp_path))
    block_bytes = rows * columns * 4
    memory = 3 * num_streams * block_bytes
    order = StreamOrder.plan([rows] * 16, columns * 4, memory, batch_size=512, seed=0)
    assert order.num_streams == num_streams
    monkeypatch.setenv("DISTML_SCRATCH", str(tmp_path))
    cache = ShardCache() if keeps else None
    reader = StreamReader(dataset, dataset.schema.names, order, cache=cache)
    if keeps:
        list(reader.batches(1))
    arrow = pa.total_allocated_bytes()
    seen = []
    tracemalloc.start()
    for _ in reader.batches(0):
        seen.append(pa.total_allocated_bytes() - arrow + tracemalloc.get_traced_memory()[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    spare = 4 << 20  # batches laid out together, files' footers, pages being read
    assert max(seen) < memory + spare
    assert peak < memory + spare
    gc.collect()
    assert pa.total_allocated_bytes() - arrow < block_bytes


# --- what is refused


def test_an_order_for_other_rows_is_refused(dataset):
    order = order_for(dataset)
    rows = {i: np.arange(shard.num_rows) for i, shard in enumerate(dataset.shards)}
    StreamReader(dataset, ["a"], order, rows=rows)
    del rows[0]
    with pytest.raises(
        UserError, match=r"the order is for 226 rows in 15 shards, the data has 206"
    ):
        StreamReader(dataset, ["a"], order, rows=rows)


@pytest.mark.parametrize(("rank", "world"), [(-1, 2), (2, 2), (0, 0)])
def test_a_worker_that_does_not_exist_is_refused(dataset, rank, world):
    with pytest.raises(UserError, match="stream: rank="):
        StreamReader(dataset, ["a"], order_for(dataset), rank=rank, world=world)


def test_a_batch_that_does_not_exist_is_refused(dataset):
    with pytest.raises(UserError, match="stream: start=16: the epoch has 15 batches"):
        next(StreamReader(dataset, ["a"], order_for(dataset)).batches(0, 16))


def test_text_is_refused_by_the_default_matrix(dataset):
    with pytest.raises(DataError, match="column 'word' has type string and is no number"):
        next(StreamReader(dataset, ["a", "word"], order_for(dataset)).batches(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"a": a[1:]}, r"decode gave \d+ 'a' for \d+ rows"),
        (lambda a: {"c": a}, r"decode gave \['c'\], before \['a'\]"),
        (lambda a: {"a": a.astype(np.int8)}, r"'a' as int8\[\], before as int64\[\]"),
        (lambda a: {"a": a[:, None]}, r"'a' as int64\[1\], before as int64\[\]"),
    ],
    ids=["rows", "names", "type", "shape"],
)
def test_decode_must_always_give_the_same(dataset, change, message):
    calls = itertools.count()

    def later_other(table):
        values = table["a"].to_numpy()
        return change(values) if next(calls) else {"a": values}

    with pytest.raises(DataError, match=message):
        list(StreamReader(dataset, ["a"], order_for(dataset), decode=later_other).batches(0))


# --- rows of different lengths


def lists(table):
    """As many steps as the number's last digit and one, all of them the number."""
    a = table["a"].to_numpy()
    lengths = a % 10 + 1
    offsets = np.cumsum(np.append(0, lengths))
    return {"a": a, "steps": RaggedArray(np.repeat(a, lengths)[:, None], offsets)}


@settings(deadline=None, max_examples=25)
@given(
    data=st.data(),
    batch_size=st.integers(1, 70),
    num_streams=st.integers(1, 5),
    block_rows=st.integers(1, 150),
    shuffle=st.booleans(),
)
def test_rows_of_different_lengths_stay_with_their_numbers(dataset, data, **given_):
    order = order_for(dataset, **given_)
    start = data.draw(st.integers(0, order.num_batches()))
    expected = by_definition(dataset, order, 1)
    for world in (1, 3):
        got = [[] for _ in range(start, order.num_batches())]
        for rank in range(world):
            reader = StreamReader(dataset, ["a"], order, rank=rank, world=world, decode=lists)
            for rows, batch in zip(got, reader.batches(1, start), strict=True):
                steps = batch["steps"]
                assert steps.lengths.tolist() == (batch["a"] % 10 + 1).tolist()
                assert steps.values[:, 0].tolist() == np.repeat(batch["a"], steps.lengths).tolist()
                rows.extend(batch["a"].tolist())
        assert [sorted(rows) for rows in got] == [sorted(batch) for batch in expected[start:]]


def test_what_is_not_in_the_shards_comes_with_their_rows(dataset):
    firsts = np.cumsum([0] + [shard.num_rows for shard in dataset.shards])

    def beside(shards):
        own = [np.arange(firsts[i], firsts[i + 1]) for i in shards]
        return {"n": np.concatenate([np.empty(0, np.int64), *own])}

    order = order_for(dataset)
    for rank in range(5):
        reader = StreamReader(
            dataset, ["a", "b"], order, rank=rank, world=5, decode=decode, beside=beside
        )
        assert all(np.array_equal(batch["n"], batch["a"]) for batch in reader.batches(0))
