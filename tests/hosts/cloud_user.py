"""Somebody at the client of the world who runs jobs with `--on cloud:FILE`, and what comes of it.

One decision: all is done by the command line, as a user would; what a run has left is read from its
storage by a program on the client, so it can be compared with another one's.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts.host import CHECKOUT, HOME, Host
from tests.hosts.namespaces import Inside, until
from tests.hosts.world import World

__all__ = ["CloudUser", "Told", "assert_same_model"]

_FOLDER = f"{HOME}/work"


class Told:
    """How a command ended: its exit code, what it said, and how long it took."""

    def __init__(self, code: int, out: str, err: str, seconds: float) -> None:
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def __repr__(self) -> str:
        return (
            f"exit {self.code} after {self.seconds:.1f} s\n{self.out[-3000:]}\n{self.err[-3000:]}"
        )


class CloudUser:
    """A user with a folder of jobs and one cluster file."""

    file = f"{_FOLDER}/cluster/it.yaml"
    """Where that lies on the client."""

    def __init__(self, world: World, config: dict[str, Any], *, jobs: tuple[str, ...]) -> None:
        self.client = world.client
        self.name: str = config["cluster_name"]
        folder = self.client.folder / _FOLDER.lstrip("/")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "cluster").mkdir(parents=True)
        (folder / "cluster/it.yaml").write_text(yaml.safe_dump(config))
        for job in jobs:
            shutil.copy(CHECKOUT / job, folder)
        self.client.run(
            "rm -rf /tmp/ray ~/.local/state/distml; test -f ~/.ray/auth_token || "
            "ray get-auth-token --generate"
        )

    def distml(
        self,
        line: str,
        *,
        storage: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 400,
    ) -> Told:
        """Run one command to its end."""
        began = time.monotonic()
        done = self.client.run(
            f"distml {line}",
            check=False,
            cwd=_FOLDER,
            env={**_env(storage), **(env or {})},
            timeout_s=timeout_s,
        )
        return Told(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def begin(self, line: str, *, storage: str) -> Inside:
        """Start one command."""
        return self.client.popen(
            f"exec distml {line}", cwd=_FOLDER, env=_env(storage), stdout=-1, stderr=-1, text=True
        )

    def end(self, child: Inside, timeout_s: float = 400) -> Told:
        """Wait for what was begun."""
        began = time.monotonic()
        out, err = child.communicate(timeout=timeout_s)
        return Told(child.returncode, out, err, time.monotonic() - began)

    def abandon(self, child: Inside) -> None:
        """Kill what was begun, as if the laptop had gone."""
        child.kill()
        child.communicate()

    def left(self, storage: str, run: str) -> dict[str, Any]:
        """What a run has left: status, attempts, metrics, golden rows, units of each host, log.

        `begun` has the epoch at which each attempt at a training began.
        """
        told = self.client.run(["python", "-c", _LEFT, storage, run], timeout_s=60).stdout
        return dict(json.loads(told))

    def wait_for_units(
        self, storage: str, run: str, count: int, alive: Inside, *, kind: str = "unit_done"
    ) -> None:
        """Wait until so many units of a run are done, or there are so many other events of it."""

        def done() -> bool:
            told = self.client.run(
                ["python", "-c", _UNITS, storage, run, kind], check=False, timeout_s=60
            )
            return told.returncode == 0 and int(told.stdout) >= count

        try:
            until(done, f"{count} units of {run}", alive=alive, timeout_s=300)
        except RuntimeError as error:
            told = self.end(alive, 30) if alive.poll() is not None else "it still runs"
            raise RuntimeError(f"{error}; {told}") from None

    def warden(self, head: Host) -> dict[str, Any]:
        """What the warden on a head saw last; empty if there is none."""
        path = head.folder / f"root/.distml/{self.name}/state.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @property
    def log(self) -> str:
        """What Ray's cluster launcher has said."""
        path = self.client.folder / f"root/.local/state/distml/clusters/{self.name}.log"
        return path.read_text() if path.exists() else ""

    @property
    def path(self) -> Path:
        """The folder as seen from outside."""
        return self.client.folder / _FOLDER.lstrip("/")


def assert_same_model(left: dict[str, Any], other: dict[str, Any]) -> None:
    """The same scores and the same golden rows, but for the last bits of a number.

    A member that had the CPUs of others for its threads, because these had to wait, adds in another
    order: scikit-learn's gradient boosting does, whoever calls it.
    """
    for what in ("metrics", "golden"):
        ours, theirs = (dict(_leaves(each[what])) for each in (left, other))
        assert ours.keys() == theirs.keys()
        numbers = {key for key, value in ours.items() if isinstance(value, float)}
        assert {k: ours[k] for k in ours if k not in numbers} == {
            k: theirs[k] for k in theirs if k not in numbers
        }
        for key in numbers:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-9, nan_ok=True), (what, key)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _env(storage: str | None) -> dict[str, str]:
    return {} if storage is None else {"DISTML_STORAGE": storage}


_LEFT = """
import json, sys
from collections import Counter
from distml.runs.store import RunStore
import pyarrow as pa
store = RunStore(sys.argv[1])
record, run = store.load(sys.argv[2]), sys.argv[2]
golden = []
if store.storage.stat(f"{run}/bundle/golden.arrow"):
    with pa.ipc.open_file(pa.py_buffer(store.storage.read(f"{run}/bundle/golden.arrow"))) as file:
        golden = file.read_all().to_pylist()
events = list(store.events(run))
done = [e for e in events if e["kind"] == "unit_done" and e.get("worker")]
print(json.dumps({
    "status": str(record.status), "attempts": len(record.attempts),
    "metrics": record.metrics, "golden": golden,
    "hosts": Counter(e["worker"].split(":")[0] for e in done),
    "log": [e["message"] for e in events if e["kind"] == "log"],
    "begun": [e["epoch"] for e in events if e["kind"] == "training_started"],
}, default=str))
"""
_UNITS = """
import sys
from distml.runs.store import RunStore
print(sum(e["kind"] == sys.argv[3] for e in RunStore(sys.argv[1]).events(sys.argv[2])))
"""
