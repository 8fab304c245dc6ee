"""Which nodes a run has while it goes: told as events, and summed up at its end.

One decision: the driver looks, because it alone is there as long as the run; whoever asks later,
from anywhere, reads its events. A node is of the type that its autoscaler has given it as a label,
else it is the head, or a host with a name; machines of one's own that a file of a cluster names are
counted as that file's prices call them. A node that is new is asked what all were before the start.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distml.errors import StorageError
from distml.job import Result
from distml.preflight import Latecomers
from distml.runs.spending import Spending, advance_spending
from distml.runs.store import RunStore
from distml.runs.submissions import Submission, load_submission

__all__ = ["NodeWatch", "counted", "on_nodes"]

_LOG = logging.getLogger(__name__)
_LOOK_S = 5.0
_TYPE = "ray.io/node-group"
"""The label by which autoscalers say of which type a node is."""
_HEAD = "node:__internal_head__"
_OWN = "local.cluster.node"
"""What Ray and price tables call workers that are machines of one's own."""
_HEAD_TYPES = ("headgroup", _OWN)
"""What KubeRay, and `ray up` on one's own machines, call a head that has no name in its file."""


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
        Its result, with `nodes` in the details: seconds and the most of each type, the cost, and
        what was wrong with those that joined late.

    Raises:
        Exception: what the task raises.
    """
    if not os.environ.get("RAY_ADDRESS"):
        return run()
    submission = load_submission(store.storage, run_id)
    watch = _watch_of(store, submission, emit)
    with watch.watching():
        result = run()
    prices = {} if submission is None else submission.prices
    spent = watch.spending
    problems = {"problems": watch.problems} if watch.problems else {}
    sums = {"seconds": spent.seconds, "most": spent.most, "cost": spent.cost(prices)}
    nodes = {**sums, **problems}
    return replace(result, details={**result.details, "nodes": nodes})


def _watch_of(
    store: RunStore, submission: Submission | None, emit: Callable[..., None]
) -> "NodeWatch":
    if submission is None:
        return NodeWatch(emit)
    # Of all clusters that files describe, Ray leaves only one's own machines without a label.
    own = _OWN if "cluster" in submission.details else None
    return NodeWatch(emit, unlabelled=own, late=Latecomers(store.uri, submission.run_id))


class NodeWatch:
    """Looks every few seconds, and tells what has changed.

    Args:
        emit: Takes the events; is called from another thread.
        unlabelled: What workers without a label count as. `None`: each by its host.
        late: Asks the nodes that are new. `None`: nobody does.
    """

    def __init__(
        self,
        emit: Callable[..., None],
        *,
        unlabelled: str | None = None,
        late: Latecomers | None = None,
    ) -> None:
        self._emit, self._unlabelled, self._late = emit, unlabelled, late
        self._seen: Sequence[Mapping[str, Any]] = ()
        self.spending = Spending()
        """What was told so far."""
        self.problems: list[str] = []
        """What is wrong with nodes that joined late, a line each."""

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
            # What was answered since the last look; a head that is gone is not waited for.
            self._ask_late()
            self.tell({})

    def look(self, nodes: Sequence[Mapping[str, Any]] | None) -> None:
        """Report what there is, and ask those that are new.

        Args:
            nodes: As `ray.nodes()` lists them; `None`: not known.
        """
        if nodes is None:
            return
        self._seen = nodes
        self.tell(counted(nodes, self._unlabelled))
        self._ask_late()

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

    def _ask_late(self) -> None:
        if self._late is None:
            return
        try:
            found = self._late.look(self._seen)
        except Exception as error:  # as of `_nodes`
            _LOG.debug("nodes cannot be asked: %s", error)
            return
        for words in found:
            self.problems.append(words)
            _LOG.warning("a node joined that is not like the others: %s", words)
            with contextlib.suppress(StorageError):
                self._emit("node_problem", words=words)

    def _watch(self, stop: threading.Event) -> None:
        while True:
            self.look(_nodes())
            if stop.wait(_LOOK_S):
                return


def counted(nodes: Iterable[Mapping[str, Any]], unlabelled: str | None = None) -> dict[str, int]:
    """How many nodes there are of each type.

    Args:
        nodes: As `ray.nodes()` lists them.
        unlabelled: What workers without a label count as. `None`: each by its host.
    """
    types = Counter(_type(node, unlabelled) for node in nodes if node["Alive"])
    return dict(sorted(types.items()))


def _type(node: Mapping[str, Any], unlabelled: str | None) -> str:
    named = str((node.get("Labels") or {}).get(_TYPE) or "")
    if _HEAD in node["Resources"]:
        return "head" if named in _HEAD_TYPES else named or "head"
    return named or unlabelled or str(node["NodeManagerHostname"])


def _nodes() -> list[dict[str, Any]] | None:
    """Those of the Ray that is joined; `None` if none is, or it does not say."""
    ray: Any = sys.modules.get("ray")
    try:
        if ray is not None and ray.is_initialized():
            return list(ray.nodes())
    except Exception as error:  # a head that is gone is not for this thread to report
        _LOG.debug("nodes are not known: %s", error)
    return None
