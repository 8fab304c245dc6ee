"""Units: the smallest results that are stored and resumed, keyed by what determines them.

The one decision: a unit is one file, written once and atomically, whose end carries the sha256 of
all before it. What is torn, truncated or changed counts as absent and is written anew, so a crash
at any moment costs at most the units that were being fitted. Reading a unit unpickles it: a unit
store is as trusted as the code that runs.
"""

import contextlib
import functools
import hashlib
import json
import logging
import pickle
import struct
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from distml.errors import UserError
from distml.runs.digest import digest
from distml.runs.storage import Entry, Storage, absolute_uri, open_storage
from distml.runs.strict_json import dumps

__all__ = ["UnitStore", "active_units", "digest", "unit_key", "use_units"]

logger = logging.getLogger(__name__)

_HEAD = b"distml unit 1\n"
_FOOT = struct.Struct("<QI32s8s")
"""Bytes of the pickle, bytes of the JSON behind it, sha256 of both and the head, end mark."""
_END = b"\nunit-ok"
_BLOCK_BYTES = 1 << 20

_active: ContextVar["UnitStore | None"] = ContextVar("distml_units", default=None)


def unit_key(**parts: object) -> str:
    """Name a unit by everything that determines its result.

    Args:
        **parts: named parts (estimator, data fingerprint, rows, seed, versions, …); see `digest`.

    Returns:
        64 hexadecimal characters: equal if and only if names and contents are.

    Raises:
        UserError: no parts, or a part that cannot be told by its content.
    """
    if not parts:
        raise UserError("unit_key() needs at least one part; give what determines the unit")
    return digest(parts)


@contextlib.contextmanager
def use_units(store: "UnitStore | None") -> Iterator[Any]:
    """Make a store the one where fits are kept while the block runs, in this thread.

    Args:
        store: the store; `None`: in memory only.

    Yields:
        The same store.

    Raises:
        Nothing.
    """
    token = _active.set(store)
    try:
        yield store
    finally:
        _active.reset(token)


def active_units() -> "UnitStore | None":
    """The store of the `use_units` block we are in; `None` when fits are kept in memory only.

    Returns:
        The innermost block's store.

    Raises:
        Nothing.
    """
    return _active.get()


class UnitStore:
    """Units under one URI, open to any number of processes at once.

    It is picklable and holds nothing but its address, so workers put units themselves.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = absolute_uri(uri)

    def __reduce__(self) -> tuple[Any, ...]:
        return (UnitStore, (self.uri,))

    def __repr__(self) -> str:
        return f"UnitStore({self.uri!r})"

    def has(self, key: str) -> bool:
        """Whether an intact unit is there. The whole unit is read and checked.

        Args:
            key: the unit's key.

        Returns:
            False also for a unit that is torn, truncated or changed.

        Raises:
            StorageError: the storage refuses.
        """
        return self._foot(key) is not None

    def get(self, key: str) -> Any:
        """Read a unit.

        Args:
            key: the unit's key.

        Returns:
            What was put.

        Raises:
            KeyError: no intact unit is there, or not its code: a class was moved or renamed.
            StorageError: the storage refuses.
        """
        try:
            content = memoryview(self._storage.read(_path(key)))
        except FileNotFoundError:
            raise KeyError(key) from None
        foot = _checked_foot([content], len(content), content[-_FOOT.size :])
        if foot is None:
            raise KeyError(key)
        try:
            return pickle.loads(content[len(_HEAD) : len(_HEAD) + foot.pickle_bytes])
        except Exception as error:
            # To be fitted again is better than to stop: the same content gives the same unit.
            logger.warning("unit %s cannot be read and will be fitted again: %s", key[:12], error)
            raise KeyError(key) from error

    def put(self, key: str, value: object, meta: Mapping[str, Any] | None = None) -> bool:
        """Write a unit, unless an intact one is there.

        Args:
            key: the unit's key.
            value: what to keep; anything that cloudpickle takes.
            meta: what to say about it, as JSON: seconds, bytes, member.

        Returns:
            Whether it was written.

        Raises:
            StorageError: the storage refuses or is full; other units stay.
        """
        import cloudpickle

        if self._storage.stat(_path(key)) is not None and self.has(key):
            return False
        with self._storage.create(_path(key)) as file:
            hashing = _HashingFile(file)
            hashing.write(_HEAD)
            cloudpickle.dump(value, hashing, protocol=5)
            pickle_bytes = hashing.num_bytes - len(_HEAD)
            note = dumps(dict(meta or {})).encode()
            hashing.write(note)
            file.write(_FOOT.pack(pickle_bytes, len(note), hashing.sha.digest(), _END))
        return True

    def meta(self, key: str) -> dict[str, Any]:
        """Read what was said about a unit.

        Args:
            key: the unit's key.

        Returns:
            `meta` as given to `put`.

        Raises:
            KeyError: no intact unit is there.
            StorageError: the storage refuses.
        """
        foot = self._foot(key)
        if foot is None:
            raise KeyError(key)
        with self._storage.open(_path(key)) as file:
            file.seek(len(_HEAD) + foot.pickle_bytes)
            meta: dict[str, Any] = json.loads(file.read(foot.note_bytes))
        return meta

    def keys(self) -> Iterator[str]:
        """The keys of all units, intact or not, in order.

        Yields:
            Keys.

        Raises:
            StorageError: the storage refuses.
        """
        for folder in self._storage.list():
            if folder.is_dir:
                yield from (entry.name for entry in self._units_in(folder))

    @functools.cached_property
    def _storage(self) -> Storage:
        return open_storage(self.uri)

    def _units_in(self, folder: Entry) -> list[Entry]:
        return [entry for entry in self._storage.list(folder.name) if not entry.is_dir]

    def _foot(self, key: str) -> "_Foot | None":
        try:
            with self._storage.open(_path(key)) as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _FOOT.size))
                end = file.read(_FOOT.size)
                file.seek(0)
                return _checked_foot(_blocks(file), size, end)
        except FileNotFoundError:
            return None


@dataclass(frozen=True, slots=True)
class _Foot:
    pickle_bytes: int
    note_bytes: int


class _HashingFile:
    """Passes on what is written, and hashes it: a forest of a gigabyte is never held as bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha = hashlib.sha256()
        self.num_bytes = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.sha.update(view)
        self.num_bytes += len(view)
        self._file.write(view)
        return len(view)


def _path(key: str) -> str:
    """Two levels, since some file systems slow down with many files in a folder."""
    return f"{key[:2]}/{key}"


def _blocks(file: BinaryIO) -> Iterator[memoryview]:
    while block := file.read(_BLOCK_BYTES):
        yield memoryview(block)


def _checked_foot(content: Any, size: int, end: Any) -> _Foot | None:
    """The foot of a unit file, or `None` if any byte of the file is not what was written."""
    if len(end) != _FOOT.size:
        return None
    pickle_bytes, note_bytes, expected, mark = _FOOT.unpack(end)
    signed = len(_HEAD) + pickle_bytes + note_bytes
    if mark != _END or signed + _FOOT.size != size:
        return None
    sha, left = hashlib.sha256(), signed
    for block in content:
        sha.update(block[:left])
        left -= min(left, len(block))
    return _Foot(pickle_bytes, note_bytes) if sha.digest() == expected else None
