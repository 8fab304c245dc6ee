"""What one file says about itself: its schema, its row groups, and a fingerprint.

One decision: what a file costs to open is what its format allows. Parquet: its footer. Arrow IPC:
its footer and a few probes of 4 KiB (its footer has no statistics). CSV: the whole file is parsed
once, since neither types nor the number of rows are written anywhere. The fingerprint of a file of
`write_shards` is its content's hash; of another Parquet file the hash of its footer (sizes and
statistics of each column), of an IPC file that of its size and probes: a value changed in place,
keeping all of these, goes unnoticed there. Refused: files that are corrupt, truncated, or of
another format.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as ds
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq
from pyarrow import fs

from distml.data.tables import first_line
from distml.errors import DataError

__all__ = ["CONTENT_KEY", "FORMATS", "Footer", "RowGroup", "format_of", "read_footer"]

CONTENT_KEY = b"distml.content"
"""Where `write_shards` puts the hash of a file's content in its Parquet footer."""

CSV_OPTIONS = pa_csv.ConvertOptions(strings_can_be_null=True)

FORMATS: Mapping[str, Callable[[], ds.FileFormat]] = {
    "csv": lambda: ds.CsvFileFormat(convert_options=CSV_OPTIONS),
    "ipc": ds.IpcFileFormat,
    "parquet": lambda: ds.ParquetFileFormat(
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(
            pre_buffer=True, page_checksum_verification=True
        )
    ),
}
"""Name → how its files are read."""

_SUFFIXES = {"parquet": "parquet", "pq": "parquet", "arrow": "ipc", "feather": "ipc", "ipc": "ipc"}
_MAGIC = {b"PAR1": "parquet", b"ARRO": "ipc"}
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
_PROBES = 16
_PROBE_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class RowGroup:
    """One part of a file that can be read alone."""

    index: int | None
    """Its number in a Parquet file; None where the file is read whole."""
    num_rows: int
    num_bytes: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """One file's description of itself."""

    schema: pa.Schema
    row_groups: tuple[RowGroup, ...]


def format_of(file: str) -> str | None:
    """The format that a file's name tells, or None."""
    name = file.lower()
    plain = name.removesuffix(next((end for end in _COMPRESSED if name.endswith(end)), ""))
    if plain.endswith(".csv"):
        return "csv"
    return _SUFFIXES.get(name.rpartition(".")[2])


def sniff(filesystem: fs.FileSystem, path: str) -> str | None:
    """The format that a file's first bytes tell, or None."""
    with filesystem.open_input_file(path) as file:
        return _MAGIC.get(file.read(4))


def read_footer(filesystem: fs.FileSystem, path: str, format_name: str) -> Footer:
    """Read what a file says about itself.

    Args:
        filesystem: where it is.
        path: the file's path there.
        format_name: a key of `FORMATS`.

    Raises:
        DataError: the file is corrupt, truncated, or not of this format; the message names it.
    """
    try:
        footer = _READERS[format_name](filesystem, path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as {format_name} ({first_line(error)}); the file is corrupt, "
            "truncated or of another format: write it again or remove it"
        ) from error
    names = footer.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: column {twice!r} appears twice; rename one of them")
    return footer


def _read_parquet(filesystem: fs.FileSystem, path: str) -> Footer:
    with filesystem.open_input_file(path) as file:
        metadata = pq.read_metadata(file)
    schema = metadata.schema.to_arrow_schema()
    content = (metadata.metadata or {}).get(CONTENT_KEY) or _serialized(metadata)
    groups = []
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        stored = sum(group.column(j).total_compressed_size for j in range(group.num_columns))
        print_ = _digest(content, index)
        groups.append(
            RowGroup(index=index, num_rows=group.num_rows, num_bytes=stored, fingerprint=print_)
        )
    return Footer(schema=schema.remove_metadata(), row_groups=tuple(groups))


def _serialized(metadata: pq.FileMetaData) -> bytes:
    sink = pa.BufferOutputStream()
    metadata.write_metadata_file(sink)
    return bytes(sink.getvalue())


def _read_ipc(filesystem: fs.FileSystem, path: str) -> Footer:
    with filesystem.open_input_file(path) as file:
        schema = pa_ipc.open_file(file).schema
        size = file.size()
        probes = [file.read_at(min(_PROBE_BYTES, size), at) for at in _probe_places(size)]
    rows = FORMATS["ipc"]().make_fragment(path, filesystem).count_rows()
    group = RowGroup(index=None, num_rows=rows, num_bytes=size, fingerprint=_digest(size, *probes))
    return Footer(schema=schema.remove_metadata(), row_groups=(group,))


def _probe_places(size: int) -> list[int]:
    last = max(0, size - _PROBE_BYTES)
    return sorted({last * i // (_PROBES - 1) for i in range(_PROBES)})


def _read_csv(filesystem: fs.FileSystem, path: str) -> Footer:
    size = filesystem.get_file_info(path).size
    with filesystem.open_input_stream(path) as stream:
        data = stream.read_buffer()
    table = pa_csv.read_csv(pa.BufferReader(data), convert_options=CSV_OPTIONS)
    group = RowGroup(index=None, num_rows=table.num_rows, num_bytes=size, fingerprint=_digest(data))
    return Footer(schema=table.schema, row_groups=(group,))


def _digest(*parts: object) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part if isinstance(part, bytes | pa.Buffer) else str(part).encode())
        digest.update(b"\x1f")
    return digest.hexdigest()


_READERS: Mapping[str, Callable[[fs.FileSystem, str], Footer]] = {
    "csv": _read_csv,
    "ipc": _read_ipc,
    "parquet": _read_parquet,
}
