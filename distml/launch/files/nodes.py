"""The kinds of machines that a cluster has or may start, and the cluster they make: pure values.

One decision: whoever plans, prices or starts machines works with these two values alone, wherever
they come from: a cluster file, a manifest for Kubernetes, or the address of a running cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["TASKS_SHARE", "ClusterShape", "NodeType"]

TASKS_SHARE = 0.65
"""Share of a machine's memory that Ray gives away; the rest is for its object store and itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeType:
    """A kind of machine that a cluster has or may start."""

    name: str
    """As in `available_node_types`, or the name of the worker group."""
    num_cpus: float
    """CPUs that Ray gives away on it; 0 on a head that takes no work."""
    num_gpus: float = 0
    """GPUs that Ray gives away on it."""
    memory_bytes: int | None = None
    """Memory of the machine. `None`: not known (own machines without a figure)."""
    task_memory_bytes: int | None = None
    """Memory that Ray gives away on it, where its file says so. `None`: as Ray finds it."""
    min_count: int = 0
    """How many there are at any time. The head counts: its type has at least 1."""
    max_count: int
    """How many may run at once."""
    is_head: bool = False
    """Whether the head is of this type."""
    is_spot: bool = False
    """Whether the provider may take it away at a few seconds' notice."""
    instance_type: str | None = None
    """The provider's name: m6i.2xlarge, n2-standard-8, Standard_D8s_v5. `None`: own machines."""
    price_per_hour: float | None = None
    """USD for one of them, from the price table. `None`: not known."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Custom resources that Ray gives away on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterShape:
    """Which machines a cluster has, and which it may start."""

    name: str
    """The name of the cluster."""
    provider: str
    """aws, gcp, azure, local, external, kuberay; running: an address where one runs already."""
    region: str | None = None
    """Where its machines and their prices are. `None`: own machines."""
    node_types: tuple[NodeType, ...]
    """Every kind, the head's among them."""
    max_workers: int
    """How many machines beside the head may run at once, of all kinds together."""
