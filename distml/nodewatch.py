"""Which nodes a run has while it goes: told as events, and summed up at its end.

One decision: the driver looks, because it alone is there as long as the run; whoever asks later,
from anywhere, reads its events. A node is of the type that its autoscaler has given it as a label,
else it is the head, or a host with a name.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from distml.errors import StorageError
from distml.job import Result
from distml.runs.spending import Spending, advance_spending
from distml.runs.store import RunStore
from distml.runs.submissions import load_submission

__all__ = ["NodeWatch", "counted", "on_nodes"]

_LOG = logging.getLogger(__name__)
_LOOK_S = 5.0
_TYPE = "ray.io/node-group"
"""The label by which autoscalers say of which type a node is."""
_HEAD = "node:__internal_head__"


def on_nodes(
    store: RunStore, run_id: str, emit: Callable[..., None], run: Callable[[], Result]
) -> Result:
    """Do the work, telling meanwhile which nodes there are; nothing but the work without a cluster.

    Args:
        store: Where the run is.
        run_id: The run.
        emit: Takes the events.
        run: Does the work.

    Returns:
        Its result, with `nodes` in the details: seconds and the most of each type, and the cost.

    Raises:
        Exception: what the task raises.
    """
    if not os.environ.get("RAY_ADDRESS"):
        return run()
    watch = NodeWatch(emit)
    with watch.watching():
        result = run()
    submission = load_submission(store.storage, run_id)
    prices = {} if submission is None else submission.prices
    spent = watch.spending
    nodes = {"seconds": spent.seconds, "most": spent.most, "cost": spent.cost(prices)}
    return replace(result, details={**result.details, "nodes": nodes})


class NodeWatch:
    """Looks every few seconds, and tells what has changed.

    Args:
        emit: Takes the events; is called from another thread.
    """

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self.spending = Spending()
        """What was told so far."""

    @contextlib.contextmanager
    def watching(self) -> Any:
        """Look until the block ends."""
        stop = threading.Event()
        thread = threading.Thread(
            target=self._watch, args=(stop,), name="distml-nodes", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.tell({})

    def tell(self, nodes: Mapping[str, int] | None) -> None:
        """Report nodes, if they are others than before.

        Args:
            nodes: Type → count; `None`: not known, so as before.
        """
        if nodes is None or nodes == self.spending.nodes:
            return
        event = {"t": time.time(), "nodes": dict(nodes)}
        self.spending = advance_spending(self.spending, {"kind": "nodes", **event})
        # A storage that refuses is said by whoever has more to put there.
        with contextlib.suppress(StorageError):
            self._emit("nodes", **event)

    def _watch(self, stop: threading.Event) -> None:
        while True:
            self.tell(_nodes())
            if stop.wait(_LOOK_S):
                return


def counted(nodes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many nodes there are of each type.

    Args:
        nodes: As `ray.nodes()` lists them.
    """
    return dict(sorted(Counter(_type(node) for node in nodes if node["Alive"]).items()))


def _type(node: Mapping[str, Any]) -> str:
    named = (node.get("Labels") or {}).get(_TYPE)
    if named:
        return str(named)
    return "head" if _HEAD in node["Resources"] else str(node["NodeManagerHostname"])


def _nodes() -> dict[str, int] | None:
    """Those of the Ray that is joined; `None` if none is, or it does not say."""
    ray: Any = sys.modules.get("ray")
    try:
        if ray is not None and ray.is_initialized():
            return counted(ray.nodes())
    except Exception as error:  # a head that is gone is not for this thread to report
        _LOG.debug("nodes are not known: %s", error)
    return None
