"""The saved model: a folder that can be copied, checked and loaded anywhere, without Ray.

The one decision: `manifest.json` is written last, names every file with its sha256 and carries its
own, and loading checks all of them before it reads any. A part that only a pickle can hold is
marked there and refused unless the caller trusts it. What the hashes do not do: they find damage,
they do not tell who wrote the files.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from distml.errors import DataError, UserError
from distml.runs.model import Model
from distml.runs.model_file import dump_estimator, load_estimator
from distml.runs.provenance import library_versions
from distml.runs.storage import Storage, open_storage, shown
from distml.runs.strict_json import dumps, to_json

__all__ = ["Model", "load", "save_model"]

_MANIFEST = "manifest.json"
_FORMAT = "distml bundle"
_VERSION = 1


def save_model(
    uri: str | Path, model: Model, *, files: Mapping[str, bytes] | None = None
) -> dict[str, Any]:
    """Write a model into a folder.

    Args:
        uri: the folder, a local path or a `pyarrow.fs` URI.
        model: the model.
        files: other files to keep with it, name → content.

    Returns:
        The manifest: format, task, label, classes, inputs, parts with how each is stored, files
        with sha256 and bytes, versions, metadata.

    Raises:
        UserError: a part of the model cannot be pickled, or a file has the name of another.
        StorageError: the storage refuses or is full.
    """
    storage = open_storage(uri)
    contents, parts = _dump_parts(model)
    clashes = sorted(set(files or {}) & {*contents, _MANIFEST})
    if clashes:
        raise UserError(
            f"bundle {shown(storage.uri)}: {clashes[0]!r} is its own file; take another name"
        )
    contents.update(files or {})
    for name, content in contents.items():
        storage.write(name, content)
    manifest = _manifest(model, parts, contents)
    # Last, since without it there is no bundle.
    storage.write(_MANIFEST, (dumps(manifest, indent=2) + "\n").encode())
    return manifest


def load(path: str | Path, *, trust: bool = False) -> Model:
    """Read a model that was saved, after checking that no byte of it has changed.

    Neither Ray nor torch is loaded, and no code that the files bring along runs.

    Args:
        path: the folder, a local path or a `pyarrow.fs` URI.
        trust: also load what can run code: pickles, and types that distml does not know.

    Returns:
        The model.

    Raises:
        DataError: there is no bundle, or a file is missing or changed; the message names it.
        UserError: a part needs `trust=True`, or a later distml wrote it.
        StorageError: the storage refuses.
    """
    storage = open_storage(path)
    manifest = _read_manifest(storage)
    contents = {name: _checked(storage, name, facts) for name, facts in manifest["files"].items()}
    parts = {}
    for name, part in manifest["parts"].items():
        try:
            parts[name] = load_estimator(part["stored"], contents[part["file"]], trust=trust)
        except UserError as error:
            raise type(error)(f"bundle {shown(storage.uri)}: {part['file']}: {error}") from error
    return Model(
        estimator=parts["estimator"],
        encoder=parts.get("encoder"),
        schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["schema"]))),
        label=manifest["label"],
        task=manifest["task"],
        classes=manifest["classes"],
        takes=manifest["takes"],
        metadata=manifest["metadata"],
    )


def _dump_parts(model: Model) -> tuple[dict[str, bytes], dict[str, dict[str, str]]]:
    contents: dict[str, bytes] = {}
    parts = {}
    for name in ("encoder", "estimator"):
        part = getattr(model, name)
        if part is not None:
            stored, content = dump_estimator(part)
            file = f"{name}.{stored}"
            contents[file] = content
            parts[name] = {"file": file, "stored": stored}
    return contents, parts


def _manifest(
    model: Model, parts: Mapping[str, Any], contents: Mapping[str, bytes]
) -> dict[str, Any]:
    manifest = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "task": model.task,
        "label": model.label,
        "classes": model.classes,
        "takes": model.takes,
        "inputs": [{"name": field.name, "type": str(field.type)} for field in model.schema],
        "schema": base64.b64encode(model.schema.serialize().to_pybytes()).decode(),
        "parts": parts,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in contents.items()
        },
        "versions": {**library_versions(), "skops": metadata.version("skops")},
        "metadata": model.metadata,
    }
    return {**to_json(manifest), "sha256": _seal(to_json(manifest))}


def _read_manifest(storage: Storage) -> dict[str, Any]:
    try:
        manifest = json.loads(storage.read(_MANIFEST))
        seal = manifest.pop("sha256", None)
    except FileNotFoundError:
        raise DataError(
            f"no model in {shown(storage.uri)}: {_MANIFEST} is missing; give the folder a run saved"
        ) from None
    except (ValueError, AttributeError):
        manifest, seal = {}, None
    if manifest.get("format") == _FORMAT and manifest.get("format_version", 0) > _VERSION:
        raise UserError(f"bundle {shown(storage.uri)} is from a later distml; upgrade this one")
    if seal is None or seal != _seal(manifest):
        raise _changed(storage, _MANIFEST)
    return dict(manifest)


def _checked(storage: Storage, name: str, facts: Mapping[str, Any]) -> bytes:
    try:
        content = storage.read(name)
    except FileNotFoundError:
        raise DataError(
            f"bundle {shown(storage.uri)}: {name} is missing; restore it from a copy"
        ) from None
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise _changed(storage, name)
    return content


def _changed(storage: Storage, name: str) -> DataError:
    return DataError(
        f"bundle {shown(storage.uri)}: {name} is not what was saved (its sha256 differs); "
        "restore it from a copy"
    )


def _seal(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
