"""The clusters that were started from here: a note of each, until it is taken down.

One decision: a note says what the provider cannot (the file, the limits, the prices), and nothing
that it can: whether the machines are there is asked, never read here. Notes are files of
`$XDG_STATE_HOME/distml/clusters`, with the logs of Ray's cluster launcher and the host keys.
"""

import contextlib
import difflib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from distml.errors import UserError

__all__ = [
    "KnownCluster",
    "find_known",
    "forget",
    "known_clusters",
    "locked",
    "remember",
    "state_folder",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownCluster:
    """What is noted of one cluster."""

    name: str
    """As in its file."""
    file: str
    """Absolute path of the cluster file."""
    provider: str
    """aws, gcp, azure, local, …"""
    region: str | None = None
    """Where it is, if anywhere."""
    started_at: float = 0.0
    """When it was brought up, Unix seconds."""
    reach: Mapping[str, Any] = field(default_factory=dict)
    """How SSH comes to its head: the fields of `Reach`; empty while it comes up."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """What its warden was told."""
    prices: Mapping[str, float] = field(default_factory=dict)
    """Node type → US dollars an hour."""


def state_folder() -> Path:
    """Where the notes are; it is made."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) / "distml" / "clusters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let no other process of this user start or end the same cluster meanwhile; waits for one."""
    with (state_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remember(cluster: KnownCluster) -> None:
    """Note a cluster, in the place of its former note."""
    path = state_folder() / f"{cluster.name}.json"
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(asdict(cluster), indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def forget(name: str) -> None:
    """Drop the note of a cluster, and the host keys that were its own."""
    for end in ("json", "hosts"):
        (state_folder() / f"{name}.{end}").unlink(missing_ok=True)


def known_clusters() -> list[KnownCluster]:
    """All that are noted, by name.

    Raises:
        UserError: a note is damaged.
    """
    return [_load(path) for path in sorted(state_folder().glob("*.json"))]


def find_known(name: str) -> KnownCluster:
    """The note of a cluster.

    Raises:
        UserError: there is none; the nearest name is told.
    """
    names = [path.stem for path in sorted(state_folder().glob("*.json"))]
    if name in names:
        return _load(state_folder() / f"{name}.json")
    close = difflib.get_close_matches(name, names, n=1)
    there = f"there are {', '.join(names)}" if names else "none was started from here"
    hint = f"did you mean {close[0]}?" if close else f"{there}; a file is named with its .yaml"
    raise UserError(f"unknown cluster {name!r}: {hint}")


def _load(path: Path) -> KnownCluster:
    names = {item.name for item in fields(KnownCluster)}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return KnownCluster(**{name: value for name, value in values.items() if name in names})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} was changed or cut short ({error}); delete it") from error
