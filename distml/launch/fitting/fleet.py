"""Which machines a job may be given, what has room on each, and when each joins.

One decision: a fleet is what a cluster always has, and beside it some machines of one kind that has
room for most units, with as many of another kind as the rest need at least. Mixed fleets beyond
that are not looked at: nobody could tell Ray's autoscaler to start them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from distml.launch.files.nodes import ClusterShape, NodeType
from distml.launch.fitting.simulate import Machine, room
from distml.launch.fitting.starts import Starts
from distml.launch.fitting.work import Bound, Span, UnitKind, Work

__all__ = [
    "USABLE_SHARE",
    "Fleet",
    "base_counts",
    "fleets",
    "largest_counts",
    "most_of",
    "needed_bytes",
    "num_room",
    "usable_bytes",
]

USABLE_SHARE = 0.95
"""Share of a machine's memory that is there for processes before the system ends some."""
_SERVERS_BYTES = 400 * 2**20
"""Ray's own servers on a machine."""
_HEAD_SERVERS_BYTES = 1000 * 2**20
"""The same on the head, with its dashboard."""
_BATCH = 5
"""Machines that the autoscaler asks for at once at least; or tenfold what is there."""
_GROWTH = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """Machines of a cluster, by kind."""

    shape: ClusterShape
    counts: Mapping[str, int]
    """Node type → how many, the head included."""
    extra: NodeType | None = None
    """The kind of which there are some beside what is always there."""
    num_extra: int = 0

    @property
    def num_machines(self) -> int:
        """All of them, the head included."""
        return sum(self.counts.values())

    def types(self) -> Iterator[tuple[NodeType, int]]:
        """Each kind that there is one of, and how many."""
        for kind in self.shape.node_types:
            if self.counts.get(kind.name):
                yield kind, self.counts[kind.name]

    def price_per_hour(self, *, extra: bool) -> float | None:
        """What those that are always there cost together, or the others; `None`: not known."""
        base = base_counts(self.shape)
        total = 0.0
        for kind, count in self.types():
            always = min(count, base.get(kind.name, 0))
            num = count - always if extra else always
            if num and kind.price_per_hour is None:
                return None
            total += num * (kind.price_per_hour or 0.0)
        return total

    def machines(self, work: Work, starts: Starts, bound: Bound) -> list[Machine]:
        """As the simulator takes them; those beyond what is always there join later."""
        base, made = base_counts(self.shape), list[Machine]()
        late = list[tuple[NodeType, bool]]()
        for kind, count in self.types():
            for number in range(count):
                is_head = kind.is_head and not number
                if number < base.get(kind.name, 0):
                    made.append(_machine(kind, work, 0.0, bound, is_head=is_head))
                else:
                    late.append((kind, is_head))
        there, at, left = len(made), 0.0, 0
        for kind, is_head in late:
            if not left:
                left, at = max(_BATCH, _GROWTH * there), at + starts.worker_s.at(bound)
            made.append(_machine(kind, work, at, bound, is_head=is_head))
            there, left = there + 1, left - 1
        return made


def base_counts(shape: ClusterShape) -> dict[str, int]:
    """How many machines of each kind there are at any time."""
    return {kind.name: max(kind.min_count, int(kind.is_head)) for kind in shape.node_types}


def largest_counts(shape: ClusterShape, kind: NodeType) -> int:
    """How many machines of a kind there may be, with what is always there of others."""
    base = base_counts(shape)
    workers = sum(base.values()) - 1
    return min(kind.max_count, base[kind.name] + max(0, shape.max_workers - workers))


def most_of(shape: ClusterShape, name: str) -> float:
    """The most that all machines at once can have of a figure of `NodeType`, such as `num_cpus`."""
    base = base_counts(shape)
    total = sum(base[kind.name] * getattr(kind, name) for kind in shape.node_types)
    left = shape.max_workers - sum(base.values()) + 1
    for kind in sorted(shape.node_types, key=lambda kind: -float(getattr(kind, name))):
        more = max(0, min(left, largest_counts(shape, kind) - base[kind.name]))
        total += more * getattr(kind, name)
        left -= more
    return float(total)


def usable_bytes(kind: NodeType, work: Work, bound: Bound = "value", *, is_head: bool) -> float:
    """Memory of a machine that units may take: not the data's, Ray's, nor the driver's."""
    if kind.memory_bytes is None:
        return math.inf
    driver = work.driver_bytes if is_head else None
    servers = _HEAD_SERVERS_BYTES if is_head else _SERVERS_BYTES
    taken = work.matrix_bytes.at(bound) if work.stages else 0.0
    return (
        USABLE_SHARE * kind.memory_bytes - taken - servers - (driver.at(bound) if driver else 0.0)
    )


def num_room(
    kind: NodeType, unit: UnitKind, work: Work, bound: Bound = "value", *, is_head: bool = False
) -> int:
    """How many workers of a unit a machine takes at the same time."""
    free = usable_bytes(kind, work, bound, is_head=is_head)
    return room(kind.num_cpus, kind.num_gpus, free, unit.load(bound, 1))


def needed_bytes(kind: NodeType, work: Work) -> Span:
    """Memory that a machine is expected to need at its peak: Ray's, the data's, its units'."""
    alone = kind.is_head and kind.max_count <= 1
    taken = Span(*[float(_HEAD_SERVERS_BYTES if alone else _SERVERS_BYTES)] * 3)
    if alone and work.driver_bytes is not None:
        taken = taken.plus(work.driver_bytes)
    units = []
    for unit in work.asked:
        num = num_room(kind, unit, work, is_head=alone)
        num = min(num, unit.num_workers * max(s.get(unit.name, 0) for s in work.stages))
        if num and unit.memory is not None:
            units.append(unit.memory.times(num))
    if not units:
        return taken
    largest = max(units, key=lambda each: each.value)
    return taken.plus(work.matrix_bytes).plus(largest)


def fleets(work: Work, shape: ClusterShape) -> Iterator[Fleet]:
    """All fleets that can run a job, the smallest of each kind first.

    Args:
        work: The job.
        shape: The cluster.
    """
    base = base_counts(shape)
    seen = set[tuple[int, ...]]()
    growing = [each for each in shape.node_types if each.max_count > base[each.name]]
    for kind in [None, *growing] if work.stages else [None]:
        most = 0 if kind is None else largest_counts(shape, kind) - base[kind.name]
        for num in range(0 if kind is None else 1, most + 1):
            counts = _with_companions(work, shape, kind, num)
            # With others beside it, what is always there is among the fleets of those others.
            if counts is None or (kind is None and counts != base):
                continue
            key = tuple(counts[each.name] for each in shape.node_types)
            if key not in seen:
                seen.add(key)
                yield Fleet(shape=shape, counts=counts, extra=kind, num_extra=num)
            if kind is not None and _suffices(work, kind, num):
                break


def _suffices(work: Work, kind: NodeType, num: int) -> bool:
    """Whether more of the kind would have nothing to do."""
    slots = [num_room(kind, unit, work) for unit in work.asked]
    least = min((each for each in slots if each), default=0)
    return num * least >= work.most_workers


def _with_companions(
    work: Work, shape: ClusterShape, kind: NodeType | None, num: int
) -> dict[str, int] | None:
    """What is always there and `num` of a kind, with the least of others that units still need."""
    counts = base_counts(shape)
    if kind is not None:
        counts[kind.name] += num
    for unit in work.asked:
        missing = unit.num_workers - _room_of(counts, shape, unit, work)
        if missing <= 0:
            continue
        others = [each for each in shape.node_types if num_room(each, unit, work)]
        others = [each for each in others if each.name != (kind.name if kind else None)]
        for other in sorted(others, key=lambda each: each.price_per_hour or math.inf):
            needed = math.ceil(missing / num_room(other, unit, work))
            if counts[other.name] + needed <= other.max_count:
                counts[other.name] += needed
                break
        else:
            return None
    return counts if sum(counts.values()) - 1 <= shape.max_workers else None


def _room_of(counts: Mapping[str, int], shape: ClusterShape, unit: UnitKind, work: Work) -> int:
    total = 0
    for kind in shape.node_types:
        num_heads = min(counts[kind.name], int(kind.is_head))
        total += num_heads * num_room(kind, unit, work, is_head=True)
        total += (counts[kind.name] - num_heads) * num_room(kind, unit, work)
    return total


def _machine(kind: NodeType, work: Work, ready_s: float, bound: Bound, *, is_head: bool) -> Machine:
    return Machine(
        cpus=kind.num_cpus,
        gpus=kind.num_gpus,
        memory_bytes=max(0.0, usable_bytes(kind, work, bound, is_head=is_head)),
        ready_s=ready_s,
        is_head=is_head,
    )
