"""What nodes a run had and what they come to: a pure fold of its events.

The one decision: node time is summed between events, so a driver that died is charged up to its
last word, and who looks at a run that goes on sees what it has spent by now. The nodes are those of
the whole cluster while the run was there: what others do on it meanwhile is not told apart.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["Spending", "advance_spending", "spending_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spending:
    """Nodes of a run after some of its events."""

    nodes: Mapping[str, int] = field(default_factory=dict)
    """Type of node → how many there are."""
    most: Mapping[str, int] = field(default_factory=dict)
    """Type of node → the most that there were at one time."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Type of node → seconds of all nodes of it together."""
    counted_to: float | None = None
    """Unix seconds of the last event."""

    def cost(self, prices: Mapping[str, float]) -> float | None:
        """What they come to so far.

        Args:
            prices: type of node → US dollars an hour.

        Returns:
            US dollars; `None` if there were none, or of a type without a price.

        Raises:
            Nothing.
        """
        return _sum(self.seconds, prices, 3600.0)

    def rate(self, prices: Mapping[str, float]) -> float | None:
        """What those that are there now cost.

        Args:
            prices: type of node → US dollars an hour.

        Returns:
            US dollars an hour; `None` if there are none, or one of a type without a price.

        Raises:
            Nothing.
        """
        return _sum(self.nodes, prices, 1.0)

    def until(self, now: float) -> "Spending":
        """The same, counted up to a moment.

        Args:
            now: Unix seconds.

        Returns:
            What it will be then if nothing changes.

        Raises:
            Nothing.
        """
        if self.counted_to is None:
            return replace(self, counted_to=now)
        # The clock of a unit's start is that of another machine.
        span = max(0.0, now - self.counted_to)
        seconds = dict(self.seconds)
        for name, count in self.nodes.items():
            seconds[name] = seconds.get(name, 0.0) + count * span
        return replace(self, seconds=seconds, counted_to=max(now, self.counted_to))


def advance_spending(spending: Spending, event: Mapping[str, Any]) -> Spending:
    """Take one more event into account.

    Args:
        spending: what it was.
        event: an event with `t` and `kind`; those of kind `nodes` say how many of which type.

    Returns:
        What it is now.

    Raises:
        Nothing.
    """
    if event["kind"] == "attempt":  # whatever a dead driver had, it has no more
        return replace(spending, nodes={}, counted_to=float(event["t"]))
    now = spending.until(float(event["t"]))
    if event["kind"] != "nodes":
        return now
    nodes = {str(name): int(count) for name, count in event["nodes"].items()}
    most = {name: max(count, now.most.get(name, 0)) for name, count in nodes.items()}
    return replace(now, nodes=nodes, most={**now.most, **most})


def spending_of(events: Iterable[Mapping[str, Any]]) -> Spending:
    """Fold events from the start.

    Args:
        events: a run's events in their order.

    Returns:
        What its nodes come to.

    Raises:
        Nothing.
    """
    return functools.reduce(advance_spending, events, Spending())


def _sum(amounts: Mapping[str, float], prices: Mapping[str, float], unit: float) -> float | None:
    if not amounts or any(name not in prices for name, amount in amounts.items() if amount):
        return None
    return sum(amount / unit * prices.get(name, 0.0) for name, amount in amounts.items())
