"""A storage on this machine: plain `os` calls, made to survive crashes and full disks.

The one decision: a file is written beside its place, synced, and renamed into it, so it is there
whole or not at all.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from distml.runs.storage import Entry, absolute_uri, refusals

__all__ = ["LocalStorage"]


class LocalStorage:
    """A directory of this machine, or of a file system mounted on it."""

    def __init__(self, root: str | Path) -> None:
        self.uri = absolute_uri(root)
        self.root = Path(self.uri)

    def read(self, path: str) -> bytes:
        """See `Storage`."""
        with refusals(self.uri, "read", path):
            return (self.root / path).read_bytes()

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """See `Storage`."""
        with refusals(self.uri, "read", path), (self.root / path).open("rb") as file:
            yield file

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """See `Storage`."""
        target = self.root / path
        # Hidden by its leading dot from `list`, and never taken for the file itself.
        beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        with refusals(self.uri, "write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("xb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(target)
                _sync_folder(target.parent)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise

    def write(self, path: str, data: bytes) -> None:
        """See `Storage`."""
        with self.create(path) as file:
            file.write(data)

    def append(self, path: str, data: bytes) -> None:
        """Add `data` to the end of a file in one write; what object stores cannot do.

        Args:
            path: the file; it is made if it is not there.
            data: what to add.

        Raises:
            StorageError: the storage refuses or is full.
        """
        with refusals(self.uri, "write", path):
            target = self.root / path
            try:
                file = target.open("ab", buffering=0)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                file = target.open("ab", buffering=0)
            with file:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def stat(self, path: str) -> Entry | None:
        """See `Storage`."""
        with refusals(self.uri, "read", path):
            try:
                info = (self.root / path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return _local_entry(Path(path).name, info)

    def list(self, folder: str = "") -> list[Entry]:
        """See `Storage`."""
        entries = []
        with refusals(self.uri, "read", folder):
            try:
                found = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                return []
            for entry in found:
                # A file may go while we look: another process released its lease.
                with contextlib.suppress(FileNotFoundError):
                    if not entry.name.startswith("."):
                        entries.append(_local_entry(entry.name, entry.stat()))
        return entries

    def delete(self, path: str) -> None:
        """See `Storage`."""
        with refusals(self.uri, "write", path):
            (self.root / path).unlink(missing_ok=True)


def _local_entry(name: str, info: os.stat_result) -> Entry:
    is_dir = stat.S_ISDIR(info.st_mode)
    num_bytes = 0 if is_dir else info.st_size
    return Entry(name=name, is_dir=is_dir, num_bytes=num_bytes, modified_at=info.st_mtime)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets us (Windows does not)."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
