"""The machines of a place that `--on` names, whatever kind of place it is.

One decision: a table from kinds of places to functions, so plans are made alike for a file of a
cluster that nobody has started, for a cluster that runs, and for this machine.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from distml.errors import UserError
from distml.launch.files.nodes import ClusterShape, NodeType
from distml.launch.files.prices import read_prices

__all__ = ["here", "offers", "shape_of"]


def shape_of(place: str, *, num_gpus: int = 0) -> ClusterShape:
    """The machines of a place.

    Args:
        place: `KIND[:TARGET]`, as `--on` takes it.
        num_gpus: GPUs of this machine.

    Raises:
        UserError: there is no such place, its file is wrong, or it does not answer.
    """
    kind, _, target = place.partition(":")
    if kind in ("debug", "local"):
        return here(num_gpus, num_cpus=1 if kind == "debug" else None)
    if kind not in _SHAPES:
        names = ("debug", "local", *_SHAPES)
        close = difflib.get_close_matches(kind, names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(f"unknown launcher {kind!r}: {hint}there are {', '.join(names)}")
    return _SHAPES[kind](target or None)


def here(num_gpus: int = 0, *, num_cpus: int | None = None) -> ClusterShape:
    """This machine."""
    from distml.runs.provenance import host_facts

    host = host_facts()
    machine = NodeType(
        name="machine",
        num_cpus=num_cpus or host["cpus"],
        num_gpus=num_gpus,
        memory_bytes=host["memory_bytes"],
        min_count=1,
        max_count=1,
        is_head=True,
    )
    return ClusterShape(name="this machine", provider="here", node_types=(machine,), max_workers=0)


def offers(place: str) -> list[ClusterShape]:
    """Clusters that could be used instead: of files beside the one named, and by its price table.

    Args:
        place: `KIND[:TARGET]`; there are none beside places that have no file.
    """
    kind, _, target = place.partition(":")
    path = Path(target) if kind == "cloud" and target else Path("cluster", "x.yaml")
    others = [other for other in sorted(path.parent.glob("*.yaml")) if other != path]
    found = [shape for other in others if (shape := _read_quietly(other)) is not None]
    own = _read_quietly(path)
    return [*_priced(path.parent / "prices.csv", own), *found]


def _running(target: str | None) -> ClusterShape:
    from distml.launch.cluster import find_cluster
    from distml.launch.fitting.running import shape_of_nodes
    from distml.launch.jobs_api import JobsApi

    found = find_cluster(target)
    api = JobsApi(found.address, token_file=found.token_file)
    api.version()
    return shape_of_nodes(found.address, api.nodes())


def _cloud(target: str | None) -> ClusterShape:
    if target is None:
        raise UserError("which cluster? say --on cloud:FILE, such as --on cloud:cluster/aws.yaml")
    return _from_file(Path(target))


def _kubernetes(_: str | None) -> ClusterShape:
    from distml.launch.kubernetes import MANIFEST

    here = Path.cwd()
    above = (folder / MANIFEST for folder in (here, *here.parents))
    return _from_file(next((path for path in above if path.is_file()), MANIFEST))


_SHAPES: Mapping[str, Callable[[str | None], ClusterShape]] = MappingProxyType(
    {"cluster": _running, "cloud": _cloud, "kubernetes": _kubernetes}
)


def _from_file(path: Path) -> ClusterShape:
    from distml.launch.files.cluster_file import read_cluster_file

    # By its file, which is what a user changes.
    return replace(read_cluster_file(path, to_start=False).shape, name=str(path))


def _read_quietly(path: Path) -> ClusterShape | None:
    """A file that is not meant, and that therefore may be wrong."""
    try:
        return _from_file(path) if path.is_file() else None
    except UserError:
        return None


def _priced(path: Path, own: ClusterShape | None) -> list[ClusterShape]:
    """Machines of the same provider and region that the price table names."""
    if own is None or not path.is_file():
        return []
    types = tuple(
        NodeType(
            name=price.instance_type,
            num_cpus=price.cpus,
            num_gpus=price.gpus,
            memory_bytes=price.memory_bytes,
            max_count=1,
            price_per_hour=price.on_demand,
        )
        for price in read_prices(path).rows.values()
        if (price.provider, price.region) == (own.provider, own.region or "")
    )
    return [replace(own, name=str(own.provider), node_types=types)] if types else []
