"""Sizes and hashes of what a run leaves behind.

The one decision: a folder is hashed by the names and hashes of its files, so that a bundle has one
fingerprint wherever it is copied.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from distml.runs.storage import Storage

__all__ = ["fingerprint"]

_BLOCK_BYTES = 1 << 20


def fingerprint(storage: Storage, path: str) -> dict[str, Any]:
    """Hash a file, or a folder with all that is in it.

    Args:
        storage: where it is.
        path: the file or folder.

    Returns:
        `sha256` in hexadecimal, and `bytes`.

    Raises:
        FileNotFoundError: there is no such file, and no file in such a folder.
        StorageError: the storage refuses.
    """
    entry = storage.stat(path)
    if entry is not None and not entry.is_dir:
        return _hashed(storage, path)
    files = {name: _hashed(storage, name) for name in sorted(_files(storage, path))}
    if not files:
        raise FileNotFoundError(path)
    listing = "".join(f"{name[len(path) :]} {facts['sha256']}\n" for name, facts in files.items())
    return {
        "sha256": hashlib.sha256(listing.encode()).hexdigest(),
        "bytes": sum(facts["bytes"] for facts in files.values()),
    }


def _files(storage: Storage, folder: str) -> Iterator[str]:
    for entry in storage.list(folder):
        name = f"{folder}/{entry.name}"
        if entry.is_dir:
            yield from _files(storage, name)
        else:
            yield name


def _hashed(storage: Storage, path: str) -> dict[str, Any]:
    sha, num_bytes = hashlib.sha256(), 0
    with storage.open(path) as file:
        while block := file.read(_BLOCK_BYTES):
            sha.update(block)
            num_bytes += len(block)
    return {"sha256": sha.hexdigest(), "bytes": num_bytes}
