"""What is to be done of a trial in one go, and what its training hears when it reports.

One decision: a training asks whether it goes on where the search may want its end, and nowhere
else. Or it is paused there, so that it can be carried on later, by another trial as well.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from distml.job import Job
from distml.tune.children import Child, EndedEarly, Paused
from distml.tune.reports import Count, Report

__all__ = ["ENDLESS", "Listener", "Order"]

ENDLESS = sys.maxsize
"""Epochs of a training that nobody ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A trial to be run, or gone on with."""

    child: Child
    """Which."""
    make: Callable[[], Job]
    """Makes its job."""
    done: Count = field(default_factory=Count)
    """How far it is."""
    until: int
    """Epochs after which it asks, or is paused."""
    pauses: bool = False
    """Whether it is paused instead of asking."""
    alone: bool = False
    """Whether it has all CPUs and all memory, because it had too little of the latter. Nothing else
    is carried out then."""

    @property
    def may_put_off(self) -> bool:
        """Whether it is tried again where it runs out of memory; not if others wait for it."""
        return not (self.alone or self.pauses)


class Listener:
    """Listens to the events of a trial for whoever decides.

    Args:
        order: What is to be done.
        say: Is told each report, and whether the training waits: the epochs after which it asks
            again, or 0: it ends. Looked at where it waits, or is 0.
    """

    def __init__(self, order: Order, say: Callable[[Report, bool], int]) -> None:
        self._count, self._until, self._pauses = replace(order.done), order.until, order.pauses
        self._say = say

    def __call__(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Look at an event.

        Raises:
            EndedEarly: the trial is not worth going on with, or the search is not.
            Paused: it has done what was ordered.
        """
        report = Report.of(kind, fields)
        if report is None or not self._count.take(report):
            return
        epochs = self._count.epochs
        waits = epochs >= self._until and not self._pauses
        answer = self._say(report, waits)
        if self._pauses and epochs >= self._until:
            raise Paused(epochs)
        if not answer:
            raise EndedEarly(epochs, report.scores)
        if waits:
            self._until = answer
