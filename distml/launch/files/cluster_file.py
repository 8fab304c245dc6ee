"""A cluster file, as `ray up` and `kubectl apply` take it, read as a value that plans work with.

One decision: the file says nothing of distml's own, and is refused before anything starts with one
line for what is wrong with it, above all for what Ray and the providers do not notice. Prices are
looked up in `prices.csv` beside the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distml.launch.files.cluster_providers import check_provider, instance_type_of, is_spot
from distml.launch.files.cluster_rules import check_cluster, check_local_files, check_placeholders
from distml.launch.files.findings import Findings, commands_of
from distml.launch.files.kuberay_file import check_manifest, manifest_shape
from distml.launch.files.node_config import check_schema
from distml.launch.files.nodes import TASKS_SHARE, ClusterShape, NodeType
from distml.launch.files.prices import Price, PriceTable, read_prices
from distml.launch.files.yaml_file import read_yaml

__all__ = ["ClusterFile", "read_cluster_file"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterFile:
    """A cluster file that was found to be right."""

    path: Path
    """Where it lies."""
    config: Mapping[str, Any]
    """What it says, as it says it."""
    provider: str
    """aws, gcp, azure, local, external, kuberay."""
    auth: Mapping[str, Any]
    """Its section `auth`; empty for kuberay."""
    shape: ClusterShape
    """The machines."""
    warnings: tuple[str, ...]
    """What works, but costs or opens more than it must: a line each, to be shown."""


def read_cluster_file(
    path: Path, *, prices: Path | None = None, to_start: bool = True
) -> ClusterFile:
    """Read a cluster file of `ray up`, or a RayJob or RayCluster of KubeRay.

    Args:
        path: The file.
        prices: The price table; `prices.csv` beside the file, if not said, where there is one.
        to_start: Whether it shall be started from here: placeholders are filled in, and the files
            that it names are on this machine. For plans this does not matter.

    Raises:
        UserError: it cannot be read, or something in it is wrong: one line that says what.
    """
    config = read_yaml(path)
    found = Findings(str(path))
    table = _table(path, prices)
    auth: Mapping[str, Any] = {}
    if to_start:
        check_placeholders(config, found)
    if "apiVersion" in config or "kind" in config:
        check_manifest(config, found)
        found.raise_if_any()
        shape = manifest_shape(config, table, found)
        provider = "kuberay"
    else:
        check_schema(config, found)
        found.raise_if_any()
        provider, auth = config["provider"]["type"], config.get("auth") or {}
        check_provider(config, found)
        check_cluster(config, found)
        if to_start:
            check_local_files(config, found)
        found.raise_if_any()
        make = _local_shape if provider == "local" else _shape
        shape = make(config, table, found)
    found.raise_if_any()
    return ClusterFile(
        path=path,
        config=config,
        provider=provider,
        auth=auth,
        shape=shape,
        warnings=tuple(found.warnings),
    )


def _table(path: Path, prices: Path | None) -> PriceTable:
    beside = path.parent / "prices.csv"
    if prices is None and not beside.is_file():
        return PriceTable(rows={})
    return read_prices(prices or beside)


def _shape(config: dict[str, Any], table: PriceTable, found: Findings) -> ClusterShape:
    section = config["provider"]
    region = section.get("region") or section.get("location")
    most = int(config.get("max_workers", 2))
    types = tuple(
        _node_type(config, name, region, most, table, found)
        for name in config.get("available_node_types") or {}
    )
    for node_type in types:
        where = f"available_node_types.{node_type.name}"
        if node_type.is_head and node_type.is_spot:
            found.warn(where, "the head is a spot machine: when it is taken away, all is")
        if not node_type.is_head and node_type.max_count > most:
            found.warn(where, f"max_workers {node_type.max_count} is more than {most} of all types")
    told = "spot_notice.py" in " ".join(commands_of(config, _WORKER_COMMANDS))
    if not told and any(one.is_spot and not one.is_head for one in types):
        found.warn(_WORKER_COMMANDS, "no spot_notice.py: spot workers end without a checkpoint")
    return ClusterShape(
        name=str(config["cluster_name"]),
        provider=section["type"],
        region=region,
        node_types=types,
        max_workers=most,
    )


def _node_type(
    config: dict[str, Any],
    name: str,
    region: str | None,
    most: int,
    table: PriceTable,
    found: Findings,
) -> NodeType:
    said = config["available_node_types"][name]
    node_config, resources = said.get("node_config") or {}, said.get("resources") or {}
    is_head = name == config["head_node_type"]
    instance_type, spot = instance_type_of(node_config), is_spot(node_config)
    price = table.find(config["provider"]["type"], region, instance_type or name)
    cpus = resources.get("CPU", None if price is None else price.cpus)
    if cpus is None:
        where = f"available_node_types.{name}.resources"
        found.refuse(where, f'no CPU, and {instance_type} is in no price table: say {{"CPU": 8}}')
    has = {} if price is None else {"CPU": price.cpus, "GPU": price.gpus}
    if "guestAccelerators" in node_config:
        # Google Cloud's way to add GPUs to a type that has none.
        has.pop("GPU", None)
    for kind, amount in has.items():
        if resources.get(kind, 0) > amount:
            where = f"available_node_types.{name}.resources.{kind}"
            found.warn(where, f"is {resources[kind]}, but {instance_type} has {amount:g}")
    told = resources.get("memory")
    memory = _memory_of(told, price)
    if told is not None and memory is not None and told > memory:
        where = f"available_node_types.{name}.resources.memory"
        found.warn(where, f"is {told}, but {instance_type} has {memory}")
    own = {key: float(amount) for key, amount in resources.items() if key not in _KNOWN}
    return NodeType(
        name=name,
        num_cpus=float(cpus or 0),
        num_gpus=float(resources.get("GPU", 0 if price is None or is_head else price.gpus)),
        memory_bytes=memory,
        task_memory_bytes=None if told is None else int(told),
        min_count=1 if is_head else int(said.get("min_workers", 0)),
        # The head is not among a type's workers.
        max_count=int(said.get("max_workers", 0 if is_head else most)) + (1 if is_head else 0),
        is_head=is_head,
        is_spot=spot,
        instance_type=instance_type,
        price_per_hour=None if price is None else price.per_hour(spot=spot),
        resources=own,
    )


def _memory_of(told: float | None, price: Price | None) -> int | None:
    """Memory of a machine: its price's row knows; else by what Ray is told to give away of it."""
    if price is not None and price.memory_bytes:
        return price.memory_bytes
    return None if told is None else int(told / TASKS_SHARE)


_KNOWN = frozenset({"CPU", "GPU", "memory", "object_store_memory"})


def _local_shape(config: dict[str, Any], table: PriceTable, found: Findings) -> ClusterShape:
    """Machines of one's own: one head, and workers of which Ray learns the size from the head."""
    section = config["provider"]
    workers = len(section["worker_ips"])
    head, worker = _flags(config, "head_start_ray_commands"), _flags(config, _WORKER_COMMANDS)
    if "num-cpus" not in head:
        found.refuse(
            "head_start_ray_commands",
            "no --num-cpus: Ray takes workers to be like the head, so say what a worker has",
        )
    most = int(config.get("max_workers", workers))
    # Ray takes all machines at once, unless told.
    counts = {"head": (1, 1), _LOCAL_TYPE: (int(config.get("min_workers", workers)), most)}
    types = []
    for name, (fewest, own_most) in counts.items():
        flags = head if name == "head" else head | worker
        price = table.find("local", None, name)
        told = flags.get("memory")
        memory = _memory_of(told, price)
        node_type = NodeType(
            name=name,
            num_cpus=float(flags.get("num-cpus", 0)),
            num_gpus=float(flags.get("num-gpus", 0)),
            memory_bytes=memory,
            task_memory_bytes=None if told is None else int(told),
            min_count=fewest,
            max_count=own_most,
            is_head=name == "head",
            price_per_hour=None if price is None else price.on_demand,
        )
        types.append(node_type)
    return ClusterShape(
        name=str(config["cluster_name"]),
        provider="local",
        node_types=tuple(types),
        max_workers=most,
    )


_WORKER_COMMANDS = "worker_start_ray_commands"
_LOCAL_TYPE = "local.cluster.node"


def _flags(config: dict[str, Any], key: str) -> dict[str, float]:
    """`--num-cpus`, `--num-gpus` and `--memory` of the `ray start` among commands."""
    text = " ".join(commands_of(config, key))
    pattern = r"--(num-cpus|num-gpus|memory)[= ](\d+(?:\.\d+)?)"
    return {name: float(amount) for name, amount in re.findall(pattern, text)}
