"""Whether what is fitted here is a sample of a run elsewhere: what this machine has says nothing.

One decision: a context, as `session.inline` is, because it concerns code far apart: what a job asks
for is not held against this machine, and a network that wants a GPU is tried without.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["is_rehearsal", "rehearsal"]

_rehearses: ContextVar[bool] = ContextVar("rehearses", default=False)


@contextmanager
def rehearsal() -> Iterator[None]:
    """Fit samples of a run that will be elsewhere while the block runs."""
    token = _rehearses.set(True)
    try:
        yield
    finally:
        _rehearses.reset(token)


def is_rehearsal() -> bool:
    """Whether that is so."""
    return _rehearses.get()
