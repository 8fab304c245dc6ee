"""A process of a crew: runs trials of a search one after another, and says what they report.

One decision: it lives as long as the driver's end of a pipe is open. A thread waits for nothing
else, so a driver that is killed takes its trials with it at once, and they can be gone on with.
"""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

from distml import session
from distml.errors import DistmlError
from distml.runs.units import use_units
from distml.tune.children import Children
from distml.tune.orders import Listener, Order
from distml.tune.processes import Ended, Post
from distml.tune.reports import Report

__all__ = ["main"]


def main(line_fd: int, lifeline_fd: int) -> None:
    """Carry orders out until there are none.

    Args:
        line_fd: Where orders come from and reports go to.
        lifeline_fd: Is closed at its other end when the driver ends.
    """
    threading.Thread(target=_die_with_driver, args=(lifeline_fd,), daemon=True).start()
    line: Connection[Any, Any] = Connection(line_fd)
    # Before anything else is read: what it is made of may lie there.
    sys.path[:] = line.recv()
    post: Post = pickle.loads(line.recv_bytes())
    children = Children(post.context)
    limits = session.limited(num_cpus=post.num_cpus, memory_bytes=post.memory_bytes)
    units = nullcontext() if post.units is None else use_units(post.units)
    # Told to end, it has noted in the trial's record that it was interrupted.
    with suppress(KeyboardInterrupt), _own_ray(), limits, units:
        while (packed := _next(line)) is not None:
            line.send(_carried_out(packed, children, line))


@contextmanager
def _own_ray() -> Iterator[None]:
    """End the Ray of this process, if there is one."""
    try:
        yield
    finally:
        session.disconnect()


def _next(line: "Connection[Any, Any]") -> bytes | None:
    try:
        return line.recv_bytes()
    except EOFError:
        return None


def _carried_out(packed: bytes, children: Children, line: "Connection[Any, Any]") -> Ended:
    def say(report: Report, waits: bool) -> int:
        try:
            line.send((report, waits))
            return int(line.recv()) if waits else 1
        except (EOFError, OSError) as error:
            raise KeyboardInterrupt("the search has ended") from error

    try:
        order: Order = pickle.loads(packed)
        listener, may_put_off = Listener(order, say), order.may_put_off
        children.carry_out(order.child, order.make, listener, may_put_off=may_put_off)
    except Exception as error:
        return Ended(error=_portable(error))
    return Ended()


def _portable(error: Exception) -> Exception:
    """The error if it survives the journey, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return DistmlError(f"{type(error).__name__}: {error}")
    return error


def _die_with_driver(lifeline_fd: int) -> None:
    os.read(lifeline_fd, 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
