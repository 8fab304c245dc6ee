"""The folder predictions go into: whose it is, which shards are there, when it is whole.

The one decision: a file is finished if its footer carries the key of what was predicted: model,
data, shard and columns kept. Files appear whole or not at all, so whoever finds one with the right
key need not make it again, and whoever is killed leaves none that is half. The folder has the marks
of `write_shards`: it opens as a dataset once it is whole, and not before. Refused: a folder with
files of someone else, or with predictions of another model, of other data or of other columns.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from distml.data.location import locate
from distml.data.marks import BEGUN, DONE, put, read_mark, write_mark
from distml.data.tables import first_line
from distml.errors import StorageError, UserError

__all__ = ["KEY", "Folder"]

KEY = b"distml.prediction"
"""Where a file's footer says what was predicted."""

_VERSION = 1
_FILE_NAME = re.compile(r"part-\d{5,}\.parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A folder of predictions; a value that workers are sent."""

    filesystem: fs.FileSystem
    """Where it is."""
    root: str
    """Its path there."""
    bundle: str
    """Hash of the model."""
    data: str
    """Fingerprint of the data."""
    keep: tuple[str, ...]
    """Columns of the data that go with the predictions."""

    @classmethod
    def at(cls, uri: str | Path, *, bundle: str, data: str, keep: Sequence[str]) -> "Folder":
        """The folder at `uri`; nothing is written.

        Raises:
            DataError: no file system knows such a URI.
        """
        filesystem, root = locate(uri)
        return cls(filesystem=filesystem, root=root, bundle=bundle, data=data, keep=tuple(keep))

    def begin(self) -> None:
        """Mark it as ours, before the first file.

        Raises:
            UserError: it is a file, or holds something else.
            StorageError: it cannot be written.
        """
        with self._refusals():
            self._check_own()
            self.filesystem.create_dir(self.root, recursive=True)
            mark = {"version": _VERSION, "key": None, "predictions": self._identity()}
            write_mark(self.filesystem, self.root, BEGUN, mark)

    def is_done(self, index: int) -> bool:
        """Whether the file of a shard is there."""
        try:
            with self.filesystem.open_input_file(self._path(self.name(index))) as file:
                known = pq.read_metadata(file).metadata or {}
        except (pa.ArrowException, OSError):
            return False
        return known.get(KEY) == self.key(index).encode()

    def put(self, index: int, path: Path) -> None:
        """Give a finished file its place, in one step.

        Raises:
            StorageError: it cannot be written.
        """
        with self._refusals(), pa.memory_map(str(path)) as file:
            put(self.filesystem, self._path(self.name(index)), file.read_buffer())

    def reopen(self) -> None:
        """Take away the mark of a whole folder, because a file of it is missing."""
        with self._refusals():
            if self.filesystem.get_file_info(self._path(DONE)).type == fs.FileType.File:
                self.filesystem.delete_file(self._path(DONE))

    def finish(self, num_rows: Sequence[int]) -> None:
        """Mark it as whole, after the last file.

        Args:
            num_rows: rows of each file.

        Raises:
            StorageError: it cannot be written.
        """
        shards = [
            {"path": self.name(index), "rows": rows, "content": self.key(index)}
            for index, rows in enumerate(num_rows)
        ]
        with self._refusals():
            write_mark(self.filesystem, self.root, DONE, {"key": None, "shards": shards})

    def key(self, index: int) -> str:
        """What determines the content of a file: 32 hexadecimal characters."""
        parts = f"{_VERSION}\x1f{self._identity()}\x1f{index}"
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    @staticmethod
    def name(index: int) -> str:
        """The file of a shard."""
        return f"part-{index:05d}.parquet"

    def _identity(self) -> dict[str, Any]:
        return {"bundle": self.bundle, "data": self.data, "keep": list(self.keep)}

    def _check_own(self) -> None:
        mark = read_mark(self.filesystem, self.root, BEGUN)
        selector = fs.FileSelector(self.root, allow_not_found=True)
        names = sorted(item.base_name for item in self.filesystem.get_file_info(selector))
        foreign = [name for name in names if name[0] not in "._" and not _FILE_NAME.fullmatch(name)]
        known = (mark or {}).get("predictions")
        if foreign or known is None:
            odd = foreign or [name for name in names if not name.startswith(".")]
            if odd:
                raise UserError(
                    f"{self.root}: has files that are no predictions, such as {odd[0]!r}; give an "
                    "empty folder"
                )
            return
        words = {"bundle": "of another model", "data": "of other data", "keep": "of other columns"}
        other = [words[name] for name, value in self._identity().items() if known[name] != value]
        if other:
            raise UserError(f"{self.root}: holds predictions {other[0]}; give another folder")

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except NotADirectoryError as error:
            raise UserError(
                f"{self.root}: is a file, or lies below one; give a folder for the predictions"
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise StorageError(
                f"{self.root}: cannot be written ({first_line(error)}); make room or choose "
                "another place, then run it again: finished shards are kept"
            ) from error
