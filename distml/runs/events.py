"""What a run reports while it goes: JSON objects, each with `t` (Unix seconds) and `kind`.

The one decision: an event log is append-only and read by polling. Locally it is one file, a line
per event; on an object store, which cannot append, it is numbered segments of lines, put about once
a second. A reader sees the same events from both, never half of one, and skips a line that a crash
cut short.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

from distml.errors import StorageError
from distml.runs.local_storage import LocalStorage
from distml.runs.storage import Storage
from distml.runs.strict_json import dumps

__all__ = [
    "Event",
    "EventLog",
    "active_events",
    "emit",
    "open_event_log",
    "read_events",
    "use_events",
]

Event = dict[str, Any]
"""`{"t": 1760000000.0, "kind": "unit_done", …}`"""

_active: ContextVar[Callable[..., None] | None] = ContextVar("distml_events", default=None)


@contextlib.contextmanager
def use_events(sink: Callable[..., None]) -> Iterator[None]:
    """Send what `emit` is given to `sink` while the block runs, in this thread.

    Args:
        sink: called as `sink(kind, **fields)`, for instance `EventLog.append`.

    Yields:
        Nothing.

    Raises:
        Nothing.
    """
    token = _active.set(sink)
    try:
        yield
    finally:
        _active.reset(token)


def active_events() -> Callable[..., None] | None:
    """The sink of the `use_events` block we are in; `None` when nobody listens.

    Returns:
        What `emit` sends events to.

    Raises:
        Nothing.
    """
    return _active.get()


def emit(kind: str, **fields: Any) -> None:
    """Report an event of the run that is going on; without one, nothing happens.

    Args:
        kind: what happened: `plan`, `unit_started`, `unit_done`, `unit_failed`, `unit_retried`,
            `phase`, `log`, …
        **fields: what else there is to say. `t` is filled in.

    Raises:
        StorageError: the run's storage is full or refuses.
    """
    sink = _active.get()
    if sink is not None:
        sink(kind, **{"t": time.time(), **fields})


class EventLog(Protocol):
    """Where events of one run go. Any thread may append; one process at a time does."""

    def append(self, kind: str, **fields: Any) -> None:
        """Add an event.

        Raises:
            StorageError: the storage is full or refuses.
        """

    def close(self) -> None:
        """Put what is still held back, and end.

        Raises:
            StorageError: the storage is full or refuses.
        """


def open_event_log(storage: Storage, path: str, *, interval_s: float = 1.0) -> EventLog:
    """Open the log at `path` (`…/events.jsonl`) to add to it, behind what is there.

    Args:
        storage: where the run is.
        path: name of the log in it. On an object store, the folder of the same name without its
            suffix.
        interval_s: how long events may be held back on an object store, in seconds.

    Returns:
        The log.

    Raises:
        StorageError: the storage refuses.
    """
    if isinstance(storage, LocalStorage):
        return _LineLog(storage, path)
    return _SegmentLog(storage, path, interval_s)


def read_events(
    storage: Storage,
    path: str,
    *,
    follow: bool = False,
    finished: Callable[[], bool] = lambda: True,
    interval_s: float = 0.5,
) -> Iterator[Event]:
    """Give the events of a log in the order in which they happened.

    Args:
        storage: where the run is.
        path: name of the log in it.
        follow: wait for further events, until `finished()` says that none will come.
        finished: whether the run has ended; asked before each look, so that the last events are not
            missed.
        interval_s: seconds between two looks when following.

    Yields:
        Events. A log that does not exist has none.

    Raises:
        StorageError: the storage refuses.
    """
    tail = _Tail(storage, path)
    while True:
        last = not follow or finished()
        yield from tail.new_events()
        if last:
            return
        time.sleep(interval_s)


class _LineLog:
    """One file, a line per event, each added by one write."""

    def __init__(self, storage: LocalStorage, path: str) -> None:
        self._storage = storage
        self._path = path
        self._lock = threading.Lock()
        self._end_cut_line()

    def append(self, kind: str, **fields: Any) -> None:
        line = _line(kind, fields)
        with self._lock:
            self._storage.append(self._path, line)

    def close(self) -> None:
        pass

    def _end_cut_line(self) -> None:
        """A driver that was killed may have left half a line: the next must not continue it."""
        if self._storage.stat(self._path) is None:
            return
        with self._storage.open(self._path) as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            whole = file.read(1) in (b"", b"\n")
        if not whole:
            self._storage.append(self._path, b"\n")


class _SegmentLog:
    """Files `00000001.jsonl`, … each put once, by a thread that wakes now and then."""

    def __init__(self, storage: Storage, path: str, interval_s: float) -> None:
        self._storage = storage
        self._folder = _segments(path)
        self._next = len(storage.list(self._folder)) + 1
        self._interval_s = interval_s
        self._lines: list[bytes] = []
        self._error: StorageError | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="distml-events", daemon=True)
        self._thread.start()

    def append(self, kind: str, **fields: Any) -> None:
        line = _line(kind, fields)
        with self._lock:
            self._raise_refusal()
            self._lines.append(line)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._raise_refusal()

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(self._interval_s)
            self._put()

    def _put(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._storage.write(f"{self._folder}/{self._next:08d}.jsonl", b"".join(lines))
            self._next += 1
        except StorageError as error:
            # There is nobody to raise to in this thread: the next append or close does.
            with self._lock:
                self._lines = lines + self._lines
                self._error = error

    def _raise_refusal(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


class _Tail:
    """What of a log has been read: a position in the file, a number of segments."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage = storage
        self._path = path
        self._position = 0
        self._segment = 0

    def new_events(self) -> Iterator[Event]:
        if isinstance(self._storage, LocalStorage):
            yield from _parse(self._new_lines())
        for entry in self._storage.list(_segments(self._path)):
            number, _, suffix = entry.name.partition(".")
            if suffix == "jsonl" and number.isdigit() and int(number) > self._segment:
                self._segment = int(number)
                segment = self._storage.read(f"{_segments(self._path)}/{entry.name}")
                yield from _parse(segment)

    def _new_lines(self) -> bytes:
        try:
            with self._storage.open(self._path) as file:
                file.seek(self._position)
                text = file.read()
        except FileNotFoundError:
            return b""
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole


def _segments(path: str) -> str:
    return path.removesuffix(".jsonl")


def _line(kind: str, fields: dict[str, Any]) -> bytes:
    return (dumps({"t": time.time(), "kind": kind, **fields}) + "\n").encode()


def _parse(text: bytes) -> Iterator[Event]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and "kind" in event:
                yield event
