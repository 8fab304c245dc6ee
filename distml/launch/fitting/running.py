"""A cluster that runs, as a value that plans work with: its nodes as Ray's dashboard tells them.

One decision: nodes that are alike are one kind, of which there are as many as there are now, no
more. What its autoscaler may add is known to its cluster file, not to the dashboard.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distml.errors import UserError
from distml.launch.files.nodes import ClusterShape, NodeType

__all__ = ["shape_of_nodes"]

_GROUP = "ray.io/node-group"
"""The label by which autoscalers say of which kind a node is."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What tells kinds of nodes apart."""

    group: str
    cpus: float
    gpus: float
    gibibytes: int
    """Memory as it is told apart: the system takes a little more on one machine than on another."""
    is_head: bool


def shape_of_nodes(address: str, nodes: Iterable[Mapping[str, Any]]) -> ClusterShape:
    """The shape of a running cluster.

    Args:
        address: Where it is, by which messages name it.
        nodes: As `/api/v0/nodes` of Ray's dashboard gives them.

    Raises:
        UserError: no node of it has a CPU.
    """
    alive = [node for node in nodes if node["state"] == "ALIVE"]
    kinds = Counter(map(_kind, alive))
    if not any(kind.cpus for kind in kinds):
        raise UserError(
            f"{address} has no CPU for work now ({len(alive)} nodes); if it starts machines when "
            "they are wanted, plan with its file: --on cloud:FILE"
        )
    memory = {kind: min(_memory(node) for node in alive if _kind(node) == kind) for kind in kinds}
    types, names = [], Counter[str]()
    for kind, count in sorted(kinds.items(), key=lambda pair: not pair[0].is_head):
        # As the run will name it: KubeRay's head has a group of its own.
        name = "head" if kind.is_head and kind.group in ("", "headgroup") else kind.group or "node"
        names[name] += 1
        types.append(
            NodeType(
                name=name if names[name] == 1 else f"{name}-{names[name]}",
                num_cpus=kind.cpus,
                num_gpus=kind.gpus,
                memory_bytes=memory[kind] or None,
                min_count=count,
                max_count=count,
                is_head=kind.is_head,
            )
        )
    return ClusterShape(
        name=address, provider="running", node_types=tuple(types), max_workers=len(alive) - 1
    )


def _kind(node: Mapping[str, Any]) -> _Kind:
    resources = node["resources_total"]
    return _Kind(
        group=(node.get("labels") or {}).get(_GROUP, ""),
        cpus=float(resources.get("CPU", 0)),
        gpus=float(resources.get("GPU", 0)),
        gibibytes=round(_memory(node) / 2**30),
        is_head=bool(node["is_head_node"]),
    )


def _memory(node: Mapping[str, Any]) -> int:
    """What Ray gives away: its object store's share is memory of the machine too."""
    resources = node["resources_total"]
    return int(resources.get("memory", 0) + resources.get("object_store_memory", 0))
