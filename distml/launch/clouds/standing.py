"""How clusters stand: their nodes, what they have cost, and what should not be there.

One decision: each is asked at the same time and for five seconds at most, and one that cannot be
asked is shown as that; a list that fails because of one cluster would hide what the others cost.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distml.errors import DistmlError, UserError
from distml.launch.clouds.cloud_cluster import CloudCluster
from distml.launch.clouds.known import KnownCluster, find_known, known_clusters
from distml.launch.clouds.limits import rate
from distml.launch.clouds.machines import Machine
from distml.launch.clouds.strangers import strangers
from distml.launch.files.cluster_file import read_cluster_file

__all__ = ["Seen", "look_around", "look_at", "table"]

_IDLE_WARNING_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was found out about one cluster."""

    name: str
    """Its name."""
    file: str
    """Its file."""
    state: str
    """up, starting, gone, or unknown."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Node type → machines."""
    started_at: float | None = None
    """Unix seconds."""
    cost: float | None = None
    """US dollars so far. `None`: not known."""
    rate: float | None = None
    """US dollars an hour now. `None`: not known."""
    idle_s: float | None = None
    """Seconds without a job; `None`: one runs, or it is not known."""
    plan: dict[str, Any] = field(default_factory=dict)
    """What its warden keeps; empty if it has none."""
    jobs: dict[str, str] = field(default_factory=dict)
    """Job → status."""
    ended: str | None = None
    """Why its warden has ended it."""
    problem: str | None = None
    """Why it is unknown how it stands."""

    def details(self) -> list[str]:
        """What the table has no room for, a line each."""
        active = [job for job, status in self.jobs.items() if status in ("PENDING", "RUNNING")]
        lines = [f"runs: {', '.join(active) or 'none'}"]
        kept = {"max_hours": "hours", "max_cost": "US dollars"}
        limits = [f"{self.plan[k]:g} {unit}" for k, unit in kept.items() if self.plan.get(k)]
        if self.plan.get("idle_s"):
            limits.append(f"{self.plan['idle_s'] / 60:g} minutes without a job")
        if self.plan.get("down_after"):
            limits.append(f"the end of {', '.join(self.plan['down_after'])}")
        if self.plan:
            lines.append(f"ends at: {', '.join(limits) or 'no limit'}")
        return lines if self.state == "up" else ([f"ended: {self.ended}"] if self.ended else [])

    def warnings(self) -> list[str]:
        """What somebody should do something about, a line each."""
        lines = [] if self.problem is None else [f"warning: {self.name}: {self.problem}"]
        if self.state == "up" and self.idle_s is not None and self.idle_s >= _IDLE_WARNING_S:
            lines.append(
                f"warning: {self.name} has had no job for {self.idle_s / 60:.0f} minutes: "
                f"distml cluster down {self.name}"
            )
        if self.state in ("up", "starting") and not self.plan:
            lines.append(
                f"warning: nothing on the head of {self.name} ends it: "
                f"distml cluster up {self.file} puts a warden there"
            )
        return lines


def look_at(cluster: CloudCluster) -> Seen:
    """Ask the provider and the head of one cluster.

    Raises:
        UserError: the provider cannot be asked, or the head is not reached.
    """
    noted = _note(cluster.name)
    found = cluster.machines()
    since = min((m.started_at for m in found if m.started_at), default=None)
    started = since or (noted.started_at if noted else None)
    path = str(cluster.file.path)
    if cluster.provider != "local" and not any(one.runs for one in found):
        return Seen(name=cluster.name, file=path, state="gone")
    standing = cluster.stand()
    reach = standing.reach if standing is not None else cluster.reach()
    told = {} if reach is None else cluster.ask(reach)
    if standing is None and cluster.provider == "local":
        ended = (told.get("state") or {}).get("ended")
        return Seen(name=cluster.name, file=path, state="gone", ended=ended)
    state = told.get("state") or {}
    known = dict(Counter(one.node_type for one in found if one.runs))
    idle_since = state.get("idle_since")
    return Seen(
        name=cluster.name,
        file=path,
        state="starting" if standing is None else "up",
        nodes=known or state.get("nodes") or {},
        started_at=state.get("started_at") or started,
        cost=_cost(cluster, found, state),
        rate=_rate(cluster, found, state),
        idle_s=None if idle_since is None else time.time() - idle_since,
        plan=told.get("plan") or {},
        jobs=state.get("jobs") or {},
    )


def look_around() -> tuple[list[Seen], list[str]]:
    """All clusters that are noted, and a line for each machine of Ray that belongs to none."""
    noted = known_clusters()
    with ThreadPoolExecutor(max_workers=8) as pool:
        seen = list(pool.map(_look_at_noted, noted))
    readable = []
    for one in noted:
        with contextlib.suppress(UserError):
            readable.append(CloudCluster(_file(one)))
    return seen, strangers(readable, [one.name for one in noted])


def table(seen: Sequence[Seen]) -> str:
    """The clusters, a line each."""
    rows = [("CLUSTER", "STATE", "NODES", "HOURS", "USD", "USD/HOUR", "FILE")]
    for one in seen:
        hours = None if one.started_at is None else (time.time() - one.started_at) / 3600
        nodes = ", ".join(f"{count} {kind}" for kind, count in sorted(one.nodes.items()))
        is_up = one.state in ("up", "starting")
        rows.append(
            (
                one.name,
                one.state,
                nodes or "-",
                _number(hours if is_up else None),
                _number(one.cost),
                _number(one.rate if is_up else None),
                one.file,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]))
    return "\n".join(lines)


def _look_at_noted(noted: KnownCluster) -> Seen:
    try:
        return look_at(CloudCluster(_file(noted)))
    except DistmlError as error:
        return Seen(
            name=noted.name,
            file=noted.file,
            state="unknown",
            started_at=noted.started_at,
            problem=str(error),
        )


def _cost(cluster: CloudCluster, found: Sequence[Machine], state: dict[str, Any]) -> float | None:
    """What the warden has added up, or else what the machines of now have cost."""
    if not cluster.prices:
        return None
    if state:
        hours = max(0.0, time.time() - state["seen_at"]) / 3600
        return float(state["cost"] + hours * state["rate"])
    now = time.time()
    return sum(
        rate([one.node_type], cluster.prices) * (now - one.started_at) / 3600
        for one in found
        if one.started_at is not None
    )


def _rate(cluster: CloudCluster, found: Sequence[Machine], state: dict[str, Any]) -> float | None:
    """What the machines of now cost an hour; of one's own, those that the warden saw."""
    if not cluster.prices:
        return None
    if not found:
        return state.get("rate")
    return rate((one.node_type for one in found if one.runs), cluster.prices)


def _file(noted: KnownCluster) -> Any:
    return read_cluster_file(Path(noted.file), to_start=False)


def _note(name: str) -> KnownCluster | None:
    try:
        return find_known(name)
    except UserError:
        return None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
