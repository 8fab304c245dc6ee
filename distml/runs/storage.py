"""Where runs are kept: a local directory or any `pyarrow.fs` URI, as the few operations all have.

The one decision: nothing here renames on an object store, for not every one can; a file is written
beside and renamed on the local file system, and put in one go elsewhere. So a reader sees a whole
file or none. Local storage is plain `os` calls, with fsync, and does not load pyarrow; that keeps
`distml list` quick. Appending exists only locally.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit, urlunsplit

from distml.errors import StorageError

__all__ = [
    "Entry",
    "Storage",
    "absolute_uri",
    "carries_keys",
    "first_line",
    "join_uri",
    "open_storage",
    "refusals",
    "shown",
]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PASSWORD = re.compile(r"://[^/@:?]*:[^/@]+@")
_KEY = re.compile(
    r"([?&][a-z_-]*(?:secret|password|token|signature|credential|access_key|account_key|sig)"
    r"[a-z_-]*=)[^&]+",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or folder in a storage."""

    name: str
    """Last part of its path."""
    is_dir: bool
    """Whether it is a folder."""
    num_bytes: int
    """Size of a file; 0 for a folder."""
    modified_at: float
    """Unix seconds by the storage's own clock; 0 where a folder has none."""


class Storage(Protocol):
    """Files under one root. Paths are relative, with `/`; parents come into being by themselves.

    Every operation may be called from several threads and processes at once. Each raises
    `StorageError` when the storage refuses or is full, `FileNotFoundError` when it is asked to read
    what is not there.
    """

    uri: str
    """The root."""

    def read(self, path: str) -> bytes:
        """Give the whole content of a file."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading; it can seek."""

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for writing; it takes its place if the block succeeds."""

    def write(self, path: str, data: bytes) -> None:
        """Put a whole file, replacing any former one."""

    def stat(self, path: str) -> Entry | None:
        """Describe a file or folder; `None` if there is none."""

    def list(self, folder: str = "") -> "list[Entry]":
        """Describe what is directly in a folder, by name; nothing if there is no such folder."""

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""


def join_uri(base: str, *parts: str) -> str:
    """Append path parts to a URI or local path, before its query if it has one.

    Args:
        base: `s3://bucket/runs?region=eu-west-1`, `/data/runs`, `runs`; empty for a relative path.
        parts: names to append.

    Returns:
        The longer URI.

    Raises:
        Nothing.
    """
    tail = "/".join(part.strip("/") for part in parts)
    if not base or not tail:
        return base or tail
    if "://" not in base:
        return f"{base.rstrip('/')}/{tail}"
    split = urlsplit(base)
    return urlunsplit(split._replace(path=f"{split.path.rstrip('/')}/{tail}"))


def absolute_uri(uri: str | Path) -> str:
    """Make a local path absolute, so that it means the same in every process of this machine.

    Args:
        uri: a local path or a URI.

    Returns:
        The absolute path; a URI as it is.

    Raises:
        Nothing.
    """
    text = os.fspath(uri)
    return text if "://" in text else str(Path(text).expanduser().absolute())


def shown(uri: str) -> str:
    """A URI as it may be printed: without the keys it may carry.

    Args:
        uri: a local path or a URI.

    Returns:
        The same without `user:password@`, and without values of keys in its query.

    Raises:
        Nothing.
    """
    return _KEY.sub(r"\1…", re.sub(r"(?<=://)[^/@:?]*:[^/@]+@", "", uri))


def carries_keys(text: str) -> bool:
    """Whether a text has a URI in it that names a password or a key.

    Args:
        text: a local path, a URI, or an argument such as `--data=s3://user:key@bucket/folder`.

    Returns:
        Whether it must not be written down, nor be seen by others.

    Raises:
        Nothing.
    """
    return "://" in text and bool(_PASSWORD.search(text) or _KEY.search(text))


def open_storage(uri: str | Path) -> Storage:
    """Open the storage at `uri`; nothing is written, but S3 may be asked for its region.

    Args:
        uri: a local path, `file:///…`, or what `pyarrow.fs.FileSystem.from_uri` understands
            (`s3://bucket/folder`, `gs://…`, `abfs://…`, `hdfs://…`); options go into the query, as
            in `s3://bucket/runs?endpoint_override=127.0.0.1:9000&scheme=http`.

    Returns:
        The storage.

    Raises:
        UserError: no file system knows such a URI.
    """
    from distml.runs.local_storage import LocalStorage

    text = os.fspath(uri)
    if "://" not in text:
        return LocalStorage(text)
    if text.startswith("file://"):
        return LocalStorage(urlsplit(text).path)
    from distml.runs.object_storage import ObjectStorage

    return ObjectStorage(text)


@contextlib.contextmanager
def refusals(uri: str, verb: str, path: str) -> Iterator[None]:
    """Turn what the system says about a failed operation into one line for the user.

    Args:
        uri: the storage.
        verb: `read` or `write`.
        path: the file in it.

    Yields:
        Nothing.

    Raises:
        StorageError: the block raised `OSError`.
        FileNotFoundError: the block wanted to read what is not there.
    """
    try:
        yield
    except OSError as error:
        if verb == "read" and isinstance(error, FileNotFoundError):
            raise
        if verb == "read" and isinstance(error, NotADirectoryError):  # below a file is nothing
            raise FileNotFoundError(*error.args) from error
        raise StorageError(_refusal(uri, verb, path, error)) from error


def first_line(error: BaseException) -> str:
    """Say in one line what an error says.

    Args:
        error: the error.

    Returns:
        The system's own words for an `OSError` that has them, else the message's first line.

    Raises:
        Nothing.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refusal(uri: str, verb: str, path: str, error: OSError) -> str:
    if error.errno in _FULL:
        return (
            f"storage {shown(uri)} is full: could not {verb} {path!r}; what was written stays, "
            "so free some space there and resume the run"
        )
    return (
        f"storage {shown(uri)}: could not {verb} {path!r} ({first_line(error)}); "
        "check that it exists and that you may write there"
    )
