import gzip
import pickle
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from distml.data import ShardedDataset
from distml.errors import DataError

TABLE = pa.table(
    {
        "i": pa.array(range(100)),
        "f": np.linspace(0, 1, 100),
        "s": pa.array([None if i % 9 == 0 else f"v{i % 7}" for i in range(100)]),
    }
)


def write_parquet(table, path):
    pq.write_table(table, path, row_group_size=30)


WRITERS = {
    "parquet": write_parquet,
    "feather": feather.write_feather,
    "csv": lambda table, path: pa_csv.write_csv(table, path),
}


def write_parts(folder, suffix="parquet", parts=3):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(parts):
        low, high = 100 * i // parts, 100 * (i + 1) // parts
        WRITERS[suffix](TABLE.slice(low, high - low), folder / f"part-{i}.{suffix}")
    return folder


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("form", ["folder", "glob", "list", "uri", "filesystem"])
def test_every_format_opens_from_every_kind_of_place(tmp_path, suffix, form):
    folder = write_parts(tmp_path / "data", suffix)
    uri = {
        "folder": folder,
        "glob": f"{folder}/part-*.{suffix}",
        "list": sorted(folder.iterdir(), reverse=True),
        "uri": folder.as_uri(),
        "filesystem": "data",
    }[form]
    home = (
        fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()) if form == "filesystem" else None
    )
    dataset = ShardedDataset.open(uri, filesystem=home)
    assert dataset.num_rows == 100
    assert dataset.schema == TABLE.schema
    assert dataset.num_bytes > 0
    assert dataset.to_table().equals(TABLE)
    assert pa.concat_tables(dataset.iter_tables()).equals(TABLE)
    assert sum(shard.num_rows for shard in dataset.shards) == 100


def test_parquet_shards_are_row_groups(tmp_path):
    write_parquet(TABLE, tmp_path / "one.parquet")
    dataset = ShardedDataset.open(tmp_path / "one.parquet")
    assert [(s.path, s.row_group, s.num_rows) for s in dataset.shards] == [
        ("one.parquet", 0, 30),
        ("one.parquet", 1, 30),
        ("one.parquet", 2, 30),
        ("one.parquet", 3, 10),
    ]
    assert dataset.read_shard(2, ["f", "i"]).equals(TABLE.slice(60, 30).select(["f", "i"]))


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("num_rows", [1, 7, 30, 1000])
def test_blocks_of_a_shard_are_its_rows_in_order(tmp_path, suffix, num_rows):
    folder = write_parts(tmp_path / "season=3", suffix, parts=2).parent
    dataset = ShardedDataset.open(folder)
    names = ["season", "s", "i"]
    for index, shard in enumerate(dataset.shards):
        blocks = list(dataset.iter_blocks(index, names, num_rows=num_rows))
        assert pa.concat_tables(blocks).equals(dataset.read_shard(index, names))
        sizes = [block.num_rows for block in blocks]
        assert sizes[:-1] == [num_rows] * (shard.num_rows // num_rows - (sizes[-1] == num_rows))
        assert sizes[-1] <= num_rows


def test_manifest_is_made_without_reading_the_data(tmp_path):
    path = tmp_path / "one.parquet"
    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=100_000)}), path)
    footer = pq.read_metadata(path).serialized_size + 8
    data = path.read_bytes()
    path.write_bytes(b"PAR1" + b"\0" * (len(data) - footer - 4) + data[-footer:])
    dataset = ShardedDataset.open(path)
    assert dataset.num_rows == 100_000
    with pytest.raises(DataError, match=r"one\.parquet: cannot be read"):
        dataset.to_table()


def test_dataset_is_a_value_that_travels(tmp_path):
    dataset = ShardedDataset.open(write_parts(tmp_path)).select(["s", "i"])
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy == dataset
    assert copy.read_shard(1).equals(dataset.read_shard(1))


def test_selected_columns_come_in_their_order(tmp_path):
    dataset = ShardedDataset.open(write_parts(tmp_path), columns=["s", "i"])
    assert dataset.to_table().column_names == ["s", "i"]
    assert dataset.select(["i"]).schema.names == ["i"]
    assert dataset.to_table(["i"]).equals(TABLE.select(["i"]))


@pytest.mark.parametrize("suffix", WRITERS)
def test_fingerprint_depends_on_content_and_not_on_place(tmp_path, suffix):
    first = write_parts(tmp_path / "here", suffix)
    shutil.copytree(first, tmp_path / "far" / "there")
    fingerprint = ShardedDataset.open(first).fingerprint
    assert ShardedDataset.open(tmp_path / "far" / "there").fingerprint == fingerprint
    assert ShardedDataset.open(sorted(first.iterdir(), reverse=True)).fingerprint == fingerprint
    changed = TABLE.slice(33, 33).set_column(1, "f", pa.array(np.linspace(5, 6, 33)))
    WRITERS[suffix](changed, first / f"part-1.{suffix}")
    assert ShardedDataset.open(first).fingerprint != fingerprint


def test_fingerprint_knows_the_columns(tmp_path):
    dataset = ShardedDataset.open(write_parts(tmp_path))
    assert dataset.select(["i"]).fingerprint != dataset.fingerprint


def test_hive_partitions_become_columns(tmp_path):
    for year, name in ((2013, "a b"), (2014, "c")):
        folder = tmp_path / f"year={year}" / f"name={name.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"x": [year]}), folder / "p.parquet")
    dataset = ShardedDataset.open(tmp_path)
    assert dataset.to_table().to_pylist() == [
        {"x": 2013, "year": 2013, "name": "a b"},
        {"x": 2014, "year": 2014, "name": "c"},
    ]
    assert dataset.to_table(["name"]).to_pydict() == {"name": ["a b", "c"]}
    assert dataset.select(["year"]).schema.field("year").type == pa.int64()


def test_hive_null_and_mixed_values(tmp_path):
    for value in ("1", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"k={value}").mkdir()
        pq.write_table(pa.table({"x": [0]}), tmp_path / f"k={value}" / "p.parquet")
    assert ShardedDataset.open(tmp_path).to_table()["k"].to_pylist() == [1, None]
    (tmp_path / "k=z").mkdir()
    pq.write_table(pa.table({"x": [0]}), tmp_path / "k=z" / "p.parquet")
    assert ShardedDataset.open(tmp_path).to_table()["k"].to_pylist() == ["1", None, "z"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({"p.parquet": None, "k=1/p.parquet": None}, "open one level", id="uneven"),
        pytest.param({"i=1/p.parquet": None}, "'i' is both", id="also in the file"),
    ],
)
def test_odd_partitions_are_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_parquet(TABLE, tmp_path / name)
    with pytest.raises(DataError, match=message):
        ShardedDataset.open(tmp_path)


def test_csv_types_agree_over_files(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,s\n1,,NA\n2,,b\n")
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("x,y,s\n1.5,7,c\n")
    dataset = ShardedDataset.open(tmp_path)
    assert dataset.schema.types == [pa.float64(), pa.int64(), pa.string()]
    assert dataset.to_table().to_pydict() == {
        "x": [1.0, 2.0, 1.5],
        "y": [None, None, 7],
        "s": [None, "b", "c"],
    }


def test_encodings_of_writers_are_no_change_of_type(tmp_path):
    pq.write_table(pa.table({"s": pa.array(["a"])}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"s": pa.array(["b"]).dictionary_encode()}), tmp_path / "2.parquet")
    pd.DataFrame({"s": ["c"]}).to_parquet(tmp_path / "3.parquet")
    pq.write_table(pa.table({"s": pa.nulls(1)}), tmp_path / "4.parquet")
    table = ShardedDataset.open(tmp_path).to_table()
    assert table["s"].to_pylist() == ["a", "b", "c", None]
    assert table.schema.field("s").type == pa.string()


def test_changed_type_names_file_column_and_types(tmp_path):
    write_parts(tmp_path)
    changed = TABLE.set_column(0, "i", TABLE["i"].cast(pa.string()))
    pq.write_table(changed, tmp_path / "part-1.parquet")
    with pytest.raises(DataError) as caught:
        ShardedDataset.open(tmp_path)
    for word in ("part-1.parquet", "'i'", "string", "int64", "part-0.parquet"):
        assert word in str(caught.value)
    assert ShardedDataset.open(tmp_path, columns=["f"]).num_rows == 33 + 100 + 34


@pytest.mark.parametrize("part", [0, 1])
def test_missing_column_names_the_file(tmp_path, part):
    write_parts(tmp_path)
    pq.write_table(TABLE.drop_columns(["f"]), tmp_path / f"part-{part}.parquet")
    with pytest.raises(DataError, match=f"part-{part}.parquet: column 'f' is missing"):
        ShardedDataset.open(tmp_path)


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
@pytest.mark.parametrize("kept", [0, 3, 0.5, 0.999])
def test_truncated_shard_is_named(tmp_path, suffix, kept):
    path = write_parts(tmp_path, suffix) / f"part-1.{suffix}"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(DataError, match=rf"part-1\.{suffix}: cannot be read as") as caught:
        ShardedDataset.open(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n3\n"], ids=["empty", "ragged"])
def test_broken_csv_is_named(tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=r"bad\.csv: cannot be read as csv"):
        ShardedDataset.open(tmp_path)


def test_shard_that_vanished_is_named(tmp_path):
    dataset = ShardedDataset.open(write_parts(tmp_path))
    (tmp_path / "part-2.parquet").unlink()
    with pytest.raises(DataError, match=r"part-2\.parquet"):
        dataset.to_table()


def test_column_twice_in_a_file_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x,x\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv: column 'x' appears twice"):
        ShardedDataset.open(tmp_path)


def test_unknown_column_suggests_the_nearest(tmp_path):
    write_parquet(pa.table({"wind_gust": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="did you mean 'wind_gust'"):
        ShardedDataset.open(tmp_path, columns=["wind_gst"])
    with pytest.raises(DataError, match="did you mean 'wind_gust'"):
        ShardedDataset.open(tmp_path).read_shard(0, ["gust"])


def test_file_without_a_suffix_is_told_by_its_first_bytes(tmp_path):
    write_parquet(TABLE, tmp_path / "data")
    feather.write_feather(TABLE, tmp_path / "more")
    assert ShardedDataset.open(tmp_path / "data").format == "parquet"
    assert ShardedDataset.open(tmp_path / "more").format == "ipc"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        pytest.param([], {}, "no data files", id="empty folder"),
        pytest.param(["readme.txt"], {}, "no data files", id="other files only"),
        pytest.param(["a.csv", "b.parquet"], {}, "formats csv, parquet", id="mixed"),
        pytest.param(["a.csv"], {"format": "xml"}, "unknown format 'xml'", id="unknown format"),
        pytest.param(["a.csv"], {"format": "parquet"}, "no data files", id="format not there"),
    ],
)
def test_no_data_is_refused(tmp_path, names, options, message):
    for name in names:
        (tmp_path / name).write_text("x\n1\n")
    with pytest.raises(DataError, match=message):
        ShardedDataset.open(tmp_path, **options)


def test_format_chooses_among_mixed_files(tmp_path):
    write_parquet(TABLE, tmp_path / "a.parquet")
    feather.write_feather(TABLE, tmp_path / "b.feather")
    (tmp_path / "notes.txt").write_text("x")
    assert ShardedDataset.open(tmp_path / "*.feather").format == "ipc"
    assert ShardedDataset.open(f"{tmp_path}/[ab].*", format="feather").num_rows == 100


def test_empty_table_opens(tmp_path):
    pq.write_table(TABLE.slice(0, 0), tmp_path / "a.parquet")
    dataset = ShardedDataset.open(tmp_path)
    assert dataset.num_rows == 0
    assert dataset.to_table().equals(TABLE.slice(0, 0))
