"""The manifest of a bundle: every file with its sha256, written last and sealed with its own.

The one decision: what is wrong is handed to the caller's `complain`, which raises or warns, so that
one pass over the files serves both ways of checking. What the hashes do not do: they find damage,
they do not tell who wrote the files.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distml.errors import DataError, UserError
from distml.runs.storage import Storage, open_storage, shown
from distml.runs.strict_json import dumps, to_json

__all__ = [
    "MANIFEST",
    "Complain",
    "bundle_hash",
    "read_files",
    "read_manifest",
    "seal",
    "write_manifest",
]

MANIFEST = "manifest.json"

_FORMAT = "distml bundle"
_VERSION = 2

_KEYS = frozenset(("task", "label", "classes", "takes", "schema", "parts", "files", "metadata"))
"""What the manifests of all formats have."""

Complain = Callable[[UserError], None]
"""Takes what is wrong: raises it, or says it and lets us go on."""


def write_manifest(
    storage: Storage, fields: Mapping[str, Any], contents: Mapping[str, bytes]
) -> dict[str, Any]:
    """Write the manifest, which makes a bundle of the files that are there.

    Args:
        storage: the folder.
        fields: what else to keep in it, as JSON.
        contents: name → content of every other file.

    Returns:
        The manifest as written.

    Raises:
        StorageError: the storage refuses or is full.
    """
    hashes = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
    }
    manifest = to_json({"format": _FORMAT, "format_version": _VERSION, **fields, "files": hashes})
    sealed = {**manifest, "sha256": seal(manifest)}
    storage.write(MANIFEST, (dumps(sealed, indent=2) + "\n").encode())
    return sealed


def read_manifest(storage: Storage, complain: Complain) -> dict[str, Any]:
    """Read the manifest and check its own seal.

    Args:
        storage: the folder.
        complain: takes a broken seal.

    Returns:
        The manifest, with its seal under `sha256`.

    Raises:
        DataError: there is none, or it cannot be read.
        UserError: a later distml wrote it.
    """
    try:
        manifest = json.loads(storage.read(MANIFEST))
    except FileNotFoundError:
        raise DataError(
            f"{shown(storage.uri)} is no bundle: {MANIFEST} is missing; give the folder of a model"
        ) from None
    except ValueError as error:
        raise _changed(storage, MANIFEST) from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise _changed(storage, MANIFEST)
    version = manifest.get("format_version", 0)
    if isinstance(version, int) and version > _VERSION:
        raise UserError(f"bundle {shown(storage.uri)} is from a later distml; upgrade this one")
    if not manifest.keys() >= _KEYS:
        raise _changed(storage, MANIFEST)
    unsealed = {name: value for name, value in manifest.items() if name != "sha256"}
    if manifest.get("sha256") != seal(unsealed):
        complain(_changed(storage, MANIFEST))
    return manifest


def read_files(
    storage: Storage, files: Mapping[str, Mapping[str, Any]], complain: Complain
) -> dict[str, bytes]:
    """Read every file that a manifest names, and check its sha256.

    Args:
        storage: the folder.
        files: name → `sha256` and `bytes`.
        complain: takes a file that is missing or changed.

    Returns:
        Name → content, without the missing ones.

    Raises:
        StorageError: the storage refuses.
    """
    contents = {}
    for name, facts in files.items():
        try:
            contents[name] = storage.read(name)
        except FileNotFoundError:
            where = f"bundle {shown(storage.uri)}"
            complain(DataError(f"{where}: {name} is missing; restore it from a copy"))
            continue
        if hashlib.sha256(contents[name]).hexdigest() != facts["sha256"]:
            complain(_changed(storage, name))
    return contents


def bundle_hash(uri: str | Path) -> str:
    """Name a bundle by its content.

    Args:
        uri: the folder, a local path or a `pyarrow.fs` URI.

    Returns:
        The hash of its manifest: 64 hexadecimal characters.

    Raises:
        DataError: there is no bundle.
        StorageError: the storage refuses.
    """
    manifest = read_manifest(open_storage(uri), lambda _: None)
    return seal({name: value for name, value in manifest.items() if name != "sha256"})


def seal(manifest: Mapping[str, Any]) -> str:
    """Hash a manifest without its seal, whatever its white space.

    Args:
        manifest: the manifest.

    Returns:
        64 hexadecimal characters.

    Raises:
        Nothing.
    """
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _changed(storage: Storage, name: str) -> DataError:
    return DataError(
        f"bundle {shown(storage.uri)}: {name} is not what was saved (its sha256 differs); "
        "restore it from a copy"
    )
