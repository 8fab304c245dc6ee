"""Work done ahead of the one who needs it, in a thread, with bounded room.

One decision: an item is held in one place at a time. Neither the thread nor the queue keeps a
reference to what it has handed on, so an item is freed as soon as its last user lets go of it.
"""

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Ahead", "Room"]

T = TypeVar("T")


class Room:
    """Places for items that are held at the same time; closed by leaving its `with` block.

    Safe to use from several threads.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._closed = False
        self._changed = threading.Condition()

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Nobody needs more items."""
        return self._closed

    def enter(self) -> bool:
        """Wait for a place and take it; False if nobody needs more items."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            self._free -= 1
            return not self._closed

    def leave(self) -> None:
        """Give a place back."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()


class Ahead(Generic[T]):
    """Iterates over `source` in a thread, ahead of whoever iterates over this.

    The source bounds how far ahead it gets, with a `Room`, and must end once that is closed, since
    leaving the `with` block waits for the thread. An error of the source is raised here, as it is.
    """

    def __init__(self, source: Iterable[T], name: str) -> None:
        self._items: SimpleQueue[T | _End] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(source,), name=name, daemon=True)

    def __enter__(self) -> "Ahead[T]":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item = self._items.get()
        if not isinstance(item, _End):
            return item
        self._items.put(item)  # an iterator that has ended stays so
        raise StopIteration if item.error is None else item.error

    def _run(self, source: Iterable[T]) -> None:
        error = None
        try:
            for item in source:
                self._items.put(item)
                del item
        except BaseException as raised:
            error = raised
        self._items.put(_End(error))


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
