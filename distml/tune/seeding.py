"""Random numbers of code that draws from Python's and numpy's global generators.

One decision: such code draws inside `with`, from a state of its own that goes on from draw to draw.
Ray's schedulers and BOHB draw globally; so a seeded search is repeated whatever else draws, and
what else draws is not disturbed.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from distml.tune.space import Seed

__all__ = ["OwnRandomness", "integer_seed"]


class OwnRandomness:
    """A state of the global generators that belongs to one piece of code.

    Args:
        seed: Where it begins; `None`: anywhere.
    """

    def __init__(self, seed: int | None) -> None:
        self._state: Any = (random.Random(seed).getstate(), np.random.RandomState(seed).get_state())

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let the global generators go on from this state, and put theirs back afterwards."""
        before = _state()
        _set(self._state)
        try:
            yield
        finally:
            self._state = _state()
            _set(before)


def _state() -> Any:
    return random.getstate(), np.random.get_state()  # noqa: NPY002


def _set(state: Any) -> None:
    python, numpy = state
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002


def integer_seed(seed: Seed) -> int:
    """A whole number from what scikit-learn takes as `random_state`."""
    if isinstance(seed, int | np.integer):
        return int(seed)
    return int(check_random_state(seed).randint(2**31 - 1))
