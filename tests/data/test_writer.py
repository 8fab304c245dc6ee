import itertools
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from distml.data import ShardedDataset, write_shards
from distml.data.writer import _content
from distml.errors import DataError, StorageError, UserError

TABLE = pa.table(
    {
        "i": pa.array(range(100)),
        "f": np.linspace(0, 1, 100),
        "s": pa.array([None if i % 9 == 0 else f"v{i % 7}" for i in range(100)]),
        "b": pa.array([None if i % 5 == 0 else i % 2 == 0 for i in range(100)]),
    }
)


def batches(size=7, stop_after=None):
    for number, batch in enumerate(TABLE.to_batches(max_chunksize=size)):
        if number == stop_after:
            raise KeyboardInterrupt
        yield batch


def written_at(folder):
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob("part-*"))}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(TABLE, id="table"),
        pytest.param(TABLE.to_batches(max_chunksize=13), id="list of batches"),
        pytest.param(TABLE.to_reader(max_chunksize=11), id="reader"),
        pytest.param(batches(), id="generator"),
        pytest.param(lambda: batches(), id="function"),
        pytest.param(TABLE.to_pylist(), id="list of dicts"),
        pytest.param({name: TABLE[name] for name in TABLE.column_names}, id="dict"),
        pytest.param(TABLE.to_pandas().astype({"s": object}), id="pandas"),
    ],
)
def test_every_form_is_written_to_the_same_dataset(tmp_path, data):
    dataset = write_shards(data, tmp_path / "d", rows_per_shard=30)
    assert [shard.num_rows for shard in dataset.shards] == [30, 30, 30, 10]
    assert dataset.to_table().equals(TABLE)
    assert dataset.fingerprint == write_shards(TABLE, tmp_path / "e", rows_per_shard=30).fingerprint


def test_arrays_are_written_under_given_names(tmp_path):
    dataset = write_shards(np.eye(4), tmp_path, columns=list("abcd"), num_shards=2)
    assert dataset.schema.names == list("abcd")
    assert [shard.num_rows for shard in dataset.shards] == [2, 2]


def test_dataset_of_another_format_is_converted(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,a\n2,b\n")
    source = ShardedDataset.open(tmp_path / "a.csv")
    assert write_shards(source, tmp_path / "d").to_table().equals(source.to_table())


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(0, 100), max_size=5), offset=st.integers(0, 9))
def test_content_hash_does_not_know_chunks_and_offsets(cuts, offset):
    table = pa.concat_tables([TABLE.slice(0, offset), TABLE]).slice(offset)
    edges = sorted({0, 100, *cuts})
    cut = pa.concat_tables(
        [
            TABLE.slice(0, 0),
            *(table.slice(a, b - a) for a, b in itertools.pairwise(edges)),
        ]
    )
    assert _content(cut) == _content(TABLE)


def test_sizes_are_level(tmp_path):
    sizes = [shard.num_rows for shard in write_shards(TABLE, tmp_path, num_shards=7).shards]
    assert sum(sizes) == 100
    assert max(sizes) - min(sizes) == 1


def test_floats_are_plain_and_the_rest_may_have_a_dictionary(tmp_path):
    write_shards(TABLE, tmp_path)
    group = pq.read_metadata(tmp_path / "part-00000.parquet").row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(4)}
    assert "RLE_DICTIONARY" not in encodings["f"]
    assert "RLE_DICTIONARY" in encodings["s"]


def test_flipped_byte_is_found_when_read(tmp_path):
    dataset = write_shards(TABLE, tmp_path, num_shards=4)
    path = tmp_path / "part-00002.parquet"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"part-00002\.parquet"):
        dataset.to_table()


@pytest.mark.parametrize("stop_after", [0, 1, 5, 10, 14])
def test_interrupted_write_does_not_open_and_goes_on_where_it_stopped(tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        write_shards(batches(stop_after=stop_after), tmp_path, rows_per_shard=20)
    with pytest.raises(DataError, match=r"half-written|no data files"):
        ShardedDataset.open(tmp_path)
    before = written_at(tmp_path)
    dataset = write_shards(batches(), tmp_path, rows_per_shard=20)
    assert dataset.to_table().equals(TABLE)
    assert {name: at for name, at in written_at(tmp_path).items() if name in before} == before


KILLED = """
    import os, signal, sys
    import pyarrow as pa
    from distml.data import write_shards

    def tables():
        for i in range(10):
            if i == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield pa.table({"x": range(i * 1000, i * 1000 + 1000)})

    write_shards(tables(), sys.argv[1], rows_per_shard=1000)
"""


@pytest.mark.parametrize("at", [1, 4, 9])
def test_killed_writer_leaves_nothing_that_opens(tmp_path, at):
    script = tmp_path / "write.py"
    script.write_text(textwrap.dedent(KILLED))
    folder = tmp_path / "d"
    run = [sys.executable, str(script), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([*run, str(at)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(DataError):
        ShardedDataset.open(folder)
    before = written_at(folder)
    subprocess.run([*run, "99"], env=environment, check=True)
    assert ShardedDataset.open(folder).to_table()["x"].to_pylist() == list(range(10_000))
    assert {name: mtime for name, mtime in written_at(folder).items() if name in before} == before


def test_torn_shard_is_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_shards(batches(stop_after=14), tmp_path, rows_per_shard=20)
    (tmp_path / "part-00001.parquet").write_bytes(b"PAR1 torn")
    assert write_shards(TABLE, tmp_path, rows_per_shard=20).to_table().equals(TABLE)


def test_other_shard_sizes_leave_no_old_shards(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_shards(batches(stop_after=14), tmp_path, rows_per_shard=10)
    dataset = write_shards(TABLE, tmp_path, num_shards=2)
    assert len(written_at(tmp_path)) == 2
    assert dataset.to_table().equals(TABLE)


def test_whole_dataset_is_not_written_again(tmp_path):
    write_shards(TABLE, tmp_path, num_shards=3)
    before = written_at(tmp_path)
    assert write_shards(TABLE, tmp_path, num_shards=3).num_rows == 100
    assert written_at(tmp_path) == before


def test_same_key_does_not_even_look_at_the_data(tmp_path):
    write_shards(TABLE, tmp_path, key="v1")
    assert write_shards(lambda: pytest.fail("was read"), tmp_path, key="v1").num_rows == 100


@pytest.mark.parametrize(
    ("data", "options"),
    [
        pytest.param(TABLE.slice(1), {}, id="fewer rows"),
        pytest.param(pa.concat_tables([TABLE, TABLE]), {}, id="more rows"),
        pytest.param(TABLE.select(["i"]), {}, id="other columns"),
        pytest.param(TABLE, {"num_shards": 4}, id="other shards"),
        pytest.param(TABLE, {"key": "v2"}, id="other key"),
    ],
)
def test_another_dataset_is_replaced_only_if_told(tmp_path, data, options):
    write_shards(TABLE, tmp_path, key="v1", rows_per_shard=50)
    before = written_at(tmp_path)
    options = {"rows_per_shard": None if "num_shards" in options else 50, **options}
    with pytest.raises(UserError, match="holds another dataset"):
        write_shards(data, tmp_path, **options)
    assert written_at(tmp_path) == before
    assert ShardedDataset.open(tmp_path).to_table().equals(TABLE)
    replaced = write_shards(data, tmp_path, overwrite=True, **options)
    assert replaced.to_table().equals(data)


def test_missing_shard_is_named(tmp_path):
    write_shards(TABLE, tmp_path, num_shards=3)
    (tmp_path / "part-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"part-00001\.parquet: the shard is missing"):
        ShardedDataset.open(tmp_path)


def test_files_of_others_are_never_touched(tmp_path):
    (tmp_path / "thesis.csv").write_text("x\n1\n")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"thesis\.csv"):
            write_shards(TABLE, tmp_path, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.csv"]


def test_object_store_without_rename(object_store):
    dataset = write_shards(TABLE, "bucket/d", num_shards=3, filesystem=object_store)
    assert dataset.to_table().equals(TABLE)
    assert write_shards(TABLE, "bucket/d", num_shards=3, filesystem=object_store) == dataset
    objects = object_store.handler.objects
    assert sorted(objects) == [
        "bucket/d/_SUCCESS",
        "bucket/d/_distml.json",
        *(f"bucket/d/part-0000{i}.parquet" for i in range(3)),
    ]
    del objects["bucket/d/_SUCCESS"]
    with pytest.raises(DataError, match="half-written"):
        ShardedDataset.open("bucket/d", filesystem=object_store)


def test_subtree_of_a_disk_is_a_disk(tmp_path):
    home = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    write_shards(TABLE, "d", filesystem=home)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "_SUCCESS",
        "_distml.json",
        "part-00000.parquet",
    ]


def test_storage_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_shards(TABLE, tmp_path / "file" / "d")


def test_broken_mark_is_named(tmp_path):
    write_shards(TABLE, tmp_path)
    (tmp_path / "_SUCCESS").write_text("{")
    with pytest.raises(DataError, match="_SUCCESS: cannot be read"):
        ShardedDataset.open(tmp_path)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        pytest.param(TABLE.slice(0, 0), {}, DataError, "no row", id="no rows"),
        pytest.param(iter([]), {}, DataError, "no row", id="no tables"),
        pytest.param(TABLE, {"num_shards": 0}, UserError, "num_shards=0", id="no shards"),
        pytest.param(TABLE, {"num_shards": 101}, UserError, "more than the 100", id="many shards"),
        pytest.param(
            TABLE, {"num_shards": 2, "rows_per_shard": 2}, UserError, "not both", id="both"
        ),
        pytest.param(
            batches(), {"num_shards": 2}, UserError, "rows_per_shard", id="unknown length"
        ),
        pytest.param(
            [{"a": 1}, {"a": "x"}], {}, DataError, "'a' cannot become one", id="mixed rows"
        ),
        pytest.param(
            iter([{"a": [1]}, {"a": ["x"]}]),
            {},
            DataError,
            "'a' has type string in table 1",
            id="types",
        ),
        pytest.param(
            iter([{"a": [1]}, {"b": [1]}]), {}, DataError, "'a' is not in all", id="columns"
        ),
    ],
)
def test_senseless_input_leaves_nothing_that_opens(tmp_path, data, options, error, message):
    with pytest.raises(error, match=message):
        write_shards(data, tmp_path / "d", **options)
    with pytest.raises(DataError):
        ShardedDataset.open(tmp_path / "d")
