"""Fetch the working tree from the storage and go on in it: `python -c SOURCE URI FOLDER MODULE …`.

One decision: the source of this file is itself sent as the command, because nothing of distml is
there yet; so it uses pyarrow and the standard library only. Workers get the tree from the driver
(`DISTML_WORKING_DIR`).
"""

import os
import sys
import tempfile
import zipfile

__all__ = ["main"]


def main(uri: str, module: str, *arguments: str) -> None:
    """Unpack the package at `uri` into a new folder and run `python -m module` there.

    Args:
        uri: Of the zip file, as `pyarrow.fs` takes it, or a local path.
        module: What to run instead of this process.
        arguments: Its command line.
    """
    from pyarrow.fs import FileSystem, LocalFileSystem

    filesystem, path = FileSystem.from_uri(uri) if "://" in uri else (LocalFileSystem(), uri)
    folder = tempfile.mkdtemp(prefix="distml-tree-")
    with filesystem.open_input_file(path) as file, zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    os.chdir(folder)
    os.environ["DISTML_WORKING_DIR"] = folder
    os.execv(sys.executable, [sys.executable, "-u", "-m", module, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
