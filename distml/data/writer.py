"""Write tables as Parquet shards: all or nothing, and resumable.

One decision: a shard is known by the hash of its content, which is kept in its footer. Running the
writer again compares hashes and writes only what is missing or different, so an interrupted write
goes on where it stopped, whatever the input was, as long as it is the same again. A dataset is
whole once `_SUCCESS` is there, which is written last (see `marks`). Float columns are stored
without dictionary encoding, which makes values that hardly repeat faster to read. Refused: writing
over another dataset unless `overwrite=True`, and into a folder with files of someone else always.
"""

import hashlib
import itertools
import logging
import posixpath
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from pyarrow import fs

from distml.data.dataset import ShardedDataset
from distml.data.footer import CONTENT_KEY
from distml.data.location import locate
from distml.data.marks import BEGUN, DONE, put, read_mark, write_mark
from distml.data.tables import as_table, first_line
from distml.errors import DataError, StorageError, UserError

__all__ = ["write_shards"]

_log = logging.getLogger(__name__)

_ROWS_PER_SHARD = 1 << 18
_THREADS = 2
_SHARD_NAME = re.compile(r"part-\d{5,}\.parquet")

Done = dict[str, Any]


def write_shards(
    data: Any,
    uri: str | Path,
    *,
    num_shards: int | None = None,
    rows_per_shard: int | None = None,
    key: str | None = None,
    overwrite: bool = False,
    columns: Sequence[str] | None = None,
    filesystem: fs.FileSystem | None = None,
) -> ShardedDataset:
    """Write `data` as Parquet shards into the folder `uri` and open them.

    Killed half-way, the same call goes on where it stopped. Called again on a whole dataset it
    writes nothing: with a `key` the data is not even looked at, without one its content is
    compared. One writer at a time.

    Args:
        data: what `as_table` takes, a `ShardedDataset`, an iterable of such tables or batches (one
            shard in memory at a time), or a function without arguments that gives one of these.
        uri: the folder, a local path or a URI of `pyarrow.fs`.
        num_shards: number of shards of equal size; not for iterables, whose length is unknown.
        rows_per_shard: rows in each shard but the last; 262,144 by default.
        key: your name for this content, such as `"flights joined, version 2"`. A whole dataset of
            the same key is returned as it is.
        overwrite: replace another dataset of `write_shards` at `uri`.
        columns: names for the columns if `data` is an array.
        filesystem: if given, `uri` is a path on it.

    Returns:
        The dataset as written.

    Raises:
        UserError: another dataset is there, or `num_shards` and `rows_per_shard` make no sense.
        DataError: `data` has no rows, or its tables have different columns.
        StorageError: `uri` cannot be written; the shards written before stay and are used by the
            next call.
    """
    home, root = locate(uri, filesystem)
    done = read_mark(home, root, DONE) if read_mark(home, root, BEGUN) is not None else None
    if done is not None and not overwrite:
        if key is not None and key == done["key"]:
            return ShardedDataset.open(uri, filesystem=filesystem)
        if key is not None:
            raise _other(root, f"key {done['key']!r}, not {key!r}")
    pieces = _pieces(data, num_shards, rows_per_shard, columns)
    if done is not None and not overwrite:
        _compare(root, done, pieces)
    else:
        _Folder(filesystem=home, root=root).write(pieces, key)
    return ShardedDataset.open(uri, filesystem=filesystem)


@dataclass(kw_only=True)
class _Folder:
    """The folder being written."""

    filesystem: fs.FileSystem
    root: str
    shards: list[Done] = field(default_factory=list)

    def write(self, pieces: Iterator[pa.Table], key: str | None) -> None:
        first = next(pieces, None)
        if first is None:
            raise DataError(
                f"{self.root}: there is no row to write; check where the data comes from"
            )
        try:
            self._begin(key)
            self.shards = list(_in_order(self._write_shard, itertools.chain([first], pieces)))
            self._finish(key)
        except (pa.ArrowException, OSError) as error:
            raise StorageError(
                f"{self.root}: cannot be written ({first_line(error)}); make room or choose "
                "another place, then run it again: finished shards are kept"
            ) from error

    def _begin(self, key: str | None) -> None:
        self.filesystem.create_dir(self.root, recursive=True)
        foreign = [name for name in self._files() if not _SHARD_NAME.fullmatch(name)]
        if foreign or (self._files() and read_mark(self.filesystem, self.root, BEGUN) is None):
            raise UserError(
                f"{self.root}: has files that write_shards did not make, such as "
                f"{self._files()[0]!r}; give an empty folder"
            )
        write_mark(self.filesystem, self.root, BEGUN, {"version": 1, "key": key})
        if self.filesystem.get_file_info(self._path(DONE)).type == fs.FileType.File:
            self.filesystem.delete_file(self._path(DONE))

    def _write_shard(self, index: int, table: pa.Table) -> Done:
        name = f"part-{index:05d}.parquet"
        shard = {"path": name, "rows": table.num_rows, "content": _content(table)}
        if self._content_at(name) == shard["content"]:
            _log.info("%s: shard %s is there already", self.root, name)
        else:
            put(self.filesystem, self._path(name), _encode(table, shard["content"]))
        return shard

    def _finish(self, key: str | None) -> None:
        for name in set(self._files()) - {shard["path"] for shard in self.shards}:
            self.filesystem.delete_file(self._path(name))
        write_mark(self.filesystem, self.root, DONE, {"key": key, "shards": self.shards})

    def _content_at(self, name: str) -> str | None:
        """The content hash of a shard that is there; None if it is not, or is not whole."""
        if self.filesystem.get_file_info(self._path(name)).type != fs.FileType.File:
            return None
        try:
            with self.filesystem.open_input_file(self._path(name)) as file:
                metadata = pq.read_metadata(file).metadata or {}
        except (pa.ArrowException, OSError):
            return None
        return metadata.get(CONTENT_KEY, b"").decode()

    def _files(self) -> list[str]:
        found = self.filesystem.get_file_info(fs.FileSelector(self.root))
        return sorted(item.base_name for item in found if item.base_name[0] not in "._")

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name)


def _compare(root: str, done: Done, pieces: Iterator[pa.Table]) -> None:
    """Check that a whole dataset holds exactly these pieces."""
    for shard, piece in itertools.zip_longest(done["shards"], pieces):
        if shard is None or piece is None or shard["content"] != _content(piece):
            raise _other(root, "different rows or shards")


def _other(root: str, difference: str) -> UserError:
    return UserError(
        f"{root}: holds another dataset ({difference}); write elsewhere, or give overwrite=True"
    )


def _pieces(
    data: Any, num_shards: int | None, rows_per_shard: int | None, columns: Sequence[str] | None
) -> Iterator[pa.Table]:
    """The tables to write, one a shard."""
    if num_shards is not None and rows_per_shard is not None:
        raise UserError("write_shards: give num_shards or rows_per_shard, not both")
    for name, number in (("num_shards", num_shards), ("rows_per_shard", rows_per_shard)):
        if number is not None and number < 1:
            raise UserError(f"write_shards: {name}={number} must be at least 1")
    if callable(data):
        data = data()
    if hasattr(data, "iter_tables"):
        data = data.iter_tables()
    if _is_many(data):
        if num_shards is not None:
            raise UserError(
                "write_shards: the length of an iterable is unknown; give rows_per_shard"
            )
        return _cut(_alike(data), itertools.repeat(rows_per_shard or _ROWS_PER_SHARD))
    table = as_table(data, columns=columns)
    if num_shards is None:
        return _cut(iter([table]), itertools.repeat(rows_per_shard or _ROWS_PER_SHARD))
    return _cut(iter([table]), _equal_sizes(table.num_rows, num_shards))


def _is_many(data: Any) -> bool:
    if isinstance(data, Sequence):
        return not all(isinstance(row, Mapping) for row in data)
    return isinstance(data, Iterator | pa.RecordBatchReader)


def _equal_sizes(num_rows: int, num_shards: int) -> Iterator[int]:
    if num_shards > num_rows:
        raise UserError(f"write_shards: num_shards={num_shards} is more than the {num_rows} rows")
    ends = [num_rows * i // num_shards for i in range(num_shards + 1)]
    return (end - start for start, end in itertools.pairwise(ends))


def _alike(tables: Iterable[Any]) -> Iterator[pa.Table]:
    """Tables with the columns of the first one, in its order."""
    schema: pa.Schema | None = None
    for number, data in enumerate(tables):
        table = as_table(data)
        schema = schema or table.schema
        if sorted(table.column_names) != sorted(schema.names):
            odd = sorted(set(table.column_names) ^ set(schema.names))[0]
            raise DataError(
                f"write_shards: column {odd!r} is not in all tables (table 0 and table {number} "
                "differ); give all tables the same columns"
            )
        yield pa.table([_typed(table[f.name], f, number) for f in schema], schema=schema)


def _typed(column: pa.ChunkedArray, wanted: pa.Field, number: int) -> pa.ChunkedArray:
    if column.type == wanted.type or pt.is_null(column.type):
        return column.cast(wanted.type)
    raise DataError(
        f"write_shards: column {wanted.name!r} has type {column.type} in table {number}, but "
        f"{wanted.type} in table 0; give it one type"
    )


def _cut(tables: Iterator[pa.Table], sizes: Iterator[int]) -> Iterator[pa.Table]:
    """Cut a stream of tables into tables of given sizes, wherever the input's tables end."""
    waiting: list[pa.Table] = []
    missing = next(sizes)
    for table in tables:
        while table.num_rows:
            waiting.append(table.slice(0, missing))
            table = table.slice(missing)
            missing -= waiting[-1].num_rows
            if not missing:
                yield pa.concat_tables(waiting)
                waiting, missing = [], next(sizes, 0)
    if waiting:
        yield pa.concat_tables(waiting)


def _in_order(work: Callable[[int, pa.Table], Done], tables: Iterable[pa.Table]) -> Iterator[Done]:
    """Map over tables in a few threads, holding only as many tables as there are threads."""
    running: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for index, table in enumerate(tables):
            running.append(pool.submit(work, index, table))
            if len(running) >= _THREADS:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _content(table: pa.Table) -> str:
    """Hash of names, types and values, whatever the chunks."""
    sink = pa.BufferOutputStream()
    # Concatenation copies into fresh buffers: no offsets, no stray bits of rows sliced off.
    whole = pa.table([_whole(column) for column in table.columns], schema=table.schema)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(whole)
    return hashlib.blake2b(sink.getvalue(), digest_size=16).hexdigest()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    empty = pa.array([], column.type)
    return pa.concat_arrays([*column.unify_dictionaries().chunks, empty])


def _encode(table: pa.Table, content: str) -> pa.Buffer:
    """The bytes of a shard's file."""
    sink = pa.BufferOutputStream()
    schema = table.schema.with_metadata({CONTENT_KEY: content.encode()})
    pq.write_table(
        table.replace_schema_metadata(schema.metadata),
        sink,
        compression="lz4",  # of the codecs the one that costs reading least
        use_dictionary=[f.name for f in table.schema if not pt.is_floating(f.type)],
        write_page_checksum=True,
    )
    return sink.getvalue()
