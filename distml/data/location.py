"""Where data lies: a path, glob or URI as a filesystem and the files on it.

One decision: everything is a `pyarrow.fs` filesystem and paths relative to a root on it, so that
nothing above this module knows whether the data is on a disk or in a bucket. Files and folders
whose name begins with `_` or `.` are not data. Refused: schemes `pyarrow.fs` does not speak, paths
with nothing there, lists over several filesystems.
"""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from distml.data.tables import first_line
from distml.errors import DataError

__all__ = ["Listing", "list_files", "locate"]

Source = str | Path | Sequence[str | Path]

_SCHEMES = "file, s3, gs, abfs, hdfs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files below one root."""

    filesystem: fs.FileSystem
    """Where they are."""
    root: str
    """The folder, as a path of the filesystem."""
    files: tuple[str, ...]
    """Paths relative to the root, sorted, hidden files left out."""
    named: bool
    """The files were named one by one, not found."""

    def path(self, file: str) -> str:
        """The path of `file` on the filesystem."""
        return posixpath.join(self.root, file)


def locate(uri: str | Path, filesystem: fs.FileSystem | None = None) -> tuple[fs.FileSystem, str]:
    """Resolve `uri` to a filesystem and a path on it; nothing needs to exist there.

    Args:
        uri: a local path, or a URI such as `s3://bucket/folder`.
        filesystem: if given, `uri` is a path on it.

    Raises:
        DataError: the scheme is unknown, or its storage cannot be reached.
    """
    text = str(uri)
    if filesystem is not None:
        return filesystem, text.rstrip("/")
    if "://" not in text:
        return fs.LocalFileSystem(), str(Path(text).expanduser().absolute())
    try:
        found, path = fs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{text}: cannot be opened ({first_line(error)}); give a path, or a URI of {_SCHEMES}"
        ) from error
    return found, path.rstrip("/")


def list_files(uri: Source, filesystem: fs.FileSystem | None = None) -> Listing:
    """List the files that `uri` names.

    Args:
        uri: a file, a folder (searched to any depth), a glob (`*`, `?`, `[...]`, and `**` over
            folders), or a list of files.
        filesystem: if given, `uri` is a path on it.

    Raises:
        DataError: nothing is there, or it cannot be listed.
    """
    try:
        if not isinstance(uri, str | Path):
            return _listed(uri, filesystem)
        return _found(str(uri), filesystem)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{uri}: cannot be listed ({first_line(error)}); check the path and your access to it"
        ) from error


def _listed(uris: Sequence[str | Path], filesystem: fs.FileSystem | None) -> Listing:
    if not uris:
        raise DataError("dataset: the list of files is empty; name at least one")
    places = [locate(uri, filesystem) for uri in uris]
    home = places[0][0]
    paths = sorted({path for _, path in places})
    if any(not place.equals(home) for place, _ in places):
        raise DataError(f"{uris[0]}: the listed files lie on several filesystems; use one")
    for info in home.get_file_info(paths):
        if info.type != fs.FileType.File:
            raise DataError(f"{info.path}: no such file; name files, or give one folder or glob")
    root = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    return Listing(filesystem=home, root=root, files=_below(root, paths), named=True)


def _found(uri: str, filesystem: fs.FileSystem | None) -> Listing:
    home, path, pattern = _split_glob(uri, filesystem)
    info = home.get_file_info(path)
    if info.type == fs.FileType.File and not pattern:
        root = posixpath.dirname(path)
        return Listing(filesystem=home, root=root, files=_below(root, [path]), named=True)
    if info.type != fs.FileType.Directory:
        raise DataError(f"{uri}: no such file or folder; check the path")
    found = home.get_file_info(fs.FileSelector(path, recursive=True))
    files = _below(path, [item.path for item in found if item.type == fs.FileType.File])
    files = tuple(file for file in files if not _hidden(file))
    if pattern:
        files = tuple(file for file in files if re.fullmatch(_glob_regex(pattern), file))
    return Listing(filesystem=home, root=path, files=files, named=False)


def _split_glob(uri: str, filesystem: fs.FileSystem | None) -> tuple[fs.FileSystem, str, str]:
    """The filesystem, the part of the path without wildcards, and the rest."""
    remote = filesystem is None and "://" in uri
    # In a URI, `?` begins the options of the storage.
    body, mark, options = uri.partition("?") if remote else (uri, "", "")
    wildcard = re.search(r"[*\[]" if remote else r"[*?\[]", body)
    if wildcard is None:
        return *locate(uri, filesystem), ""
    if not remote:
        home, path = locate(uri, filesystem)
        if home.get_file_info(path).type != fs.FileType.NotFound:
            return home, path, ""
    cut = body.rfind("/", 0, wildcard.start()) + 1
    base = body[:cut] if cut or filesystem is not None else "."
    home, path = locate(base + mark + options, filesystem)
    return home, path, body[cut:]


def _glob_regex(pattern: str) -> str:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        meaning.get(piece)
        or ("[" + re.sub("^!", "^", piece[1:-1]) + "]" if i % 2 else re.escape(piece))
        for i, piece in enumerate(pieces)
    )


def _below(root: str, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(path[len(root) :].lstrip("/") for path in paths))


def _hidden(file: str) -> bool:
    return any(part.startswith(("_", ".")) for part in file.split("/"))
