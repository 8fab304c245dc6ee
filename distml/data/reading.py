"""Read rows of one file: all of them at once, or a stream of batches.

One decision: a stream decodes only what it gives. pyarrow's own scanner decodes a row group whole
before it cuts batches of it, so Parquet is streamed by its file reader; what is held is the row
group as it is stored. Refused, naming the file: what cannot be read, or has changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from distml.data.footer import FORMATS
from distml.data.tables import first_line
from distml.errors import DataError

__all__ = ["FooterCache", "read_rows", "stream_rows"]


def read_rows(
    filesystem: fs.FileSystem,
    path: str,
    format_name: str,
    row_groups: Sequence[int | None],
    schema: pa.Schema,
) -> pa.Table:
    """Read rows at once.

    Args:
        filesystem: where the file is.
        path: its path there.
        format_name: a key of `FORMATS`.
        row_groups: which row groups of a Parquet file; other formats are read whole.
        schema: the columns to read, with the types to give them.

    Raises:
        DataError: the file cannot be read; the message names it.
    """
    with _blaming(path):
        return _scanner(filesystem, path, format_name, row_groups, schema).to_table()


def stream_rows(
    filesystem: fs.FileSystem,
    path: str,
    format_name: str,
    row_group: int | None,
    schema: pa.Schema,
    *,
    num_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Read rows batch after batch.

    Args:
        filesystem: where the file is.
        path: its path there.
        format_name: a key of `FORMATS`.
        row_group: which row group of a Parquet file.
        schema: the columns to read, with the types to give them.
        num_rows: the most rows of a batch.

    Raises:
        DataError: the file cannot be read; the message names it.
    """
    with _blaming(path):
        # Its own reader gives no rows where no columns are asked for.
        if format_name != "parquet" or not schema.names:
            only = [row_group]
            scanner = _scanner(filesystem, path, format_name, only, schema, batch_size=num_rows)
            yield from scanner.to_batches()
            return
        with _open_parquet(filesystem, path) as file:
            groups = [] if row_group is None else [row_group]
            for batch in file.iter_batches(num_rows, row_groups=groups, columns=schema.names):
                yield batch.select(schema.names).cast(schema)


class FooterCache:
    """Footers of Parquet files, kept by who reads many of their row groups.

    To parse a footer takes about as long as to read a row group. The files themselves are not kept
    open: each would hold the row group that was read last. The footer not used for longest goes.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._footers: dict[str, pq.FileMetaData] = {}

    def read(
        self, filesystem: fs.FileSystem, path: str, row_group: int, schema: pa.Schema
    ) -> pa.Table:
        """Read a row group at once.

        Args:
            filesystem: where the file is, the same in all calls.
            path: its path there.
            row_group: which row group.
            schema: the columns to read, at least one, with the types to give them.

        Raises:
            DataError: the file cannot be read; the message names it.
        """
        footer = self._footers.pop(path, None)
        with _blaming(path), _open_parquet(filesystem, path, footer) as file:
            self._footers[path] = file.metadata  # the last one, as the one used last
            if len(self._footers) > self._most:
                del self._footers[next(iter(self._footers))]
            rows = file.read_row_group(row_group, columns=schema.names).select(schema.names)
            return rows if rows.schema == schema else rows.cast(schema)


def _open_parquet(
    filesystem: fs.FileSystem, path: str, footer: pq.FileMetaData | None = None
) -> pq.ParquetFile:
    # Columns are fetched together from where each request takes its time; a disk needs no copy.
    is_far = not isinstance(filesystem, fs.LocalFileSystem)
    options = {"pre_buffer": is_far, "page_checksum_verification": True}
    return pq.ParquetFile(path, metadata=footer, filesystem=filesystem, **options)


def _scanner(
    filesystem: fs.FileSystem,
    path: str,
    format_name: str,
    row_groups: Sequence[int | None],
    schema: pa.Schema,
    **options: int,
) -> ds.Scanner:
    only = {"row_groups": list(row_groups)} if format_name == "parquet" else {}
    part = FORMATS[format_name]().make_fragment(path, filesystem, **only)
    return part.scanner(schema=schema, columns=schema.names, batch_readahead=2, **options)


@contextmanager
def _blaming(path: str) -> Iterator[None]:
    """Turn what pyarrow says of an unreadable file into one line that names it."""
    try:
        yield
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError(
            f"{path}: cannot be read ({first_line(error)}); the shard is corrupt or has "
            "changed: write it again and open the dataset anew"
        ) from error
