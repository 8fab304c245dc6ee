"""SIGINT and SIGTERM as one exception, whoever else handles them.

One decision: which signal came is read from the interpreter's wake-up pipe, not from our handler:
Ray puts its own handler for SIGTERM in place of ours when it starts, and makes a plain exit or
interrupt of whatever was raised inside one of its calls.
"""

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Self

__all__ = ["Signals", "Stopped"]

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
