"""What a cluster lacks for a job, and the nearest that would do: refusals before anything is spent.

One decision: only what cannot run at its very least is refused here. What may turn out too large is
the plan's to say.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from distml.errors import UserError
from distml.launch.files.nodes import ClusterShape, NodeType
from distml.launch.fitting.fleet import (
    USABLE_SHARE,
    base_counts,
    largest_counts,
    most_of,
    num_room,
    usable_bytes,
)
from distml.launch.fitting.work import UnitKind, Work

__all__ = ["check_room", "more_machines"]


def check_room(work: Work, shape: ClusterShape, offers: Iterable[ClusterShape] = ()) -> None:
    """Refuse what a cluster can never run.

    Args:
        work: The job.
        shape: The cluster.
        offers: Others that could be used instead.

    Raises:
        UserError: it lacks CPUs, GPUs or memory; the message says how much, and what would do.
    """
    others = list(offers)
    _check_head(work, shape, others)
    _check_resources(work, shape)
    for unit in work.asked:
        _check_unit(unit, work, shape, others)


def more_machines(shape: ClusterShape, num: int | None = None) -> str:
    """How to get more machines than there may be.

    Args:
        shape: The cluster.
        num: How many beside the head would do, if that is known.
    """
    if shape.provider in ("running", "here"):
        return f"add machines to {shape.name}" if shape.provider == "running" else "use a cluster"
    if num is None:
        return f"allow more machines than max_workers={shape.max_workers} in {shape.name}"
    return f"max_workers={num} in {shape.name}"


def _check_head(work: Work, shape: ClusterShape, others: Sequence[ClusterShape]) -> None:
    """The driver runs on the head, and holds the rows."""
    head = next((kind for kind in shape.node_types if kind.is_head), None)
    if head is None or head.memory_bytes is None or work.driver_bytes is None:
        return
    missing = -usable_bytes(head, work, "low", is_head=True)
    if missing > 0:
        needed = head.memory_bytes + missing / USABLE_SHARE
        would = _larger(needed, [shape, *others], is_head=True)
        fewer = _fewer_rows(work, _of_head(work), head, is_head=True)
        raise UserError(
            f"the driver needs {_gib(needed)} on the head, and {head.name} of {shape.name} has "
            f"{_gib(head.memory_bytes)}; {_or(fewer, would)}"
        )


def _check_resources(work: Work, shape: ClusterShape) -> None:
    """What the job says it uses over all machines."""
    for name, unit, asked, there in (
        ("num_cpus", "CPUs", work.num_cpus, most_of(shape, "num_cpus")),
        ("num_gpus", "GPUs", work.num_gpus, most_of(shape, "num_gpus")),
    ):
        if asked is not None and asked > there:
            raise UserError(
                f"resources: {name}={asked} is more than {shape.name} can have ({there:g} {unit}); "
                f"ask for at most {there:g}, or {more_machines(shape)}"
            )


def _check_unit(
    unit: UnitKind, work: Work, shape: ClusterShape, others: Sequence[ClusterShape]
) -> None:
    rooms = [(kind, num_room(kind, unit, work, "low")) for kind in shape.node_types]
    heads = [num_room(kind, unit, work, "low", is_head=True) for kind in _heads(shape)]
    if not any(num for kind, num in rooms if not _only_head(kind)) and not any(heads):
        raise UserError(_no_room(unit, work, shape, others))
    most = _most_workers(unit, work, shape)
    if most < unit.num_workers:
        raise UserError(
            f"{unit}; all machines that {shape.name} may have take {most}: set "
            f"num_workers={max(1, most)}, or "
            f"{more_machines(shape, _workers_needed(unit, shape, rooms))}"
        )


def _no_room(
    unit: UnitKind, work: Work, shape: ClusterShape, others: Sequence[ClusterShape]
) -> str:
    """Why a unit has room on no machine: for want of GPUs, of CPUs, or of memory."""
    gpus, cpus = (max(getattr(kind, name) for kind in shape.node_types) for name in _AMOUNTS)
    if unit.gpus > gpus:
        there = f"the most that a machine of {shape.name} has is {gpus:g}"
        there = there if gpus else f"no node type of {shape.name} has a GPU"
        return f"{unit}; {there}; {_would(unit, others, 'gpus_per_worker=0')}"
    if unit.cpus > cpus:
        there = f"the largest machine of {shape.name} has {cpus:g}"
        return f"{unit}; {there}; {_would(unit, others, f'cpus_per_worker={cpus:g}')}"
    kinds = [k for k in shape.node_types if k.num_cpus >= unit.cpus and k.num_gpus >= unit.gpus]
    if not kinds:
        there = f"no node type of {shape.name} has {unit.cpus:g} CPUs and {unit.gpus:g} GPUs"
        return f"{unit}; {there}; {_would(unit, others, 'fewer of each')}"
    largest = max(kinds, key=lambda kind: usable_bytes(kind, work, "low", is_head=_only_head(kind)))
    asked = unit.memory.low if unit.memory else 0.0
    is_head = _only_head(largest)
    missing = asked - usable_bytes(largest, work, "low", is_head=is_head)
    needed = (largest.memory_bytes or 0) + missing / USABLE_SHARE
    would = _larger(needed, [shape, *others], unit=unit)
    fewer = _fewer_rows(work, unit, largest, is_head=is_head)
    return (
        f"{unit.name} needs a machine of {_gib(needed)}; the largest of {shape.name}, "
        f"{_described(largest)}, has {_gib(largest.memory_bytes or 0)}; {_or(fewer, would)}"
    )


_AMOUNTS = ("num_gpus", "num_cpus")


def _would(unit: UnitKind, others: Sequence[ClusterShape], else_: str) -> str:
    """Which machine of another cluster has the GPUs and CPUs, or what to ask for instead."""
    for shape in others:
        for kind in shape.node_types:
            if kind.num_gpus >= unit.gpus and kind.num_cpus >= unit.cpus and not _only_head(kind):
                return f"{_described(kind)} of {shape.name} would do"
    return f"add a node type that has them, or ask for less: {else_}"


def _larger(
    needed: float,
    shapes: Sequence[ClusterShape],
    *,
    unit: UnitKind | None = None,
    is_head: bool = False,
) -> str | None:
    """The smallest machine that has so much memory, here or in another cluster."""
    found = [
        (kind.memory_bytes, _described(kind), shape.name)
        for shape in shapes
        for kind in shape.node_types
        if kind.memory_bytes is not None
        and kind.memory_bytes >= needed
        and (is_head or not _only_head(kind))
        and (unit is None or (kind.num_cpus >= unit.cpus and kind.num_gpus >= unit.gpus))
    ]
    if not found:
        return None
    _, name, where = min(found)
    what = "as the head" if is_head else f"of {where}"
    return f"{name} {what} would do"


def _fewer_rows(work: Work, unit: UnitKind, kind: NodeType, *, is_head: bool) -> str | None:
    """How many rows would do: what units and the data take grows with them."""
    if not work.rows or kind.memory_bytes is None:
        return None
    bare = usable_bytes(kind, _without_data(work), "low", is_head=False)
    own = (unit.memory.low if unit.memory else 0.0) - work.process_bytes
    grows = work.matrix_bytes.low + max(0.0, own)
    grows += work.driver_bytes.low if is_head and work.driver_bytes else 0.0
    share = (bare - work.process_bytes) / grows if grows > 0 else 0.0
    rows = math.floor(work.rows * share * 0.95)
    # Two figures that can be trusted.
    rows = math.floor(rows / 10 ** max(0, len(str(rows)) - 2)) * 10 ** max(0, len(str(rows)) - 2)
    return f"{rows:,} of its {work.rows:,} rows" if 0 < rows < work.rows else None


def _without_data(work: Work) -> Work:
    return replace(work, matrix_bytes=work.matrix_bytes.times(0.0), driver_bytes=None)


def _of_head(work: Work) -> UnitKind:
    return UnitKind(name="driver", count=1, seconds=None, memory=None)


def _or(*ways: str | None) -> str:
    said = " or ".join(way for way in ways if way)
    if not said:
        return "take a larger machine or fewer rows"
    return said if said.endswith("would do") else f"{said} would do"


def _heads(shape: ClusterShape) -> Iterator[NodeType]:
    return (kind for kind in shape.node_types if kind.is_head)


def _only_head(kind: NodeType) -> bool:
    """Whether there is one machine of the kind at most, which is the head."""
    return kind.is_head and kind.max_count <= 1


def _most_workers(unit: UnitKind, work: Work, shape: ClusterShape) -> int:
    """The most workers of a unit that a cluster takes: best machines first."""
    base = base_counts(shape)
    total = 0
    for kind in shape.node_types:
        num_heads = int(kind.is_head)
        total += num_heads * num_room(kind, unit, work, "low", is_head=True)
        total += (base[kind.name] - num_heads) * num_room(kind, unit, work, "low")
    left = shape.max_workers - sum(base.values()) + 1
    for kind in sorted(shape.node_types, key=lambda kind: -num_room(kind, unit, work, "low")):
        more = min(left, largest_counts(shape, kind) - base[kind.name])
        total += max(0, more) * num_room(kind, unit, work, "low")
        left -= max(0, more)
    return total


def _workers_needed(
    unit: UnitKind, shape: ClusterShape, rooms: Sequence[tuple[NodeType, int]]
) -> int:
    best = max((num for kind, num in rooms if not _only_head(kind)), default=0)
    return math.ceil(unit.num_workers / best) if best else shape.max_workers


def _with_counts(shape: ClusterShape, counts: dict[str, int]) -> Iterator[tuple[NodeType, int]]:
    return ((kind, counts[kind.name]) for kind in shape.node_types)


def _described(kind: NodeType) -> str:
    return kind.name if kind.instance_type is None else f"{kind.name} ({kind.instance_type})"


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
