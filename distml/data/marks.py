"""The two small files that tell a whole dataset of `write_shards` from a half-written one.

`_distml.json` is written before the first shard, `_SUCCESS` after the last. A folder with the first
but not the second is half-written and does not open. Nothing has to be renamed or deleted for that,
so it holds on object stores too. Folders of other tools have no `_distml.json` and are not looked
at.
"""

import json
import posixpath
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import fs

from distml.data.tables import first_line
from distml.errors import DataError

__all__ = ["BEGUN", "DONE", "check_whole", "put", "read_mark", "write_mark"]

BEGUN = "_distml.json"
DONE = "_SUCCESS"
_DISKS = frozenset({"local", "hdfs", "py::fsspec+file", "py::fsspec+local"})


def read_mark(filesystem: fs.FileSystem, folder: str, name: str) -> dict[str, Any] | None:
    """Read a mark; None if it is not there.

    Raises:
        DataError: it is there but is not JSON.
    """
    path = posixpath.join(folder, name)
    if filesystem.get_file_info(path).type != fs.FileType.File:
        return None
    try:
        with filesystem.open_input_stream(path) as stream:
            return dict(json.loads(stream.read()))
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read ({first_line(error)}); run write_shards again with "
            "overwrite=True"
        ) from error


def write_mark(filesystem: fs.FileSystem, folder: str, name: str, mark: Mapping[str, Any]) -> None:
    """Write a mark in one put (beside and renamed on a local disk)."""
    put(filesystem, posixpath.join(folder, name), json.dumps(mark, indent=1).encode())


def put(filesystem: fs.FileSystem, path: str, data: bytes | pa.Buffer) -> None:
    """Write a whole file so that a reader sees all of it or nothing.

    On a disk it is written beside and renamed. An object store shows an object only when its upload
    is complete, and may not know how to rename.
    """
    base = filesystem
    while isinstance(base, fs.SubTreeFileSystem):
        base = base.base_fs
    beside = path
    if base.type_name in _DISKS:
        beside = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)}.part")
    with filesystem.open_output_stream(beside) as stream:
        stream.write(data)
    if beside != path:
        filesystem.move(beside, path)


def check_whole(filesystem: fs.FileSystem, root: str, files: tuple[str, ...]) -> None:
    """Check that every dataset of `write_shards` among the folders of `files` is whole.

    Raises:
        DataError: it is half-written, or one of its shards is gone.
    """
    for folder in sorted({posixpath.dirname(file) for file in files} | {""}):
        home = posixpath.join(root, folder) if folder else root
        if read_mark(filesystem, home, BEGUN) is None:
            continue
        done = read_mark(filesystem, home, DONE)
        if done is None:
            raise DataError(
                f"{home}: the dataset is half-written; run the program that writes it again, "
                "it goes on where it stopped"
            )
        for shard in done["shards"]:
            path = posixpath.join(home, shard["path"])
            if filesystem.get_file_info(path).type != fs.FileType.File:
                raise DataError(
                    f"{path}: the shard is missing; write the dataset again with overwrite=True"
                )
