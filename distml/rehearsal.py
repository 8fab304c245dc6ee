"""Whether what is fitted here is a sample of a run elsewhere: what this machine has says nothing.

One decision: a context, as `session.inline` is, because it concerns code far apart: what a job asks
for is not held against this machine, and a network that wants a GPU is tried without. A sample may
be of few trials of a search as well, whose time budget then says nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["few_trials", "is_rehearsal", "most_trials", "rehearsal"]

_rehearses: ContextVar[bool] = ContextVar("rehearses", default=False)
_most_trials: ContextVar[int | None] = ContextVar("most_trials", default=None)


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


@contextmanager
def few_trials(number: int | None) -> Iterator[None]:
    """Let each search try so many configurations at most while the block runs; `None`: all."""
    token = _most_trials.set(number)
    try:
        yield
    finally:
        _most_trials.reset(token)


def most_trials() -> int | None:
    """How many a search may try in a sample; `None`: as many as it would."""
    return _most_trials.get()
