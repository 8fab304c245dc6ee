"""distml's own part of a bundle: a wheel with just the modules that loading and predicting need.

The one decision: a model must load years later in an empty environment, so it brings our code with
it instead of hoping that an index has that version. The wheel asks for neither Ray nor torch, which
the bundle of a network names itself, and its version says what it is (`0.1.0+bundle`): it trains
nothing. Its bytes depend on the sources alone.
"""

import base64
import functools
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

__all__ = ["own_wheel"]

_PACKAGE = Path(__file__).parents[1]
_ROOMS = (
    *("__init__.py", "py.typed", "errors.py", "job.py", "rehearsal.py", "session.py", "signals.py"),
    "spread.py",
    *("data", "ensemble", "runs", "train"),
)
"""What `distml.load` and the classes inside a model are made of; they import nothing else of us."""

_NEEDS = ("numpy", "pyarrow", "scikit-learn", "skops")
_TAG = "py3-none-any"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@functools.cache
def own_wheel() -> tuple[str, bytes]:
    """Pack the modules of the distml that runs.

    Returns:
        File name and content.

    Raises:
        OSError: the sources cannot be read.
    """
    version = f"{metadata.version('distml').partition('+')[0]}+bundle"
    about = f"distml-{version}.dist-info"
    files = dict(_sources())
    files[f"{about}/METADATA"] = _metadata(version)
    files[f"{about}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: distml\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()
    )
    files[f"{about}/RECORD"] = _record(files, f"{about}/RECORD")
    return f"distml-{version}-{_TAG}.whl", _zipped(files)


def _sources() -> Iterator[tuple[str, bytes]]:
    for room in _ROOMS:
        place = _PACKAGE / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            yield f"distml/{path.relative_to(_PACKAGE).as_posix()}", path.read_bytes()


def _metadata(version: str) -> bytes:
    lines = [
        "Metadata-Version: 2.1",
        "Name: distml",
        f"Version: {version}",
        "Summary: The part of distml that loads a saved model and predicts with it",
        "License: Apache-2.0",
        "Requires-Python: >=3.11",
        *(f"Requires-Dist: {name}" for name in _NEEDS),
    ]
    return ("\n".join(lines) + "\n").encode()


def _record(files: dict[str, bytes], own_name: str) -> bytes:
    """The list of files and hashes that the format of wheels asks for (PEP 427)."""
    lines = []
    for name, content in files.items():
        sha = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={sha},{len(content)}")
    return "\n".join([*lines, f"{own_name},,", ""]).encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
