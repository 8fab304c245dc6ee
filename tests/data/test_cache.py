"""Decoded shards on disk: the same rows, whoever keeps them, and nothing left behind."""

import itertools
import pickle
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import RaggedArray, ShardedDataset, StreamOrder, StreamReader
from distml.data.cache import ShardCache
from distml.data.fetch import ShardSource
from distml.data.reading import FooterCache

SHARDS = [30, 7, 0, 25, 40, 1]


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setenv("DISTML_SCRATCH", str(folder))
    return folder


@pytest.fixture
def dataset(tmp_path):
    first = 0
    for number, count in enumerate(SHARDS):
        table = pa.table({"a": np.arange(first, first + count)})
        pq.write_table(table, tmp_path / f"part-{number}.parquet")
        first += count
    return ShardedDataset.open(tmp_path)


def decode(table):
    """A number, an array, and as many steps as the number's last digit."""
    a = table["a"].to_numpy()
    lengths = a % 10
    steps = RaggedArray(np.repeat(a, lengths)[:, None], np.cumsum(np.append(0, lengths)))
    return {"a": a, "x": np.stack([-a, a], axis=1).astype(np.float32), "steps": steps}


def order_for(dataset, **changes):
    rows = tuple(shard.num_rows for shard in dataset.shards)
    given_ = {"batch_size": 16, "seed": 5, "num_streams": 2, "block_rows": 60} | changes
    return StreamOrder(shard_rows=rows, **given_)


def reader(dataset, cache, order=None, **arguments):
    order = order or order_for(dataset)
    return StreamReader(dataset, ["a"], order, decode=decode, cache=cache, **arguments)


def plain(batches):
    """Batches as they can be compared."""
    return [
        {
            name: (values.values.tolist(), values.offsets.tolist())
            if isinstance(values, RaggedArray)
            else (values.dtype, values.tolist())
            for name, values in batch.items()
        }
        for batch in batches
    ]


def remove(folder):
    for shard in folder.glob("*.parquet"):
        shard.unlink()


def kept(scratch):
    """What is there, but for locks."""
    return sorted(path for path in scratch.rglob("*") if path.is_file() and path.name != "lock")


def folders(scratch):
    return [path for root in scratch.iterdir() for path in root.iterdir() if path.is_dir()]


def source(dataset, cache, **arguments):
    return ShardSource(
        dataset=dataset, columns=("a",), rows=None, decode=decode, beside=None, cache=cache,
        **({"keep": True} | arguments),
    )  # fmt: skip


# --- what is read


@settings(deadline=None, max_examples=25)
@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.tuples(
            st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, "datetime64[us]", "<U3"]),
            st.lists(st.integers(0, 3), max_size=2),
        ),
        min_size=1,
        max_size=4,
    ),
    num_rows=st.integers(0, 50),
)
def test_arrays_come_back_as_they_were(arrays, num_rows):
    given_ = {
        name: np.arange(num_rows * int(np.prod(tail))).reshape(num_rows, *tail).astype(dtype)
        for name, (dtype, tail) in arrays.items()
    }
    found = {}

    def place(name, dtype, shape):
        return found.setdefault(name, np.empty(shape, dtype))

    with_cache = ShardCache()
    with_cache.put(3, given_)
    assert with_cache.get(3, place) == {}
    with_cache.close()

    assert found.keys() == given_.keys()
    for name, values in given_.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes()


@settings(deadline=None, max_examples=30)
@given(
    data=st.data(),
    world=st.integers(1, 3),
    num_streams=st.integers(1, 4),
    block_rows=st.integers(1, 150),
    shuffle=st.booleans(),
)
def test_batches_are_the_same_with_shards_that_are_kept(dataset_of, data, world, **given_):
    dataset = dataset_of
    order = order_for(dataset, **given_)
    cache = ShardCache()
    for shard in data.draw(st.sets(st.integers(0, len(dataset.shards) - 1))):
        cache.put(shard, decode(dataset.read_shard(shard, ["a"])))
    for epoch, rank in itertools.product(range(2), range(world)):
        share = {"rank": rank, "world": world}
        start = data.draw(st.integers(0, order.num_batches()))
        expected = plain(reader(dataset, None, order, **share).batches(epoch, start))
        keep = data.draw(st.booleans())
        got = plain(reader(dataset, cache, order, keep=keep, **share).batches(epoch, start))
        assert got == expected
    cache.close()


@pytest.fixture(scope="module")
def dataset_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    pq.write_table(pa.table({"a": np.arange(200)}), folder / "part.parquet", row_group_size=23)
    return ShardedDataset.open(folder)


def test_after_an_epoch_the_source_is_not_read_again(dataset, tmp_path):
    cache = ShardCache()
    list(reader(dataset, cache).batches(0))
    expected = plain(reader(dataset, None).batches(1))
    remove(tmp_path)

    assert plain(reader(dataset, cache).batches(1)) == expected


def test_processes_with_the_same_cache_decode_each_shard_once(dataset, tmp_path):
    mine = ShardCache()
    other = pickle.loads(pickle.dumps(mine))
    order = order_for(dataset)
    for rank, cache in enumerate((mine, other)):
        list(reader(dataset, cache, order, rank=rank, world=2).batches(0))
    expected = plain(reader(dataset, None, order).batches(1))
    remove(tmp_path)

    assert plain(reader(dataset, other, order).batches(1)) == expected


def test_nothing_is_kept_of_the_last_epoch(dataset, scratch):
    cache = ShardCache()
    list(reader(dataset, cache, keep=False).batches(0))
    assert kept(scratch) == []

    cache.put(0, decode(dataset.read_shard(0, ["a"])))
    list(reader(dataset, cache, keep=False).batches(0))
    assert len(kept(scratch)) == 1

    list(reader(dataset, cache).batches(0))
    assert len(kept(scratch)) == sum(rows > 0 for rows in SHARDS)


def test_arrays_that_are_not_read_are_not_kept(dataset):
    cache = ShardCache()
    calls = itertools.count()

    def beside(shards):
        rows = sum(SHARDS[shard] for shard in shards)
        return {"call": np.full(rows, next(calls))}

    first, second = (
        [b["call"] for b in reader(dataset, cache, beside=beside).batches(0)] for _ in range(2)
    )
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))


# --- what goes wrong


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\5\0\0\0\0\0\0\0hello"),
    ],
    ids=["removed", "cut off", "emptied", "overwritten"],
)
def test_a_file_that_somebody_harmed_is_read_from_the_source(dataset, scratch, harm):
    rows = source(dataset, ShardCache())
    rows.arrays(rows.fetch([0, 1], FooterCache()))
    fetched = rows.fetch([0, 1], FooterCache())
    assert fetched.table is None
    harm(kept(scratch)[1])

    assert rows.arrays(fetched)["a"].tolist() == list(range(37))


def test_a_disk_that_is_nearly_full_keeps_nothing(dataset, scratch, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 9 * 10**8, 10**8))
    cache = ShardCache()
    batches = plain(reader(dataset, cache).batches(0))

    assert batches == plain(reader(dataset, None).batches(0))
    assert len(folders(scratch)) == 1
    assert kept(scratch) == []


def test_a_file_that_cannot_be_finished_is_removed(dataset, scratch, monkeypatch):
    begun = []

    def full(path, parts):
        begun.append(path.write_bytes(b"half"))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("distml.data.cache._write", full)
    cache = ShardCache()
    assert len(plain(reader(dataset, cache).batches(0))) == 7
    assert begun
    assert kept(scratch) == []


@pytest.mark.parametrize("where", ["", "/proc/nowhere"], ids=["switched off", "not writable"])
def test_without_a_folder_shards_are_read_again(dataset, scratch, monkeypatch, where):
    monkeypatch.setenv("DISTML_SCRATCH", where)
    cache = ShardCache()

    assert len(plain(reader(dataset, cache).batches(0))) == 7
    assert not cache.has(0)
    assert [*scratch.iterdir()] == []


def test_a_link_in_the_folder_of_all_users_is_not_followed(dataset, scratch, tmp_path):
    list(reader(dataset, ShardCache()).batches(0))
    (root,) = scratch.iterdir()
    elsewhere = tmp_path / "elsewhere"
    root.rename(elsewhere)
    root.symlink_to(elsewhere)

    assert not ShardCache().has(0)


def test_what_is_in_memory_is_no_disk(monkeypatch):
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("there is no memory that looks like a disk here")
    monkeypatch.delenv("DISTML_SCRATCH")
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    before = {*shared.iterdir()}
    with_cache = ShardCache()
    with_cache.put(0, {"a": np.arange(3)})
    with_cache.close()

    assert {*shared.iterdir()} <= before


def test_objects_are_not_kept(scratch):
    cache = ShardCache()
    cache.put(0, {"a": np.array([None, "b"], dtype=object)})

    assert not cache.has(0)


# --- what is left behind


def test_the_last_to_let_go_deletes_the_files(scratch):
    first = ShardCache()
    first.put(0, {"a": np.arange(3)})
    second = pickle.loads(pickle.dumps(first))
    assert second.has(0)
    first.close()
    assert len(kept(scratch)) == 1
    second.close()

    assert folders(scratch) == []


def test_a_cache_may_be_used_again(scratch):
    cache = ShardCache()
    for _ in range(2):
        assert not cache.has(0)
        cache.put(0, {"a": np.arange(3)})
        assert cache.has(0)
        cache.close()
    assert folders(scratch) == []


def test_who_forgets_to_let_go_leaves_nothing(scratch):
    cache = ShardCache()
    cache.put(0, {"a": np.arange(3)})
    del cache

    assert folders(scratch) == []


def test_what_a_killed_process_left_is_deleted_by_the_next(scratch):
    program = (
        "import numpy as np; from distml.data.cache import ShardCache; import time;"
        "cache = ShardCache('left'); cache.put(0, {'a': np.arange(3)}); print('kept', flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"kept\n"
        other = ShardCache()
        assert not other.has(0)
        assert [path.parent.name for path in kept(scratch)] == ["left"]
        process.send_signal(signal.SIGKILL)
    third = ShardCache()
    assert not third.has(0)
    assert kept(scratch) == []
