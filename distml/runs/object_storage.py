"""A storage on what `pyarrow.fs` knows: S3, GCS, Azure, HDFS.

The one decision: no renames, no appends; a file is put in one go, which these stores make atomic
themselves.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType

from distml.errors import StorageError, UserError
from distml.runs.storage import Entry, first_line, refusals, shown

__all__ = ["ObjectStorage"]


class ObjectStorage:
    """A folder of any `pyarrow.fs` file system: S3, GCS, Azure, HDFS."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            filesystem, root = FileSystem.from_uri(_with_defaults(uri))
        except (ValueError, OSError, pa.ArrowException, NotImplementedError) as error:
            raise UserError(
                f"storage {shown(uri)}: {first_line(error)}; "
                "give a local path, s3://, gs://, abfs:// or hdfs://"
            ) from error
        self._filesystem: Any = filesystem
        self._root = root.rstrip("/")

    def read(self, path: str) -> bytes:
        """See `Storage`."""
        try:
            with self.open(path) as file:
                return file.read()
        except StorageError:
            # An object that is deleted between pyarrow's two requests shows as an internal failure.
            if self.stat(path) is None:
                raise FileNotFoundError(path) from None
            raise

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """See `Storage`."""
        with (
            refusals(self.uri, "read", path),
            self._filesystem.open_input_file(self._at(path)) as file,
        ):
            yield file

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """See `Storage`."""
        with refusals(self.uri, "write", path):
            # Stores without folders would get an empty marker object for each one we make.
            if self._filesystem.type_name not in ("s3", "gcs", "abfs"):
                self._filesystem.create_dir(self._at(path).rpartition("/")[0], recursive=True)
            try:
                with self._filesystem.open_output_stream(self._at(path)) as file:
                    yield file
            except BaseException:
                # pyarrow cannot abandon an upload: closing it published what had been written.
                with contextlib.suppress(OSError):
                    self._filesystem.delete_file(self._at(path))
                raise

    def write(self, path: str, data: bytes) -> None:
        """See `Storage`."""
        with self.create(path) as file:
            file.write(data)

    def stat(self, path: str) -> Entry | None:
        """See `Storage`."""
        with refusals(self.uri, "read", path):
            info = self._filesystem.get_file_info(self._at(path))
        return None if info.type == FileType.NotFound else _object_entry(info)

    def list(self, folder: str = "") -> list[Entry]:
        """See `Storage`."""
        with refusals(self.uri, "read", folder):
            found = self._filesystem.get_file_info(
                FileSelector(self._at(folder), allow_not_found=True)
            )
        return sorted(map(_object_entry, found), key=lambda entry: entry.name)

    def delete(self, path: str) -> None:
        """See `Storage`."""
        with refusals(self.uri, "write", path), contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(self._at(path))

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")


def _with_defaults(uri: str) -> str:
    """Without a limit, Google's client retries for fifteen minutes in silence."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds=60"


def _object_entry(info: Any) -> Entry:
    is_dir = info.type == FileType.Directory
    modified_at = (info.mtime_ns or 0) / 1e9
    return Entry(
        name=info.base_name, is_dir=is_dir, num_bytes=info.size or 0, modified_at=modified_at
    )
