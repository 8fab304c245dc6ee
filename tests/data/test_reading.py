import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from distml.data.reading import FooterCache, read_rows, stream_rows
from distml.errors import DataError

HOME = fs.LocalFileSystem()
N = 200_000
# Takes little room where it is stored and much where it is read.
TABLE = pa.table({"word": pa.array(["a rather long word"] * N), "n": np.arange(N) // 1000})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path, row_group_size=N)
    return str(path)


def test_a_stream_decodes_only_what_it_gives(path):
    assert len(pq.read_metadata(path).to_dict()["row_groups"]) == 1
    before = pa.total_allocated_bytes()
    stream = stream_rows(HOME, path, "parquet", 0, TABLE.schema, num_rows=1000)
    most = 0
    for batch in stream:
        assert batch.num_rows <= 1000
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < TABLE.nbytes / 4


@pytest.mark.parametrize("num_rows", [1000, 70_000, 10 * N])
def test_a_stream_gives_what_is_read_at_once(path, num_rows):
    schema = pa.schema([TABLE.schema.field("n"), TABLE.schema.field("word")])
    stream = stream_rows(HOME, path, "parquet", 0, schema, num_rows=num_rows)
    whole = read_rows(HOME, path, "parquet", [0], schema)
    assert pa.Table.from_batches(stream, schema).equals(whole)
    assert whole.equals(TABLE.select(["n", "word"]))


def test_columns_get_the_types_that_were_asked_for(tmp_path):
    stored = TABLE.slice(0, 10).set_column(
        0, "word", TABLE["word"].slice(0, 10).dictionary_encode()
    )
    pq.write_table(stored, tmp_path / "a.parquet")
    place = (HOME, str(tmp_path / "a.parquet"), "parquet")
    (batch,) = stream_rows(*place, 0, TABLE.schema, num_rows=100)
    assert batch.schema == TABLE.schema
    assert read_rows(*place, [0], TABLE.schema).equals(pa.Table.from_batches([batch]))


def test_no_columns_still_have_rows(path):
    batches = stream_rows(HOME, path, "parquet", 0, pa.schema([]), num_rows=N)
    assert sum(batch.num_rows for batch in batches) == N


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.9])
def test_a_damaged_file_is_named_by_a_stream_too(path, kept):
    with open(path, "r+b") as file:  # noqa: PTH123
        size = file.seek(0, 2)
        file.truncate(int(kept * size) if isinstance(kept, float) else kept)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read") as caught:
        list(stream_rows(HOME, path, "parquet", 0, TABLE.schema, num_rows=1000))
    assert "\n" not in str(caught.value)


def test_a_file_that_lost_a_column_is_named(path):
    schema = TABLE.schema.append(pa.field("gone", pa.int64()))
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read"):
        list(stream_rows(HOME, path, "parquet", 0, schema, num_rows=1000))


def test_a_footer_that_is_known_is_not_read_again(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(TABLE.slice(0, 3000), path, row_group_size=1000)
    footers = FooterCache()
    groups = [footers.read(HOME, path, i, TABLE.schema) for i in range(2)]
    assert pa.concat_tables(groups).equals(TABLE.slice(0, 2000))
    with open(path, "r+b") as file:  # noqa: PTH123
        file.seek(-8, 2)
        file.write(b"\0" * 8)
    assert footers.read(HOME, path, 2, TABLE.schema).equals(TABLE.slice(2000, 1000))
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read"):
        FooterCache().read(HOME, path, 2, TABLE.schema)


def test_footers_not_used_for_longest_are_forgotten(tmp_path):
    paths = [str(tmp_path / f"{i}.parquet") for i in range(3)]
    for path in paths:
        pq.write_table(TABLE.slice(0, 10), path)
    footers = FooterCache(most=2)
    for path in paths:
        footers.read(HOME, path, 0, TABLE.schema)
    assert list(footers._footers) == paths[1:]


def test_a_row_group_gets_the_types_that_were_asked_for(path):
    schema = pa.schema([("n", pa.float32())])
    assert FooterCache().read(HOME, path, 0, schema).equals(TABLE.select(["n"]).cast(schema))
