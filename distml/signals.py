"""SIGINT and SIGTERM as one exception, whoever else handles them.

One decision: which signal came is read from the interpreter's wake-up pipe, not from our handler:
Ray makes a plain exit or interrupt of whatever was raised inside one of its calls, and a job that
starts Ray itself has Ray's handler for SIGTERM in place of ours.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

__all__ = ["Held", "Signals", "Stopped", "held"]

_OURS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; libraries know a `KeyboardInterrupt` as just that."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class Signals:
    """Raises `Stopped` at the first SIGINT or SIGTERM while the block runs, and ignores later ones.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        self._reader: int | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._listen()
            for signum in _OURS:
                self._undo.callback(signal.signal, signum, signal.signal(signum, _stop))
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    def ignore(self) -> None:
        """From now on, let nothing disturb what this process is about to finish."""
        if self._reader is not None:
            _ignore()

    def stopped(self) -> Stopped | None:
        """The first of the signals that has come, if any has."""
        if self._reader is None:
            return None
        with contextlib.suppress(BlockingIOError):
            for signum in os.read(self._reader, 4096):
                if signum in _OURS:
                    return Stopped(signum)
        return None

    def _listen(self) -> None:
        self._reader, writer = os.pipe()
        for end in (self._reader, writer):
            os.set_blocking(end, False)
            self._undo.callback(os.close, end)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._undo.callback(signal.set_wakeup_fd, before)


def _stop(signum: int, frame: FrameType | None) -> None:
    _ignore()
    raise Stopped(signum)


def _ignore() -> None:
    for signum in _OURS:
        signal.signal(signum, signal.SIG_IGN)


class Held:
    """Whether a signal has come while it was held back."""

    def __init__(self) -> None:
        self.has_come = False
        self._first: tuple[int, FrameType | None] | None = None
        self._before: dict[int, Any] = {}

    def _take(self, signum: int, frame: FrameType | None) -> None:
        if self.has_come:
            # Asked twice: whatever is under way is not worth waiting for.
            self._deliver(signum, frame)
        self.has_come, self._first = True, (signum, frame)

    def _deliver(self, signum: int, frame: FrameType | None) -> None:
        handler = self._before[signum]
        if callable(handler):
            handler(signum, frame)
        elif handler == signal.SIG_DFL:
            raise Stopped(signum)


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """Hold back the first SIGINT or SIGTERM until the block ends; a second one comes through.

    Outside the main thread it does nothing, and it passes over signals that are ignored already.

    Yields:
        Whether one has come.

    Raises:
        KeyboardInterrupt: one has come, or two; an error of the block's own is its context.
    """
    holding = Held()
    if threading.current_thread() is not threading.main_thread():
        yield holding
        return
    for signum in _OURS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            holding._before[signum] = signal.signal(signum, holding._take)
    try:
        yield holding
    finally:
        for number, handler in holding._before.items():
            # A handler that C has put there is not known here and stays replaced by the default.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if holding._first is not None:
            holding._deliver(*holding._first)
