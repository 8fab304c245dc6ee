"""One cluster that a file describes: bring it up, come in, ask how it is.

One decision: whether it is up is asked of the provider and of its own dashboard, never of a note;
so bringing up what is up costs nothing, and what a killed client left half-way is completed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distml.errors import LaunchError, UserError
from distml.launch.clouds.bring_up import ask_warden, head_reach, start_warden
from distml.launch.clouds.known import KnownCluster, find_known, remember, state_folder
from distml.launch.clouds.machines import Machine, machines
from distml.launch.clouds.ssh import Reach, Tunnel
from distml.launch.files.cluster_file import ClusterFile, read_cluster_file

__all__ = ["CloudCluster", "Standing", "open_cluster", "path_of"]

_ANSWERS_S = 30.0
_SHUT_DOWN = "sudo shutdown -h now"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A cluster that is up."""

    reach: Reach
    """How SSH comes to its head."""
    tunnel: Tunnel
    """To its dashboard."""
    was_up: bool
    """Whether it was up before it was asked for."""


def open_cluster(file_or_name: str, *, to_start: bool = False) -> "CloudCluster":
    """The cluster of a file, or one that was started from here, by its name.

    Args:
        file_or_name: A path, or a name without `/` and `.yaml`.
        to_start: Whether it may be started, and what it names has to be on this machine.

    Raises:
        UserError: there is no such file or name, or the file is wrong.
    """
    file = read_cluster_file(path_of(file_or_name), to_start=to_start)
    if file.provider == "kuberay":
        raise UserError(f"{file.path} is for Kubernetes: say --on kubernetes")
    return CloudCluster(file)


def path_of(file_or_name: str) -> Path:
    """The file of a cluster, whether or not there is one.

    Raises:
        UserError: it is a name, and no cluster of that name was started from here.
    """
    if file_or_name.endswith((".yaml", ".yml")) or os.sep in file_or_name:
        return Path(file_or_name).expanduser().resolve()
    return Path(find_known(file_or_name).file)


class CloudCluster:
    """The cluster of one file. Keeps no state between calls but the file."""

    def __init__(self, file: ClusterFile) -> None:
        self.file = file
        self.name: str = file.config["cluster_name"]
        """As in the file."""
        self.provider: str = file.provider
        """aws, gcp, azure, local, …"""

    @property
    def prices(self) -> dict[str, float]:
        """Node type → US dollars an hour, as far as known."""
        types = self.file.shape.node_types
        return {t.name: t.price_per_hour for t in types if t.price_per_hour is not None}

    @property
    def last_resort(self) -> str | None:
        """A command by which its head ends itself, on Google Cloud all but its disk, if any."""
        if self.provider == "gcp":
            return _SHUT_DOWN
        types = self.file.config.get("available_node_types") or {}
        head = types.get(self.file.config.get("head_node_type")) or {}
        behaviour = (head.get("node_config") or {}).get("InstanceInitiatedShutdownBehavior")
        return _SHUT_DOWN if behaviour == "terminate" else None

    def check_cost_limit(self) -> None:
        """Refuse a limit in money where a price is not known.

        Raises:
            UserError: so it is.
        """
        for kind in self.file.shape.node_types:
            if kind.price_per_hour is None:
                named = kind.instance_type or kind.name
                raise UserError(
                    f"--max-cost needs the price of {named}: enter it into the price table "
                    "(cluster/prices.csv), or say --max-hours"
                )

    def machines(self) -> list[Machine]:
        """What the provider has of it; of one's own machines nothing can be told.

        Raises:
            UserError: the provider cannot be asked.
        """
        return [] if self.provider == "local" else machines(self.file.config)

    def stand(self) -> Standing | None:
        """Come in, if it is up.

        Raises:
            UserError: the provider cannot be asked, or the head's machine is not reached.
        """
        reach = self.reach()
        if reach is None:
            return None
        tunnel = Tunnel(reach)
        tunnel.keep()
        if _answers(tunnel.port):
            return Standing(reach=reach, tunnel=tunnel, was_up=True)
        tunnel.close()
        return None

    def bring_up(self, plan: Mapping[str, Any], say: Callable[[str], None]) -> Standing:
        """Bring it up if it is not.

        Args:
            plan: What its warden shall keep if it is started now: fields of `limits.Plan`.
            say: Takes what a person wants to know, a line each.

        Raises:
            UserError: something has to be put right first.
            LaunchError: it does not come up.
        """
        standing = self.stand()
        if standing is not None:
            return standing
        log = state_folder() / f"{self.name}.log"
        say(f"cluster {self.name} comes up; what happens: {log}")
        told = {"cluster": self.name, "prices": self.prices, "fresh": True, **plan}
        told.setdefault("last_resort", self.last_resort)
        note = KnownCluster(
            name=self.name,
            file=str(self.file.path),
            provider=self.provider,
            region=self.file.shape.region,
            started_at=time.time(),
            limits={k: v for k, v in plan.items() if v is not None},
            prices=self.prices,
        )
        self._hosts_file.unlink(missing_ok=True)
        remember(note)
        reach = self._launch(told, bring=True)
        remember(replace(note, reach=asdict(reach)))
        tunnel = Tunnel(reach)
        end = time.monotonic() + _ANSWERS_S
        tunnel.keep()
        while not _answers(tunnel.port):
            if time.monotonic() > end:
                raise LaunchError(f"Ray does not answer on the head of {self.name}; see {log}")
            time.sleep(0.2)
        return Standing(reach=reach, tunnel=tunnel, was_up=False)

    def tell_warden(self, reach: Reach, plan: Mapping[str, Any]) -> None:
        """Have the warden of a cluster that is up keep something more.

        Raises:
            DistmlError: it is not reached.
        """
        start_warden(reach, {"cluster": self.name, "prices": self.prices, **plan})

    def ask(self, reach: Reach) -> dict[str, Any]:
        """What the warden keeps and saw last: `plan` and `state`; empty if there is none.

        Raises:
            UserError: the head is not reached.
        """
        try:
            said = ask_warden(reach, self.name, "python -m distml.launch.clouds.warden status")
            return dict(json.loads(said.splitlines()[-1]))
        except (LaunchError, ValueError, IndexError):
            return {}

    def reach(self) -> Reach | None:
        """How SSH comes to the head; `None` if the provider has none.

        Raises:
            UserError: the provider cannot be asked.
        """
        if self.provider == "local":
            return head_reach(self.file.config)
        heads = [one for one in self.machines() if one.is_head and one.runs]
        if not heads or heads[0].address is None:
            return None
        with contextlib.suppress(UserError):
            noted = find_known(self.name).reach
            if noted.get("address") == heads[0].address:
                return Reach(**noted)
        return self._launch({}, bring=False)

    @property
    def _hosts_file(self) -> Path:
        return state_folder() / f"{self.name}.hosts"

    def _launch(self, plan: Mapping[str, Any], *, bring: bool) -> Reach:
        """Have Ray's launcher bring it up, or only tell how its head is reached."""
        folder = state_folder()
        answer = folder / f"{self.name}.answer"
        answer.unlink(missing_ok=True)
        orders = {
            "file": str(self.file.path),
            "folder": str(Path.cwd()),
            "bring": bring,
            "known_hosts": str(self._hosts_file),
            "plan": dict(plan),
        }
        # Autoscaler v2 never starts the last of one's own machines.
        version = {"RAY_UP_enable_autoscaler_v2": "0"} if self.provider == "local" else {}
        with (folder / f"{self.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "distml.launch.clouds.bring_up", str(answer)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **version},
            )  # fmt: skip
            assert process.stdin is not None
            with process.stdin as stdin:
                stdin.write(json.dumps(orders).encode())
            try:
                process.wait()
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        return self._answer(answer)

    def _answer(self, path: Path) -> Reach:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            told = {"error": "its launcher was killed", "exit_code": 1}
        path.unlink(missing_ok=True)
        if "reach" in told:
            return Reach(**told["reach"])
        log = state_folder() / f"{self.name}.log"
        message = f"cluster {self.name} does not come up: {told['error']}; see {log}"
        raise UserError(message) if told["exit_code"] == 2 else LaunchError(message)


def _answers(port: int) -> bool:
    """Whether Ray's dashboard is at a port of this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/api/version", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
