import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import MemoryOrder, StreamOrder
from distml.data.deal import choose_num_streams, rows_taken
from distml.errors import DataError, UserError

WORLDS = (1, 2, 3, 4, 8)
quick = settings(deadline=None, max_examples=50)

memory_orders = st.builds(
    MemoryOrder,
    num_rows=st.integers(20, 300),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 2**40),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
stream_orders = st.builds(
    StreamOrder,
    shard_rows=st.lists(st.integers(0, 30), max_size=20).map(lambda rows: (20, *rows)),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 2**40),
    num_streams=st.integers(1, 10),
    block_rows=st.integers(1, 60),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)


def rows_of_streams(order, epoch):
    """The rows of each stream as (shard, row) in their order: the definition, row by row."""
    streams = []
    for stream, blocks in enumerate(order.streams(epoch)):
        rows = []
        for number, shards in enumerate(blocks):
            block = [(shard, row) for shard in shards for row in range(order.shard_rows[shard])]
            order_of = order.block_permutation(epoch, stream, number, len(block))
            rows += [block[i] for i in order_of]
        streams.append(rows)
    return streams


def round_robin(streams):
    """One row of each stream that still has rows, round after round."""
    rounds = range(max((len(rows) for rows in streams), default=0))
    return [rows[i] for i in rounds for rows in streams if i < len(rows)]


def batches_of(order, rows):
    return [rows[i : i + order.batch_size] for i in range(0, len(rows), order.batch_size)][
        : order.num_batches()
    ]


# --- data in memory


@quick
@given(order=memory_orders, epoch=st.integers(0, 5))
def test_every_row_comes_once_an_epoch_or_is_in_the_batch_left_out(order, epoch):
    rows = order.epoch(epoch)
    assert rows.dtype == np.int64
    assert sorted(rows) == list(range(order.num_rows))
    sizes = [order.batch_rows(batch) for batch in range(order.num_batches())]
    full = order.num_rows // order.batch_size * order.batch_size
    assert sum(sizes) == (full if order.drop_last else order.num_rows)
    assert set(sizes[:-1]) <= {order.batch_size}


@quick
@given(order=memory_orders, world=st.integers(1, 12))
def test_workers_divide_a_batch_level_to_one_row(order, world):
    for batch in range(order.num_batches()):
        shares = [order.share(batch, rank, world) for rank in range(world)]
        edges = [shares[0].start, *[share.stop for share in shares]]
        assert [share.start for share in shares] == edges[:-1]
        assert edges[0] == batch * order.batch_size
        assert edges[-1] - edges[0] == order.batch_rows(batch)
        sizes = np.diff(edges)
        assert max(sizes) - min(sizes) <= 1


def test_an_order_depends_on_seed_and_epoch_alone():
    order = MemoryOrder(num_rows=1000, batch_size=7, seed=3)
    again = MemoryOrder(num_rows=1000, batch_size=100, seed=3, drop_last=True)
    assert np.array_equal(order.epoch(4), again.epoch(4))
    assert not np.array_equal(order.epoch(4), order.epoch(5))
    other = MemoryOrder(num_rows=1000, batch_size=7, seed=4)
    assert not np.array_equal(order.epoch(4), other.epoch(4))


def test_an_order_that_does_not_shuffle_keeps_the_rows_as_they_stand():
    order = MemoryOrder(num_rows=10, batch_size=3, seed=0, shuffle=False)
    assert order.epoch(0).tolist() == order.epoch(7).tolist() == list(range(10))


# --- data that streams


@quick
@given(order=stream_orders, epoch=st.integers(0, 3))
def test_streams_hold_every_shard_with_rows_once(order, epoch):
    streams = order.streams(epoch)
    assert len(streams) == order.num_streams
    shards = [shard for stream in streams for block in stream for shard in block]
    assert sorted(shards) == [i for i, rows in enumerate(order.shard_rows) if rows]


@quick
@given(order=stream_orders)
def test_blocks_are_as_long_as_they_may_be(order):
    def length(shards):
        return sum(order.shard_rows[shard] for shard in shards)

    for stream in order.streams(0):
        assert all(len(block) == 1 or length(block) <= order.block_rows for block in stream)
        for block, after in itertools.pairwise(stream):
            assert length([*block, after[0]]) > order.block_rows


@quick
@given(order=stream_orders)
def test_streams_are_level_to_one_shard(order):
    lengths = order.lengths(order.streams(1))
    assert lengths.sum() == order.num_rows
    if order.shuffle:
        assert max(lengths) - min(lengths) <= max(order.shard_rows)


@quick
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=8).map(np.array),
)
def test_rows_taken_is_what_counting_gives(lengths):
    given_by = round_robin([[stream] * length for stream, length in enumerate(lengths)])
    counted = [
        np.bincount(np.array(given_by[:position], dtype=np.int64), minlength=len(lengths))
        for position in range(len(given_by) + 1)
    ]
    assert np.array_equal(rows_taken(lengths, np.arange(len(counted))), counted)
    assert np.array_equal(StreamOrder.taken(lengths, len(given_by)), lengths)


@quick
@given(order=stream_orders, epoch=st.integers(0, 3))
def test_global_batches_are_the_same_for_any_number_of_workers(order, epoch):
    streams = rows_of_streams(order, epoch)
    expected = [sorted(rows) for rows in batches_of(order, round_robin(streams))]
    assert [len(rows) for rows in expected] == [
        order.batch_rows(batch) for batch in range(order.num_batches())
    ]
    for world in WORLDS:
        for batch in range(order.num_batches()):
            rows = []
            for rank in range(world):
                for stream, part in order.share(epoch, batch, rank, world).items():
                    assert stream % world == rank
                    rows += streams[stream][part.start : part.stop]
            assert sorted(rows) == expected[batch]


@quick
@given(order=stream_orders)
def test_streaming_gives_every_row_once_or_the_stated_rows(order):
    rows = [
        row for batch in batches_of(order, round_robin(rows_of_streams(order, 2))) for row in batch
    ]
    full = order.num_rows // order.batch_size * order.batch_size
    assert len(rows) == (full if order.drop_last else order.num_rows)
    assert len(set(rows)) == len(rows)


def test_the_order_of_streams_depends_on_seed_and_epoch_alone():
    def order_of(**changes):
        given_ = {"seed": 1, "batch_size": 8, "num_streams": 4, "block_rows": 40} | changes
        return StreamOrder(shard_rows=(10,) * 24, **given_)

    rows = rows_of_streams(order_of(), 0)
    assert rows == rows_of_streams(order_of(batch_size=3, drop_last=True), 0)
    assert rows != rows_of_streams(order_of(), 1)
    assert rows != rows_of_streams(order_of(seed=2), 0)


def test_blocks_are_shuffled_each_in_its_own_way():
    order = StreamOrder(shard_rows=(50,), batch_size=8, seed=1, num_streams=1, block_rows=50)
    keys = [(e, s, b) for e in range(3) for s in range(3) for b in range(3)]
    orders = {tuple(order.block_permutation(*key, 50)) for key in keys}
    assert len(orders) == len(keys)


def test_streams_that_are_not_shuffled_take_the_shards_in_turn():
    order = StreamOrder(
        shard_rows=(2, 0, 3, 1, 2), batch_size=2, seed=0, num_streams=2, block_rows=4, shuffle=False
    )
    assert order.streams(0) == order.streams(3) == [((0, 3),), ((2,), (4,))]
    assert order.block_permutation(0, 1, 0, 3).tolist() == [0, 1, 2]


# --- the plan


@quick
@given(
    shard_rows=st.lists(st.integers(1, 100), min_size=1, max_size=200),
    row_bytes=st.integers(1, 1000),
    spare=st.integers(1, 300),
)
def test_a_plan_keeps_all_blocks_within_the_memory_allowed(shard_rows, row_bytes, spare):
    memory = 3 * max(shard_rows) * row_bytes * spare
    order = StreamOrder.plan(shard_rows, row_bytes, memory, batch_size=1, seed=0)
    assert 1 <= order.num_streams <= min(64, len(shard_rows))
    block = max(order.block_rows, *shard_rows)
    assert 3 * order.num_streams * block * row_bytes <= memory


def test_a_plan_counts_rows_that_are_stored_but_not_read():
    made = {"batch_size": 10, "seed": 0}
    kept = StreamOrder.plan([10] * 64, 1, 3 * 100 * 8, stored_rows=[100] * 64, **made)
    assert kept.num_streams == 8
    assert StreamOrder.plan([10] * 64, 1, 3 * 100 * 8, **made).num_streams == 64


@pytest.mark.parametrize(
    ("num_shards", "most", "chosen"),
    [(640, 64, 64), (65, 64, 34), (100, 64, 54), (3, 64, 3), (1, 64, 1), (77, 4, 4), (5, 64, 5)],
)
def test_a_plan_has_many_streams_of_equal_length(num_shards, most, chosen):
    rows = np.full(num_shards, 1000)
    assert choose_num_streams(rows, min(most, num_shards)) == chosen


def test_a_plan_that_does_not_fit_says_what_would():
    with pytest.raises(DataError) as caught:
        StreamOrder.plan([100, 5000], 80, 600_000, batch_size=10, seed=0)
    assert str(caught.value) == (
        "stream: memory_bytes=600,000 does not hold 3 blocks of the largest shard (5,000 rows of "
        "80 bytes); give at least 1,200,000, or write shards of at most 2,500 rows"
    )
    StreamOrder.plan([100, 5000], 80, 1_200_000, batch_size=10, seed=0)
    StreamOrder.plan([100, 2500], 80, 600_000, batch_size=10, seed=0)


# --- what is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"seed": -1},
        {"num_streams": 0},
        {"block_rows": 0},
        {"shard_rows": (5, -1)},
        {"batch_size": 11, "drop_last": True},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(wrong):
    right = {"shard_rows": (5, 5), "batch_size": 2, "seed": 0, "num_streams": 2, "block_rows": 5}
    with pytest.raises(UserError, match="order: "):
        StreamOrder(**right | wrong)


def test_dropping_the_only_batch_is_refused():
    with pytest.raises(UserError, match="batch_size=11 is more than the 10 rows"):
        MemoryOrder(num_rows=10, batch_size=11, seed=0, drop_last=True)


@pytest.mark.parametrize(("batch", "rank", "world"), [(4, 0, 1), (-1, 0, 1), (0, 2, 2), (0, -1, 2)])
def test_a_batch_or_worker_that_does_not_exist_is_refused(batch, rank, world):
    with pytest.raises(IndexError):
        MemoryOrder(num_rows=10, batch_size=3, seed=0).share(batch, rank, world)
    streams = StreamOrder(shard_rows=(10,), batch_size=3, seed=0, num_streams=1, block_rows=10)
    with pytest.raises(IndexError):
        streams.share(0, batch, rank, world)


def test_data_without_rows_has_no_batches():
    assert MemoryOrder(num_rows=0, batch_size=3, seed=0).num_batches() == 0
    order = StreamOrder.plan([0, 0], 4, 100, batch_size=3, seed=0)
    assert order.num_batches() == 0
    assert order.streams(0) == [()]
