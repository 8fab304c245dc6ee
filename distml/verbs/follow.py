"""Submit a job, show its progress on a terminal, and say how it ended."""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click

from distml.launch.handle import JobHandle
from distml.launch.launcher import Launcher, LaunchRequest
from distml.runs.display import open_display
from distml.runs.paths import RunPaths
from distml.runs.record import RunStatus
from distml.runs.storage import shown
from distml.terminal import outcome_text

__all__ = ["INTERRUPTED", "fail", "see_through", "watch", "width"]

INTERRUPTED = 130
"""Exit code of what the user interrupted."""

_POLL_S = 0.05
_SAY_WHY_S = 5.0


def see_through(place: Launcher, request: LaunchRequest, *, say_result: bool = True) -> int:
    """Submit a job, show its progress, and say how it ended.

    Args:
        place: where to run it.
        request: what to run.
        say_result: whether to print the scores of a run that succeeded.

    Returns:
        The exit code: 0, 1 or 2 for a failure, 130 for an interrupt.

    Raises:
        DistmlError: it could not be submitted.
    """
    plan, handle = place.plan(request), place.attach(request.storage, request.run_id)
    num_attempts = _num_attempts(handle)
    if request.detach:
        return _detached(place.submit(plan), num_attempts)
    try:
        with _terminable():
            handle = place.submit(plan)  # an interrupt in here ends the driver too
            if not plan.owns_terminal:
                _draw(handle, num_attempts)
            code = handle.wait()
    except KeyboardInterrupt:
        _stop(handle)
        code = INTERRUPTED
    return _say_outcome(handle, num_attempts, code or 0, say_result=say_result)


def watch(handle: JobHandle) -> int:
    """Show the progress of a run that was submitted before, and say how it ended.

    Args:
        handle: the run; an interrupt leaves it alone.

    Returns:
        The exit code: 0, 1 or 2 for a failure, 130 if it was stopped.

    Raises:
        DistmlError: it cannot be followed.
    """
    _draw(handle, 0)
    return _say_outcome(handle, 0, handle.wait() or 0)


def _detached(handle: JobHandle, num_attempts: int) -> int:
    if not _has_started(handle, num_attempts):
        return _say_outcome(handle, num_attempts, handle.wait() or 0)
    click.echo(handle.run_id)
    click.echo(f"follow it: distml logs -f {handle.run_id}", err=True)
    return 0


def _has_started(handle: JobHandle, num_attempts: int) -> bool:
    """Wait until the driver has begun; False if it ended before."""
    ended, said, began = False, None, time.monotonic()
    while _num_attempts(handle) <= num_attempts:
        if ended:
            return False
        ended = handle.wait(_POLL_S) is not None
        if not ended and time.monotonic() - began > _SAY_WHY_S:
            began, why = time.monotonic(), handle.why_pending()
            if why not in (None, said):
                click.echo(f"waiting: {why}", err=True)
                said = why
    return True


def _num_attempts(handle: JobHandle) -> int:
    record = handle.record()
    return 0 if record is None else len(record.attempts)


def _draw(handle: JobHandle, num_attempts: int) -> None:
    """Follow the run's events on a terminal until it has ended."""
    if not sys.stderr.isatty() or not _has_started(handle, num_attempts):
        return
    with open_display(sys.stderr) as display:
        for event in handle.store.events(handle.run_id, follow=True):
            display.show(event)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let a closed terminal or a SIGTERM end the run as Ctrl-C does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread
        before = {s: signal.signal(s, interrupt) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _stop(handle: JobHandle) -> None:
    try:
        # Inside, because whoever reads this may press Ctrl-C before the next line is reached.
        click.echo("\nstopping; Ctrl-C again to kill", err=True)
        handle.stop()
    except KeyboardInterrupt:
        handle.stop(grace_s=0.0)


def _say_outcome(
    handle: JobHandle, num_attempts: int, code: int, *, say_result: bool = True
) -> int:
    """Print the result of a run, or the driver's last words."""
    words = handle.last_words() if code != INTERRUPTED else ""
    if words:
        sys.stderr.write(words)
    if _num_attempts(handle) <= num_attempts:
        return code
    record, paths = handle.store.load(handle.run_id), handle.store.paths(handle.run_id)
    # One that ended by itself without writing that down has said why.
    if code > 128 and record.is_written_off:
        return fail(f"run {record.run_id}: its driver died; see {shown(paths.log)}", code or 1)
    if record.status is RunStatus.STOPPED or (record.status is not RunStatus.FAILED and say_result):
        report = handle.store.storage.stat(RunPaths(record.run_id).report)
        click.echo(outcome_text(record, paths, width(), has_report=report is not None))
    return code


def width() -> int:
    """Columns of the terminal; a reader that is none gets lines as long as they are."""
    seen = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if seen else sys.maxsize


def fail(message: str, code: int) -> int:
    """Say what is wrong in one line; gives the exit code back."""
    click.echo(f"distml: error: {message}", err=True)
    return code
