import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import write_shards
from distml.data.order import StreamOrder
from distml.data.stream import StreamReader
from distml.errors import UserError
from distml.train.batch import Batch, Batches, MemoryPart, StreamPart
from distml.train.rows import Ragged, Rows

WORKERS = st.integers(1, 8)


def rows_of(num_rows, columns=2):
    random = np.random.default_rng(0)
    return Rows(
        {
            "numbers": random.normal(size=(num_rows, columns)).astype(np.float32),
            "y": np.arange(num_rows),
        }
    )


def shares(part, wanted, world_size):
    """The batches of each worker: a list of the workers' parts for each global batch."""
    each = [
        list(part.batches(replaced(wanted, rank=rank, world_size=world_size)))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in each}) == 1
    return list(zip(*each, strict=True))


def replaced(wanted, **fields):
    known = {name: getattr(wanted, name) for name in Batches.__dataclass_fields__}
    return Batches(**{**known, **fields})


def counted(batch):
    return batch["y"][: batch.num_rows].tolist()


def joined(batches):
    return [row for batch in batches for row in counted(batch)]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 40), st.integers(1, 20), WORKERS, st.integers(0, 3))
def test_workers_average_of_means_is_the_mean_of_the_whole_batch(num_rows, size, world, epoch):
    part = MemoryPart(rows_of(num_rows))
    wanted = Batches(batch_size=size, seed=1, epoch=epoch)
    whole = list(part.batches(wanted))
    for parts, all_rows in zip(shares(part, wanted, world), whole, strict=True):
        means = [batch.mean(batch["numbers"].double().sum(1)) for batch in parts]
        expected = all_rows["numbers"].double().sum(1).mean()
        assert torch.allclose(sum(means) / world, expected, atol=1e-12)
        assert joined(parts) == counted(all_rows)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 20), WORKERS, st.integers(1, 9))
def test_means_of_micro_batches_add_up_to_that_of_the_batch(num_rows, size, world, num_parts):
    part = MemoryPart(rows_of(num_rows))
    for parts in shares(part, Batches(batch_size=size), world):
        cut = [batch.split(num_parts) for batch in parts]
        # A sharded model's forward passes are collectives: all workers make as many.
        assert {len(micro) for micro in cut} == {min(num_parts, parts[0].global_rows)}
        for batch, micro in zip(parts, cut, strict=True):
            sums = sum(each.mean(each["numbers"].double().sum(1)) for each in micro)
            assert torch.allclose(sums, batch.mean(batch["numbers"].double().sum(1)), atol=1e-12)
            assert joined(micro) == counted(batch)
            assert all(len(each["y"]) >= 1 for each in micro)


def test_gradients_of_unequal_workers_average_to_that_of_one():
    part, target = MemoryPart(rows_of(7)), torch.arange(7.0)
    weight = torch.ones(2, requires_grad=True)

    def gradient(batch):
        losses = (batch["numbers"] @ weight - target[batch["y"]]).square()
        (found,) = torch.autograd.grad(batch.mean(losses), weight)
        return found

    for world in (2, 3, 8):
        for parts, (alone,) in zip(
            shares(part, Batches(batch_size=3), world),
            shares(part, Batches(batch_size=3), 1),
            strict=True,
        ):
            found = sum(gradient(batch) for batch in parts) / world
            assert torch.allclose(found, gradient(alone), rtol=1e-5)


def test_empty_share_gives_gradient_zero():
    part = MemoryPart(rows_of(1))
    ((first, second),) = shares(part, Batches(batch_size=4), 2)
    empty = first if not first.num_rows else second
    weight = torch.ones(2, requires_grad=True)
    loss = empty.mean((empty["numbers"] @ weight).square())
    loss.backward()
    assert loss.item() == 0
    assert weight.grad.tolist() == [0, 0]


def test_mean_of_losses_with_several_numbers_a_row_is_over_all_of_them():
    batch = Batch({"y": torch.zeros(3)}, num_rows=3, global_rows=3)
    assert batch.mean(torch.arange(12.0).reshape(3, 2, 2)).item() == 5.5


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 12), WORKERS, st.integers(0, 12), st.booleans())
def test_batches_from_any_start_are_those_of_the_whole_epoch(num_rows, size, world, start, drop):
    if drop and num_rows < size:
        return
    part = MemoryPart(rows_of(num_rows))
    wanted = Batches(batch_size=size, seed=3, epoch=2, drop_last=drop)
    whole = shares(part, wanted, 1)
    assert len(whole) == part.num_batches(wanted)
    late = shares(part, replaced(wanted, start=min(start, len(whole))), world)
    found = [joined(parts) for parts in late]
    assert found == [counted(batch) for (batch,) in whole[start:]]


def test_an_epoch_has_each_row_of_the_index_once():
    part = MemoryPart(rows_of(10), np.array([8, 1, 5]))
    assert part.num_rows == 3
    found = [row for batch in part.batches(Batches(batch_size=2)) for row in counted(batch)]
    assert sorted(found) == [1, 5, 8]
    unshuffled = part.batches(Batches(batch_size=3, shuffle=False))
    assert [counted(batch) for batch in unshuffled] == [[8, 1, 5]]


def test_other_epochs_and_seeds_have_another_order():
    part = MemoryPart(rows_of(30))

    def order(**fields):
        return [counted(b) for b in part.batches(Batches(batch_size=30, **fields))]

    assert order(epoch=0) == order(epoch=0)
    assert order(epoch=0) != order(epoch=1)
    assert order(seed=0) != order(seed=1)


def test_batches_are_memory_of_their_own():
    rows = rows_of(4)
    (batch,) = MemoryPart(rows).batches(Batches(batch_size=4, shuffle=False))
    batch["numbers"].zero_()
    assert rows.arrays["numbers"].any()


def test_ragged_rows_split_with_their_lengths():
    values = np.arange(1, 11, dtype=np.int64)
    rows = Rows({"tokens": Ragged(values, np.array([0, 4, 5, 10])), "y": np.arange(3)})
    (batch,) = MemoryPart(rows).batches(Batches(batch_size=3, shuffle=False))
    first, *_, last = batch.split(3)
    assert (first["lengths"].tolist(), last["lengths"].tolist()) == ([4], [5])
    assert last["tokens"].tolist() == [[6, 7, 8, 9, 10]]


def test_drop_last_of_too_few_rows_is_refused():
    with pytest.raises(UserError, match="leaves no batch"):
        list(MemoryPart(rows_of(3)).batches(Batches(batch_size=4, drop_last=True)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("shards")
    table = {"x": random.normal(size=23).astype(np.float32), "y": np.arange(23)}
    return write_shards(table, folder, rows_per_shard=5)


def decoded(table):
    return {"numbers": table["x"].to_numpy()[:, None], "y": table["y"].to_numpy()}


def streamed(dataset):
    def reader_of(wanted, cache):
        order = StreamOrder(
            shard_rows=tuple(shard.num_rows for shard in dataset.shards),
            batch_size=wanted.batch_size,
            seed=wanted.seed,
            num_streams=3,
            block_rows=5,
            shuffle=wanted.shuffle,
            drop_last=wanted.drop_last,
        )
        return StreamReader(
            dataset,
            ["x", "y"],
            order,
            rank=wanted.rank,
            world=wanted.world_size,
            decode=decoded,
            cache=cache,
        )

    return StreamPart(reader_of, sum(shard.num_rows for shard in dataset.shards))


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_streamed_batches_are_shared_as_those_in_memory(dataset, world):
    part = streamed(dataset)
    wanted = Batches(batch_size=4, seed=1, epoch=1)
    seen = []
    for parts, (alone,) in zip(shares(part, wanted, world), shares(part, wanted, 1), strict=True):
        means = [batch.mean(batch["numbers"].double()) for batch in parts]
        assert torch.allclose(sum(means) / world, alone["numbers"].double().mean(), atol=1e-12)
        found = sorted(joined(parts))
        assert found == sorted(counted(alone))
        seen += found
    assert sorted(seen) == list(range(23))


def test_streamed_batches_go_on_anywhere(dataset):
    part = streamed(dataset)
    wanted = Batches(batch_size=4, seed=1)
    whole = [counted(batch) for batch in part.batches(wanted)]
    for start in range(len(whole) + 1):
        late = part.batches(replaced(wanted, start=start))
        assert [counted(batch) for batch in late] == whole[start:]
