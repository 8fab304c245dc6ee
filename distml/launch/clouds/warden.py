"""What keeps a cluster's limits on its own head: hours, US dollars, idleness, the end of a run.

One decision: it is a process of the head that needs no client, so that what was limited ends though
the laptop has gone; and whoever else ends a cluster has the same process do it. It ends jobs, then
Ray (whose autoscaler would start machines anew), then the workers, and the head last.

    python -m distml.launch.clouds.warden set '{"cluster": "x", "max_hours": 2}'   keep that too
    python -m distml.launch.clouds.warden watch | status | halt REASON | end REASON
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from distml.errors import DistmlError
from distml.launch.clouds.limits import Plan, State, look, over_cost, verdict
from distml.launch.clouds.machines import machines, terminate
from distml.launch.clouds.stopping import (
    dismiss_wardens,
    kill_autoscaler,
    say,
    stop_here,
    stop_own_workers,
)

__all__ = ["Warden", "main", "merged"]

_CONFIG = "~/ray_bootstrap_config.yaml"
_GONE_S = 600.0
_SETTLE_S = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line, in the folder of one cluster; the exit code."""
    action, *rest = sys.argv[1:] if argv is None else argv
    warden = Warden(Path.cwd())
    if action == "set":
        warden.set(json.loads(rest[0]))
    elif action == "watch":
        warden.watch()
    elif action == "halt":
        warden.halt(rest[0])
    elif action == "end":
        warden.end(rest[0])
    sys.stdout.write(json.dumps(warden.status()) + "\n")
    return 0


class Warden:
    """Keeps one cluster. Its plan and what it saw are files of its folder on the head."""

    def __init__(self, folder: Path, *, api: str = "http://127.0.0.1:8265") -> None:
        self._folder = folder
        self._plan_file = folder / "plan.json"
        self._state_file = folder / "state.json"
        self._lock_file = folder / "lock"
        self._api = api

    def set(self, told: Mapping[str, Any]) -> None:
        """Take what is to be kept, beside what was; with `fresh`, of a cluster just started."""
        new = {name: value for name, value in told.items() if name != "fresh"}
        old = {} if told.get("fresh") else _read(self._plan_file)
        _write(self._plan_file, merged(old, new))
        if told.get("fresh") or not self._state_file.exists():
            now = time.time()
            _write(self._state_file, asdict(State(started_at=now, seen_at=now)))

    def status(self) -> dict[str, Any]:
        """The plan and what was seen last, as JSON."""
        return {"plan": _read(self._plan_file), "state": _read(self._state_file)}

    def watch(self) -> None:
        """Look until the cluster has to end, and end it; at once if another one watches."""
        with self._lock_file.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            while not self._state().done:
                reason = self._step()
                if reason is None:
                    time.sleep(self._plan().poll_s)
                elif self._state().ended is None or self._is_left_undone():
                    self.end(reason)

    def end(self, reason: str) -> None:
        """End jobs, Ray, workers and this machine."""
        plan, config = self._plan(), _config()
        self._end_jobs(reason)
        if config["provider"]["type"] == "local":
            with ThreadPoolExecutor() as pool:
                pool.submit(stop_own_workers, config, plan.cluster)
                stop_here(plan.cluster)
        else:
            stop_here(plan.cluster)
            _terminate_all(config, plan)
        self._remember(replace(self._state(), done=True))
        dismiss_wardens(self._folder)

    def halt(self, reason: str) -> None:
        """End jobs, and Ray on this machine: after that nothing starts another one."""
        self._end_jobs(reason)
        stop_here(self._plan().cluster)

    def _is_left_undone(self) -> bool:
        """Whether somebody else, who was to end this cluster, has not come to it."""
        give_up = time.monotonic() + _GONE_S
        while time.monotonic() < give_up:
            state = self._state()
            if state.done or state.ended is None:
                return False
            time.sleep(_SETTLE_S)
        return True

    def _end_jobs(self, reason: str) -> None:
        plan, other = self._plan(), self._state().pid
        # It is started again a few seconds later, and sees to it that this comes to its end.
        if other not in (None, os.getpid()) and _is_warden(other):
            os.kill(other, signal.SIGKILL)
        self._remember(replace(self._state(), ended=reason, pid=None))
        say(f"ending {plan.cluster}: {reason}")
        end = time.monotonic() + plan.stop_s
        active = self._active()
        for job in active:
            self._ask("POST", f"/api/jobs/{job}/stop")
        while active and time.monotonic() < end:
            time.sleep(0.5)
            active = self._active()
        kill_autoscaler(plan.cluster)

    def _step(self) -> str | None:
        """Look once; the reason to end."""
        plan, state = self._plan(), self._state()
        if state.ended:
            return state.ended
        try:
            types = [one.node_type for one in machines(_config()) if one.runs]
        except (DistmlError, OSError) as error:
            say(f"the machines cannot be listed: {error}")
            types = [name for name, count in state.nodes.items() for _ in range(count)]
        jobs = self._jobs()
        state = replace(look(plan, state, time.time(), types, jobs), pid=os.getpid())
        self._remember(state)
        for job in over_cost(plan, state):
            say(f"{job} is stopped: its cluster has cost as much as it may")
            self._ask("POST", f"/api/jobs/{job}/stop")
        return verdict(plan, state)

    def _active(self) -> list[str]:
        jobs = self._jobs() or {}
        return [job for job, status in jobs.items() if status in ("PENDING", "RUNNING")]

    def _jobs(self) -> dict[str, str] | None:
        listed = self._ask("GET", "/api/jobs/")
        if listed is None:
            return None
        return {job["submission_id"]: job["status"] for job in listed if job.get("submission_id")}

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(self._api + path, method=method)
        with contextlib.suppress(OSError):
            token = Path("~/.ray/auth_token").expanduser().read_text(encoding="utf-8").strip()
            request.add_header("Authorization", f"Bearer {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError, ValueError), opener.open(request, timeout=5) as reply:
            return json.loads(reply.read())
        return None

    def _plan(self) -> Plan:
        return Plan(**_known(Plan, _read(self._plan_file)))

    def _state(self) -> State:
        return State(**_known(State, _read(self._state_file)))

    def _remember(self, state: State) -> None:
        _write(self._state_file, asdict(state))


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with more in it: jobs are added to jobs, anything else replaces what was."""
    both = {**old, **new}
    after = (*old.get("down_after", ()), *new.get("down_after", ()))
    both["down_after"] = list(dict.fromkeys(after))
    both["job_costs"] = {**old.get("job_costs", {}), **new.get("job_costs", {})}
    return both


def _terminate_all(config: Mapping[str, Any], plan: Plan) -> None:
    """Workers until there are none, then the head: this machine, on which this ends."""
    last_resort_at = time.monotonic() + _GONE_S
    while True:
        try:
            left = machines(config)
            if not left:
                return
            workers = [one.machine_id for one in left if not one.is_head]
            terminate(config, workers or [one.machine_id for one in left])
        except (DistmlError, OSError) as error:
            say(f"not ended yet: {error}")
        time.sleep(_SETTLE_S)
        if time.monotonic() > last_resort_at and plan.last_resort:
            say(f"the provider does not end this machine: {plan.last_resort}")
            subprocess.run(["bash", "-c", plan.last_resort], check=False)
            last_resort_at += _GONE_S


def _config() -> dict[str, Any]:
    """The cluster file as Ray has given it to its head: JSON, whatever its name."""
    return dict(json.loads(Path(_CONFIG).expanduser().read_text(encoding="utf-8")))


def _is_warden(pid: int | None) -> bool:
    with contextlib.suppress(OSError):
        return b"distml.launch.clouds.warden" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name in names
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Beside and renamed: whoever reads sees the old or the new."""
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(value, indent=2), encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
