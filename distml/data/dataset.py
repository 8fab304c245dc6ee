"""A dataset in shards: what there is, known without reading it.

`ShardedDataset.open` makes a manifest (schema, shards down to Parquet row groups, rows, bytes,
fingerprint) from the files' footers; see `footer` for what that costs in each format. The manifest
is a plain value, which a worker that is sent it reads shards by. They are ordered by path, then row
group, whatever order the storage lists them in. Refused, naming the file: shards that are corrupt,
truncated or half-written, or that miss a column or change its type (see `schema`).
"""

import hashlib
import itertools
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
from pyarrow import fs

from distml.data.footer import FORMATS, Footer, format_of, read_footer, sniff
from distml.data.hive import partition_schema, partition_values
from distml.data.location import Listing, Source, list_files
from distml.data.marks import check_whole
from distml.data.reading import FooterCache, read_rows, stream_rows
from distml.data.schema import one_schema
from distml.data.tables import unknown_column
from distml.errors import DataError

__all__ = ["Shard", "ShardedDataset"]

_FOOTER_THREADS = 16
_READ_THREADS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A file or a row group: the part of a dataset that is read at once."""

    path: str
    """The file, relative to the dataset's root."""
    row_group: int | None
    """Its number in a Parquet file; None for other formats, whose files are read whole."""
    num_rows: int
    """Rows in it."""
    num_bytes: int
    """Bytes it takes where it is stored."""
    fingerprint: str
    """Hex. Equal for equal content, wherever the file lies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardedDataset:
    """The manifest of a dataset, and how to read its shards."""

    uri: str
    """What was opened."""
    schema: pa.Schema
    """The columns, those of Hive partitions last."""
    shards: tuple[Shard, ...]
    """Sorted by path and row group."""
    format: str
    """`parquet`, `ipc` or `csv`."""
    filesystem: fs.FileSystem
    """Where the files are."""
    root: str
    """The folder all shards' paths are relative to."""
    partitions: pa.Schema
    """The columns that come from folder names, `key=value`."""

    @classmethod
    def open(
        cls,
        uri: Source,
        *,
        format: str | None = None,  # noqa: A002
        columns: Sequence[str] | None = None,
        filesystem: fs.FileSystem | None = None,
    ) -> "ShardedDataset":
        """Make the manifest of the data at `uri`.

        Args:
            uri: a file, a folder (Hive partitions included), a glob, or a list of files; a local
                path or a URI of `pyarrow.fs`, such as `s3://bucket/folder`.
            format: `parquet`, `ipc` (or `arrow`, `feather`) or `csv`; told from the files' names by
                default.
            columns: the columns wanted, in this order; all by default. Only these are checked for
                their types.
            filesystem: if given, `uri` is a path on it.

        Raises:
            DataError: no files, an unknown column, or files that cannot be one dataset.
        """
        listing = list_files(uri, filesystem)
        if not listing.named:
            check_whole(listing.filesystem, listing.root, listing.files)
        name = str(uri) if isinstance(uri, str) or not isinstance(uri, Sequence) else str(uri[0])
        format_name, files = _choose_format(listing, format, name)
        footers = _read_footers(listing, files, format_name)
        partitions = partition_schema(files)
        dataset = cls(
            uri=name,
            schema=_schema(listing, footers, partitions, columns, format_name),
            shards=tuple(_shards(footers)),
            format=format_name,
            filesystem=listing.filesystem,
            root=listing.root,
            partitions=partitions,
        )
        return dataset if columns is None else dataset.select(columns)

    @property
    def num_rows(self) -> int:
        """Rows in all shards."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Stored bytes of all shards."""
        return sum(shard.num_bytes for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """Hex digest of columns, types and the shards' fingerprints in order, not of the place."""
        digest = hashlib.blake2b(digest_size=16)
        for field in self.schema:
            digest.update(f"{field.name}\x1f{field.type}\x1e".encode())
        for shard in self.shards:
            values = partition_values(shard.path, self.partitions)
            digest.update(f"{shard.fingerprint}\x1f{shard.num_rows}\x1f{values}\x1e".encode())
        return digest.hexdigest()

    def select(self, columns: Sequence[str]) -> "ShardedDataset":
        """The same dataset with these columns only, in this order.

        Raises:
            DataError: one of them does not exist.
        """
        fields = [self.schema.field(name) for name in self._known(columns)]
        return replace(self, schema=pa.schema(fields))

    def read_shard(
        self, index: int, columns: Sequence[str] | None = None, footers: FooterCache | None = None
    ) -> pa.Table:
        """Read one shard.

        Args:
            index: its place in `shards`.
            columns: the columns to read; all by default.
            footers: keeps the file's footer for the next read of it.

        Raises:
            DataError: an unknown column, or a shard that is corrupt; the message names its file.
        """
        shard, names = self.shards[index], self._known(columns)
        stored = self._stored(names)
        if footers is None or shard.row_group is None or not stored.names:
            return self._read([shard], names)
        filesystem, path, _ = self._place(shard)
        return self._whole(shard, footers.read(filesystem, path, shard.row_group, stored), names)

    def iter_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read shard after shard, in order.

        Raises:
            DataError: as `read_shard`.
        """
        for index in range(len(self.shards)):
            yield self.read_shard(index, columns)

    def iter_blocks(
        self, index: int, columns: Sequence[str] | None = None, *, num_rows: int
    ) -> Iterator[pa.Table]:
        """Read one shard in blocks, so that it may be larger than memory.

        Args:
            index: its place in `shards`.
            columns: the columns to read; all by default.
            num_rows: rows of each block but the last, which may have fewer.

        Raises:
            DataError: as `read_shard`.
        """
        shard, names = self.shards[index], self._known(columns)
        waiting = self.select(names).schema.empty_table()
        batches = stream_rows(
            *self._place(shard), shard.row_group, self._stored(names), num_rows=num_rows
        )
        for batch in batches:
            waiting = pa.concat_tables([waiting, self._whole(shard, batch, names)])
            for _ in range(waiting.num_rows // num_rows):
                yield waiting[:num_rows]
                waiting = waiting[num_rows:]
        if waiting.num_rows:
            yield waiting

    def to_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read everything into one table, in the order of the shards.

        Raises:
            DataError: as `read_shard`.
        """
        names = self._known(columns)
        files = itertools.groupby(self.shards, key=lambda shard: shard.path)
        with ThreadPoolExecutor(_READ_THREADS) as pool:
            tables = pool.map(lambda shards: self._read(shards, names), [[*s] for _, s in files])
            return pa.concat_tables([*tables] or [self.select(names).schema.empty_table()])

    def _known(self, columns: Sequence[str] | None) -> list[str]:
        known = self.schema.names
        names = known if columns is None else list(columns)
        for name in (n for n in names if n not in known):
            raise DataError(unknown_column(name, known, where=self.uri))
        return names

    def _read(self, shards: Sequence[Shard], names: Sequence[str]) -> pa.Table:
        """Read shards of one file."""
        groups = [shard.row_group for shard in shards]
        rows = read_rows(*self._place(shards[0]), groups, self._stored(names))
        return self._whole(shards[0], rows, names)

    def _place(self, shard: Shard) -> tuple[fs.FileSystem, str, str]:
        """Where the file of a shard is, and its format."""
        return self.filesystem, posixpath.join(self.root, shard.path), self.format

    def _stored(self, names: Sequence[str]) -> pa.Schema:
        """Those of the columns that are in the files, not in the names of their folders."""
        return pa.schema([self.schema.field(n) for n in names if n not in self.partitions.names])

    def _whole(
        self, shard: Shard, rows: pa.Table | pa.RecordBatch, names: Sequence[str]
    ) -> pa.Table:
        """Rows of a shard with the columns of its folders."""
        columns = dict(zip(rows.schema.names, rows.columns, strict=True))
        for name, value in partition_values(shard.path, self.partitions).items():
            kind = self.partitions.field(name).type
            columns[name] = pa.repeat(pa.scalar(value, kind), rows.num_rows)
        schema = pa.schema([self.schema.field(name) for name in names])
        return pa.table([columns[name] for name in names], schema=schema)


def _choose_format(listing: Listing, given: str | None, uri: str) -> tuple[str, tuple[str, ...]]:
    """The one format of the data files, and these files."""
    if given is not None:
        name = {"arrow": "ipc", "feather": "ipc"}.get(given, given)
        if name not in FORMATS:
            raise DataError(f"{uri}: unknown format {given!r}; give one of {', '.join(FORMATS)}")
        told = {file: name for file in listing.files if format_of(file) in (name, None)}
    else:
        told = {file: kind for file in listing.files if (kind := _format(listing, file))}
    if not told:
        raise DataError(f"{uri}: no data files there (Parquet, Arrow IPC or CSV); check the path")
    kinds = sorted(set(told.values()))
    if len(kinds) > 1:
        raise DataError(f"{uri}: the files have formats {', '.join(kinds)}; say which: format=...")
    return kinds[0], tuple(told)


def _format(listing: Listing, file: str) -> str | None:
    return format_of(file) or (
        sniff(listing.filesystem, listing.path(file)) if listing.named else None
    )


def _read_footers(listing: Listing, files: Sequence[str], format_name: str) -> dict[str, Footer]:
    def read(file: str) -> Footer:
        return read_footer(listing.filesystem, listing.path(file), format_name)

    with ThreadPoolExecutor(min(_FOOTER_THREADS, len(files))) as pool:
        return dict(zip(files, pool.map(read, files), strict=True))


def _shards(footers: Mapping[str, Footer]) -> Iterator[Shard]:
    for file, footer in footers.items():
        for group in footer.row_groups:
            yield Shard(
                path=file,
                row_group=group.index,
                num_rows=group.num_rows,
                num_bytes=group.num_bytes,
                fingerprint=group.fingerprint,
            )


def _schema(
    listing: Listing,
    footers: Mapping[str, Footer],
    partitions: pa.Schema,
    columns: Sequence[str] | None,
    format_name: str,
) -> pa.Schema:
    """The files' columns, then those of the folders."""
    stored = {listing.path(file): footer.schema for file, footer in footers.items()}
    for name in partitions.names:
        if name in next(iter(stored.values())).names:
            raise DataError(
                f"{listing.root}: column {name!r} is both in the files and in the folder names; "
                "drop one"
            )
    wanted = None if columns is None else [n for n in columns if n not in partitions.names]
    return pa.schema([*one_schema(stored, wanted, untyped=format_name == "csv"), *partitions])
