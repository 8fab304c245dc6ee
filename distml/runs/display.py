"""Progress where somebody looks: a live line on a terminal or in a notebook, silence anywhere else.

The one decision: rich draws on terminals and is loaded only there; a notebook gets one output that
is updated in place through IPython itself, so ipywidgets is not needed.
"""

import html
import importlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TextIO

from distml.runs.events import active_events, use_events
from distml.runs.progress import Progress, advance, lines

__all__ = ["Display", "open_display", "shown"]

_INTERVAL_S = 0.2
_BAR_COLUMNS = 30


class Display:
    """Takes events in and shows nothing: what a stream that nobody watches gets.

    Its subclasses draw. Also a context manager, whose end closes it.
    """

    def __init__(self) -> None:
        self.progress = Progress()

    def show(self, event: Mapping[str, Any]) -> None:
        """Take an event in, and draw if it is time to.

        Args:
            event: an event with `t` and `kind`.

        Raises:
            KeyError: an event of a known kind lacks a field.
        """
        self.progress = advance(self.progress, event)
        self._draw()

    def close(self) -> None:
        """Draw the last state, and leave the screen to others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self) -> None:
        pass


def open_display(stream: TextIO | None = None) -> Display:
    """Open the display that fits where we are.

    Args:
        stream: where to draw outside notebooks; standard error if `None`.

    Returns:
        A live display in a notebook or on a terminal, a silent one anywhere else.

    Raises:
        Nothing.
    """
    stream = sys.stderr if stream is None else stream
    if _in_notebook():
        return _NotebookDisplay()
    return _TerminalDisplay(stream) if stream.isatty() else Display()


@contextmanager
def shown() -> Iterator[None]:
    """Draw the progress of what the block reports, where no run listens: in a script or notebook.

    Yields:
        Nothing.

    Raises:
        Nothing.
    """
    if active_events() is not None:
        yield
        return
    with (
        open_display() as display,
        use_events(lambda kind, **event: display.show({"kind": kind, **event})),
    ):
        yield


class _TerminalDisplay(Display):
    """A bar and lines of text, redrawn by rich's own thread; drawn once something has begun."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__()
        console = Console(file=stream)
        self._live = Live(
            get_renderable=self._line, console=console, refresh_per_second=1 / _INTERVAL_S
        )

    def close(self) -> None:
        """See `Display`."""
        self._live.stop()

    def _draw(self) -> None:
        if self.progress.has_begun and not self._live.is_started:
            self._live.start()

    def _line(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        (done, total), (first, *more) = self.progress.share, lines(self.progress, time.time())
        line = Table.grid(padding=(0, 1))
        line.add_row(ProgressBar(total, done, width=_BAR_COLUMNS), first)
        for text in more:
            line.add_row("", text, style="dim")
        return line


class _NotebookDisplay(Display):
    """One output cell, replaced at most every `_INTERVAL_S` seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None
        self._drawn_at = 0.0

    def close(self) -> None:
        """See `Display`."""
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)

    def _draw(self) -> None:
        if not self.progress.has_begun or time.monotonic() - self._drawn_at < _INTERVAL_S:
            return
        self._drawn_at = time.monotonic()
        if self._handle is None:
            # By name, since IPython is there only if we run inside it.
            display = importlib.import_module("IPython.display").display
            self._handle = display(self._bundle(), raw=True, display_id=True)
        else:
            self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        (done, total), said = self.progress.share, lines(self.progress, time.time())
        known = "" if total is None else f' max="{total}" value="{done}"'
        text = "<br>".join(map(html.escape, said))
        return {"text/plain": said[0], "text/html": f"<progress{known}></progress> {text}"}


def _in_notebook() -> bool:
    """Whether IPython runs here with a front end that shows rich output."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
