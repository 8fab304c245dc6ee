"""The saved model: a folder that can be copied, checked and loaded anywhere, without Ray.

The one decision: a bundle is refused unless it proves itself: every file has the sha256 that the
manifest names, the libraries are of the versions that matter, and the golden rows are predicted as
they were. `check="warn"` says the same and goes on. A part that only a pickle can hold is marked
and refused unless the caller trusts it, however he checks.
"""

import base64
import functools
import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from distml.errors import DataError, UserError
from distml.runs.card import card_text, signature
from distml.runs.golden import dump_golden, what_differs
from distml.runs.manifest import MANIFEST, Complain, read_files, read_manifest, write_manifest
from distml.runs.model import Model
from distml.runs.model_file import dump_estimator, load_estimator, reachable
from distml.runs.profile import profile
from distml.runs.provenance import library_versions
from distml.runs.requirements import requirements, requirements_text, what_is_missing
from distml.runs.script import description
from distml.runs.storage import open_storage, shown
from distml.runs.strict_json import dumps
from distml.runs.wheel import own_wheel

__all__ = ["BundleWarning", "Model", "load", "load_once", "save_model"]

_GOLDEN = "golden.arrow"
_PROFILED_ROWS = 10_000
_WRITERS = 8


class BundleWarning(UserWarning):
    """What `load(..., check="warn")` found wrong with a bundle."""


def save_model(
    uri: str | Path,
    model: Model,
    *,
    golden: pa.Table | None = None,
    card: Mapping[str, Any] | None = None,
    profile_rows: pa.Table | None = None,
    unseen_rows: pa.Table | None = None,
    files: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Write a model into a folder.

    Args:
        uri: the folder, a local path or a `pyarrow.fs` URI.
        model: the model.
        golden: rows whose first 20 are kept with their predictions.
        card: what the model card says; see `distml.runs.card`.
        profile_rows: the training rows, whose profile is kept for measuring drift.
        unseen_rows: rows it was not fitted on, for the profile of its predictions, which on
            training rows are surer than on others; `profile_rows` if there are none.
        files: other files to keep with it, name → content.

    Returns:
        The manifest: format, task, label, classes, inputs, parts with how each is stored and why
        as a pickle, files with sha256 and bytes, requires, versions, metadata.

    Raises:
        UserError: a part of the model cannot be pickled, or a file has the name of another.
        DataError: the model cannot predict from the rows given.
        StorageError: the storage refuses or is full.
    """
    storage = open_storage(uri)
    contents, parts = _dump_parts(model)
    stored = [(part["stored"], contents[part["file"]]) for part in parts.values()]
    needed = requirements(stored, model.takes)
    told = {"about": description((files or {}).get("job.py", b"")), **(card or {})}
    pickled = next((part["reason"] for part in parts.values() if "reason" in part), None)
    contents.update(_texts(model, told, needed, pickled=pickled))
    contents.update(_rows(model, golden, profile_rows, unseen_rows))
    clashes = sorted(set(files or {}) & {*contents, MANIFEST})
    if clashes:
        raise UserError(
            f"bundle {shown(storage.uri)}: {clashes[0]!r} is its own file; take another name"
        )
    contents.update(files or {})
    # Each waits for its disk or its object store, so they wait together.
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(storage.write, contents.keys(), contents.values()))
    # Last, since without it there is no bundle.
    return write_manifest(storage, {**_fields(model), "parts": parts, "requires": needed}, contents)


def load(
    path: str | Path, *, check: Literal["strict", "warn"] = "strict", trust: bool = False
) -> Model:
    """Read a model that was saved, after checking that it is what was saved and behaves so.

    Ray is not loaded, torch for a network only, and no code that the files bring along runs.

    Args:
        path: the folder, a local path or a `pyarrow.fs` URI.
        check: `"strict"` refuses changed files, versions of libraries that do not fit, and golden
            rows that are predicted otherwise; `"warn"` gives a `BundleWarning` for each instead.
        trust: also load what can run code: pickles, and types that distml does not know.

    Returns:
        The model; `Model.predict` says which rows it takes.

    Raises:
        DataError: there is no bundle, a file is missing or changed, or golden rows differ.
        UserError: a part needs `trust=True`, a version does not fit, or a later distml wrote it.
        StorageError: the storage refuses.
    """
    if check not in ("strict", "warn"):
        raise UserError(f"load: check={check!r} must be 'strict' or 'warn'")
    storage = open_storage(path)
    name, complain = f"bundle {shown(storage.uri)}", _raise if check == "strict" else _warn
    manifest = read_manifest(storage, complain)
    contents = read_files(storage, manifest["files"], complain)
    # Before anything is built of them: what another version makes of a part may fail oddly.
    _check_versions(name, manifest, complain)
    if "keras" in manifest.get("requires", {}):
        # It asks when it is imported, which a part does, and would take TensorFlow.
        os.environ.setdefault("KERAS_BACKEND", "torch")
    model = _read_model(name, manifest, contents, trust=trust)
    difference = what_differs(model, contents[_GOLDEN]) if _GOLDEN in contents else None
    if difference is not None:
        complain(
            DataError(
                f"{name}: golden rows are predicted otherwise than when it was saved ({difference})"
                "; install its requirements.txt, or give check='warn' to go on"
            )
        )
    return model


@functools.lru_cache(maxsize=1)
def load_once(uri: str, identity: str, check: Literal["strict", "warn"], *, trust: bool) -> Model:
    """Load a model once in each process, set to one thread: there its rows are spread instead.

    Args:
        uri: where it is.
        identity: its hash, so that a process that lives on notices a new model in the same place.
        check: see `load`.
        trust: see `load`.

    Returns:
        The model.

    Raises:
        UserError: it is refused.
    """
    model = load(uri, check=check, trust=trust)
    for part in reachable([model.estimator, model.encoder]):
        if getattr(part, "__dict__", {}).get("n_jobs") is not None:
            part.n_jobs = 1
    return model


def _dump_parts(model: Model) -> tuple[dict[str, bytes], dict[str, dict[str, str]]]:
    contents: dict[str, bytes] = {}
    parts = {}
    for name in ("encoder", "estimator"):
        part = getattr(model, name)
        if part is not None:
            stored, content, reason = dump_estimator(part)
            file = f"{name}.{stored}"
            contents[file] = content
            parts[name] = {"file": file, "stored": stored} | ({"reason": reason} if reason else {})
    return contents, parts


def _texts(
    model: Model, card: Mapping[str, Any], needed: Mapping[str, str], *, pickled: str | None
) -> dict[str, bytes]:
    wheel, wheel_content = own_wheel()
    described = signature(model, card.get("units"))
    return {
        wheel: wheel_content,
        "requirements.txt": requirements_text(needed, wheel).encode(),
        "signature.json": f"{dumps(described, indent=2)}\n".encode(),
        "README.md": card_text(model, card, needed, pickled=pickled).encode(),
    }


def _rows(
    model: Model, golden: pa.Table | None, seen: pa.Table | None, unseen: pa.Table | None
) -> dict[str, bytes]:
    """Golden rows and the profile, of those that can be made."""
    contents = {} if golden is None else {_GOLDEN: dump_golden(model, golden)}
    if seen is not None:
        outputs = model.outputs(_thinned(seen if unseen is None else unseen))
        described = {**profile(seen.select(model.schema.names)), "predictions": profile(outputs)}
        contents["profile.json"] = f"{dumps(described)}\n".encode()
    return contents


def _thinned(rows: pa.Table) -> pa.Table:
    """At most so many rows, evenly from all of them."""
    return rows.take(pa.array(range(0, len(rows), -(-len(rows) // _PROFILED_ROWS) or 1)))


def _fields(model: Model) -> dict[str, Any]:
    return {
        "task": model.task,
        "label": model.label,
        "classes": model.classes,
        "takes": model.takes,
        "inputs": [{"name": field.name, "type": str(field.type)} for field in model.schema],
        "schema": base64.b64encode(model.schema.serialize().to_pybytes()).decode(),
        "versions": library_versions(),
        "metadata": model.metadata,
    }


def _check_versions(name: str, manifest: Mapping[str, Any], complain: Complain) -> None:
    pickled = any(part["stored"] == "pickle" for part in manifest["parts"].values())
    missing = what_is_missing(manifest.get("requires", {}), pickled=pickled)
    if missing:
        complain(
            UserError(
                f"{name}: needs {', '.join(missing)}; in its folder, pip install -r "
                "requirements.txt, or give check='warn' to go on"
            )
        )


def _read_model(
    name: str, manifest: Mapping[str, Any], contents: Mapping[str, bytes], *, trust: bool
) -> Model:
    parts = {}
    for role, part in manifest["parts"].items():
        if part["file"] not in contents:
            raise DataError(f"{name}: {part['file']} is missing; restore it from a copy")
        try:
            parts[role] = load_estimator(
                part["stored"], contents[part["file"]], trust=trust, reason=part.get("reason")
            )
        except UserError as error:
            raise type(error)(f"{name}: {part['file']}: {error}") from error
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


def _raise(error: UserError) -> None:
    raise error


def _warn(error: UserError) -> None:
    warnings.warn(str(error), BundleWarning, stacklevel=4)
