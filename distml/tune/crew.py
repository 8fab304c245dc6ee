"""Who carries out the trials of a search over jobs: this process, or several beside it.

One decision: whoever does is asked by turns, so that the course of a search is the same either way.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from distml.tune.children import Children
from distml.tune.orders import Listener, Order
from distml.tune.reports import Report

__all__ = ["Alone", "Answer", "Crew"]

Answer = Callable[[Report], int]
"""Is told a report: the epochs after which the training asks again, or 0: it ends."""


class Crew(Protocol):
    """Carries orders out. Used by one thread."""

    def begin(self, order: Order) -> None:
        """Carry an order out, now or when there is room."""

    def hear(self, trial: int, answer: Answer) -> bool:
        """Listen to a trial until it has been answered where it waited, or its order is done.

        Returns:
            Whether it is done; what became of it stands in its record.

        Raises:
            StorageError: the storage is full or refuses.
            KeyboardInterrupt: the search was stopped.
        """

    def first_done(self, trials: Sequence[int]) -> int:
        """Wait until the order of one of these trials is done: which."""

    def close(self) -> None:
        """End what still runs, so that it can be gone on with."""


class Alone:
    """Carries one order out after another, in this process.

    Args:
        children: The trials.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._orders: dict[int, Order] = {}

    def begin(self, order: Order) -> None:
        """See `Crew`."""
        self._orders[order.child.number] = order

    def hear(self, trial: int, answer: Answer) -> bool:
        """See `Crew`."""
        order = self._orders.pop(trial)
        listener = Listener(order, lambda report, waits: answer(report))
        self._children.carry_out(order.child, order.make, listener)
        return True

    def first_done(self, trials: Sequence[int]) -> int:
        """See `Crew`."""
        return trials[0]

    def close(self) -> None:
        """See `Crew`."""
