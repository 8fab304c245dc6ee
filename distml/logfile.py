"""The log of a run, `log.txt`: what its driver logged, and all it and its children printed.

One decision: until the run exists there is no file, so records wait in memory; a mistake found
before the start leaves nothing behind. A driver that has the process to itself also turns the
file descriptors 1 and 2 to the log, which Ray's servers and C code inherit; one that shares it
(debug) leaves the terminal alone. On an object store the log grows beside and is put now and then.
"""

import contextlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

from distml.errors import StorageError
from distml.runs.local_storage import LocalStorage
from distml.runs.storage import Storage
from distml.runs.voices import mark

__all__ = ["LogFile", "collect_log"]

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(mark)s%(message)s"
_PUT_INTERVAL_S = 5.0


class _FileHandler(logging.FileHandler):
    """Loses what a full storage does not take; the record, which matters, says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do not print the traceback."""

    def close(self) -> None:
        """Close the file, whether or not the rest of it could be written."""
        with contextlib.suppress(OSError):
            super().close()


def _with_mark(record: logging.LogRecord) -> bool:
    """Note whose words a record is, in the thread that says them."""
    record.mark = mark()
    return True


class LogFile:
    """Collects log records, first in memory, then in a file; made by `collect_log`."""

    def __init__(self, memory: MemoryHandler) -> None:
        self._memory = memory
        self._closing = contextlib.ExitStack()

    def open(self, storage: Storage, path: str, *, take_output: bool) -> None:
        """Write to `path` in the storage from now on, beginning with what was collected.

        Args:
            storage: Where the run is.
            path: The log in it; a resumed run adds to it.
            take_output: Turn this process's stdout and stderr there as well.

        Raises:
            StorageError: the storage refuses.
        """
        file = self._closing.enter_context(_local_file(storage, path))
        handler = _FileHandler(file, encoding="utf-8")
        handler.setFormatter(logging.Formatter(_FORMAT))
        self._closing.callback(handler.close)
        self._memory.setTarget(handler)
        self._memory.flushLevel = logging.NOTSET
        self._memory.flush()
        if take_output:
            self._closing.enter_context(_output_to(file))

    def close(self) -> None:
        """Give stdout and stderr back and put what is still held.

        Raises:
            StorageError: the storage refuses.
        """
        self._memory.setTarget(None)
        self._closing.close()


@contextlib.contextmanager
def collect_log() -> Iterator[LogFile]:
    """Collect what is logged and warned in this process; only the driver does so."""
    memory = MemoryHandler(
        capacity=sys.maxsize, flushLevel=logging.CRITICAL + 1, flushOnClose=False
    )
    memory.addFilter(_with_mark)
    root = logging.getLogger()
    level = root.level
    with warnings.catch_warnings():
        logging.captureWarnings(True)
        root.addHandler(memory)
        root.setLevel(logging.INFO)
        try:
            yield LogFile(memory)
        finally:
            logging.captureWarnings(False)
            root.removeHandler(memory)
            root.setLevel(level)
            memory.close()


@contextlib.contextmanager
def _local_file(storage: Storage, path: str) -> Iterator[Path]:
    if isinstance(storage, LocalStorage):
        if storage.stat(path) is None:
            storage.append(path, b"")
        yield storage.root / path
        return
    with tempfile.TemporaryDirectory(prefix="distml-log-") as folder:
        file = Path(folder, "log.txt")
        with contextlib.suppress(FileNotFoundError):
            file.write_bytes(storage.read(path))
        with _put_repeatedly(file, storage, path):
            yield file


@contextlib.contextmanager
def _put_repeatedly(file: Path, storage: Storage, path: str) -> Iterator[None]:
    def put_until_closed() -> None:
        size = -1
        while not closing.wait(_PUT_INTERVAL_S):
            if file.exists() and file.stat().st_size != size:
                size = file.stat().st_size
                # The last put, below, says so if the storage has come to refuse.
                with contextlib.suppress(StorageError):
                    storage.write(path, file.read_bytes())

    closing = threading.Event()
    thread = threading.Thread(target=put_until_closed, name="distml-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()
        if file.exists():
            storage.write(path, file.read_bytes())


@contextlib.contextmanager
def _output_to(file: Path) -> Iterator[None]:
    target = os.open(file, os.O_WRONLY | os.O_APPEND)
    saved = {number: os.dup(number) for number in (1, 2)}
    for number in saved:
        os.dup2(target, number)
    os.close(target)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
