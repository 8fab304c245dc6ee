"""Which machines a run has while it goes, and what they cost: what a plan's price is held against.

One decision: machines are counted as Ray sees them, from when they have joined; a provider counts
from when it was asked, and the bill is the provider's.
"""

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Meter"]

_LOOK_S = 5.0
_GROUP = "ray.io/node-group"


class Meter:
    """Counts machines and dollars until its block ends.

    Args:
        kinds: Kind of machine → `cpus`, `gpus`, `is_head`, and its `price_per_hour` or `None`.
    """

    def __init__(self, kinds: Mapping[str, Mapping[str, Any]]) -> None:
        self._kinds = kinds
        self._dollars, self._known = 0.0, True
        self._looked_at: float | None = None
        self._now: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    @property
    def cost(self) -> float | None:
        """US dollars so far; `None` where a price is not known."""
        return self._dollars if self._known else None

    @property
    def machines(self) -> dict[str, int]:
        """Kind → the most that there were at one time."""
        return dict(self._most)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look every few seconds until the block ends."""
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            self.look(time.monotonic(), _nodes())

    def look(self, now: float, nodes: list[dict[str, Any]] | None) -> None:
        """Take one look.

        Args:
            now: Seconds of a clock.
            nodes: As Ray lists those that live; `None`: Ray is not joined, so the driver is alone.
        """
        if self._looked_at is not None:
            hours = (now - self._looked_at) / 3600
            self._dollars += hours * sum(n * self._price(name) for name, n in self._now.items())
        found = [self._head()] if nodes is None else [self._name(node) for node in nodes]
        # A run whose Ray is gone at its end had the machines all the same.
        if nodes is not None or not self._most:
            self._now = Counter(found)
        self._most |= self._now
        self._looked_at = now

    def _watch(self, stop: threading.Event) -> None:
        self.look(time.monotonic(), _nodes())
        while not stop.wait(_LOOK_S):
            self.look(time.monotonic(), _nodes())

    def _price(self, name: str) -> float:
        price = self._kinds.get(name, {}).get("price_per_hour")
        if price is None:
            self._known = False
        return price or 0.0

    def _head(self) -> str:
        return next((name for name, kind in self._kinds.items() if kind["is_head"]), "machine")

    def _name(self, node: Mapping[str, Any]) -> str:
        """Which kind a node is of: by its label, or by what it has."""
        group = (node.get("Labels") or {}).get(_GROUP)
        if group in self._kinds:
            return str(group)
        resources = node["Resources"]
        if "node:__internal_head__" in resources:
            return self._head()
        has = (resources.get("CPU", 0), resources.get("GPU", 0))
        alike = (
            name
            for name, kind in self._kinds.items()
            if not kind["is_head"] and (kind["cpus"], kind["gpus"]) == has
        )
        return next(alike, f"{has[0]:g} CPUs")


def _nodes() -> list[dict[str, Any]] | None:
    """The nodes of the Ray that is joined."""
    ray = sys.modules.get("ray")
    with contextlib.suppress(Exception):
        if ray is not None and ray.is_initialized():
            return [node for node in ray.nodes() if node["Alive"]]
    return None
