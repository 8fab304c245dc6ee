"""Decoded shards on this machine's disk, to be fetched and decoded once and not in every epoch.

One decision: what is kept belongs to the processes that read it. They share a folder and each holds
a lock on it, which ends with the process however that ends: the last to let go deletes the folder,
and what killed processes left is deleted by whoever comes next. Nothing depends on what is kept:
where the disk has no room, or is none, shards are read from their source again.
"""

import fcntl
import json
import os
import shutil
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from distml.data.gather import Arrays
from distml.data.ragged import RaggedArray

__all__ = ["ShardCache"]

_SCRATCH = "DISTML_SCRATCH"
"""Environment variable: the folder to use; empty for none."""
_STEPS, _OFFSETS = "steps", "offsets"
_FREE_SHARE = 0.1
"""Of the disk, what stays free."""

Place = Callable[[str, np.dtype[Any], tuple[int, ...]], np.ndarray]


class ShardCache:
    """Arrays by shard; safe to share between threads and, by pickling it, between processes.

    Nothing is written before the first question. Files are read back as they were written, by
    whoever has the same name; they are not checked.

    Args:
        name: of the folder; processes that give the same share it. A new one by default.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name or uuid.uuid4().hex
        self._folder: Path | None = None
        self._let_go: weakref.finalize[Any, Any] | None = None
        self._is_usable = True
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardCache, (self._name,)

    def has(self, shard: int) -> bool:
        """Whether a shard is there."""
        folder = self._opened()
        return folder is not None and _file(folder, shard).exists()

    def put(self, shard: int, arrays: Arrays) -> None:
        """Keep a shard's arrays, if there is room on the disk."""
        folder = self._opened()
        parts = _parts(arrays)
        if folder is None or any(values.dtype.hasobject for _, _, values in parts):
            return
        written = folder / f"{shard}.{uuid.uuid4().hex}"
        try:
            disk = shutil.disk_usage(folder)
            if disk.free - sum(a.nbytes for _, _, a in parts) > _FREE_SHARE * disk.total:
                _write(written, parts)
                written.replace(_file(folder, shard))
        except OSError:
            with suppress(OSError):
                written.unlink()

    def get(self, shard: int, place: Place) -> dict[str, RaggedArray]:
        """Read a shard's arrays.

        Args:
            shard: one that is there.
            place: gives the memory to read an array into, contiguous, by its name, type and shape.

        Returns:
            The rows that differ in length, for which `place` is not asked.

        Raises:
            OSError: the shard is there no longer.
            ValueError: the file is none of ours.
        """
        folder = self._opened()
        if folder is None:
            raise FileNotFoundError(f"shard {shard} is not kept")
        ragged: dict[tuple[str, str], np.ndarray] = {}
        with _file(folder, shard).open("rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            for name, half, kind, shape in head:
                dtype = np.dtype(kind)
                values = np.empty(shape, dtype) if half else place(name, dtype, tuple(shape))
                if values.nbytes and file.readinto(_bytes(values)) < values.nbytes:
                    raise OSError(f"{file.name} was cut off")
                if half:
                    ragged[name, half] = values
        names = dict.fromkeys(name for name, _ in ragged)
        return {name: RaggedArray(ragged[name, _STEPS], ragged[name, _OFFSETS]) for name in names}

    def close(self) -> None:
        """Let go of the files; the last process that does so deletes them. May be used again."""
        if self._let_go is not None:
            self._let_go()
        self._folder = self._let_go = None

    def _opened(self) -> Path | None:
        with self._opening:
            if self._folder is None and self._is_usable:
                try:
                    self._open()
                except OSError:
                    self._is_usable = False
            return self._folder

    def _open(self) -> None:
        root = _root()
        if root is None:
            self._is_usable = False
            return
        with _locked(root):
            _sweep(root)
            folder = root / self._name
            folder.mkdir(exist_ok=True)
            lock = _lock_file(folder)
            fcntl.flock(lock, fcntl.LOCK_SH)
        self._folder = folder
        self._let_go = weakref.finalize(self, _let_go, folder, lock)


def _root() -> Path | None:
    """This user's folder for what may be lost, on a disk; `None` if there is none."""
    chosen = os.environ.get(_SCRATCH)
    folders = [tempfile.gettempdir(), "/var/tmp"] if chosen is None else [chosen] * bool(chosen)
    on_disk = [folder for folder in folders if chosen is not None or not _is_in_memory(folder)]
    if not on_disk:
        return None
    root = Path(on_disk[0]) / f"distml-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    # Temporary folders are everybody's: another user may have put something there by this name.
    return root if found.st_uid == os.getuid() and not root.is_symlink() else None


def _is_in_memory(folder: str) -> bool:
    """Whether what is written there takes memory."""
    device = Path(folder).stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), Path("/proc/self/mountinfo").open() as mounts:
        for mount in mounts:
            fields = mount.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1] in ("tmpfs", "ramfs")
    return False


def _bytes(values: np.ndarray) -> memoryview:
    return values.reshape(-1).view(np.uint8).data


def _file(folder: Path, shard: int) -> Path:
    return folder / f"{shard}.arrays"


def _parts(arrays: Arrays) -> list[tuple[str, str, np.ndarray]]:
    """Each array as it is written, by name; rows that differ in length are two."""
    parts: list[tuple[str, str, np.ndarray]] = []
    for name, values in arrays.items():
        if isinstance(values, RaggedArray):
            parts += [(name, _STEPS, values.values), (name, _OFFSETS, values.offsets)]
        else:
            parts.append((name, "", values))
    return parts


def _write(path: Path, parts: Sequence[tuple[str, str, np.ndarray]]) -> None:
    """The length of a head, the head, and the bytes of each array."""
    head = json.dumps([(name, half, a.dtype.str, a.shape) for name, half, a in parts]).encode()
    with path.open("wb", buffering=0) as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _, _, values in parts:
            np.ascontiguousarray(values).tofile(file)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Nobody else opens or deletes a folder meanwhile."""
    with (root / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock_file(folder: Path) -> int:
    return os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)


def _sweep(root: Path) -> None:
    """Delete what nobody holds any more."""
    for folder in root.iterdir():
        if folder.is_dir():
            lock = _lock_file(folder)
            try:
                _delete_unheld(folder, lock)
            finally:
                os.close(lock)


def _let_go(folder: Path, lock: int) -> None:
    try:
        with suppress(OSError), _locked(folder.parent):
            _delete_unheld(folder, lock)
    finally:
        os.close(lock)


def _delete_unheld(folder: Path, lock: int) -> None:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
