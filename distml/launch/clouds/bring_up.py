"""Bring a cluster up by Ray's cluster launcher, and put a warden on its head: a process of its own.

One decision: it goes on to its end though whoever started it dies, so a cluster that came up is
never without what keeps its limits. It reads its orders from the standard input and leaves its
answer in a file, because Ray's launcher talks on every other channel.

    python -m distml.launch.clouds.bring_up ANSWER < ORDERS
"""

import io
import json
import os
import shlex
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distml.errors import DistmlError, LaunchError
from distml.launch.clouds.machines import machines
from distml.launch.clouds.ssh import Reach
from distml.launch.files.yaml_file import read_yaml

__all__ = ["ask_warden", "head_reach", "main", "start_warden"]

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_MODULES = ("limits", "machines", "stopping", "warden")
_SENT = (_ROOT / "errors.py", *(_HERE / f"{name}.py" for name in _MODULES))
"""What a warden consists of."""


def main(arguments: list[str]) -> int:
    """Carry the orders out; 0 if the cluster is up. `bring` false: only tell how it is reached."""
    orders = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        answer = {"reach": asdict(_carry_out(orders))}
    except DistmlError as error:
        answer = {"error": str(error), "exit_code": error.exit_code}
    except (Exception, SystemExit) as error:
        answer = {"error": " ".join(str(error).split()) or type(error).__name__, "exit_code": 1}
    path = Path(arguments[0])
    path.with_suffix(".new").write_text(json.dumps(answer), encoding="utf-8")
    path.with_suffix(".new").replace(path)
    return 0 if "reach" in answer else 1


def _carry_out(orders: Mapping[str, Any]) -> Reach:
    from ray.autoscaler import sdk

    os.chdir(orders["folder"])
    if orders["bring"]:
        resolved = sdk.create_or_update_cluster(orders["file"], no_config_cache=True)
    else:
        resolved = sdk.bootstrap_config(read_yaml(Path(orders["file"])))
    reach = head_reach(resolved, known_hosts=orders["known_hosts"])
    if orders["bring"]:
        start_warden(reach, orders["plan"])
    return reach


def head_reach(config: Mapping[str, Any], *, known_hosts: str | None = None) -> Reach:
    """How SSH comes to the head of a cluster that is up.

    Args:
        config: The cluster file with the key that Ray has made, if the file names none.
        known_hosts: File for the keys of hosts that were never seen before.

    Raises:
        LaunchError: the provider has no head of that name.
    """
    provider, auth = config["provider"], config["auth"]
    if provider["type"] == "local":
        address = provider.get("external_head_ip") or provider["head_ip"]
    else:
        heads = [one for one in machines(config) if one.is_head and one.runs]
        if not heads or heads[0].address is None:
            raise LaunchError(f"cluster {config['cluster_name']} has no head with an address")
        address = heads[0].address
    return Reach(
        user=auth["ssh_user"],
        address=address,
        key=auth.get("ssh_private_key"),
        proxy=auth.get("ssh_proxy_command"),
        known_hosts=None if provider["type"] == "local" else known_hosts,
    )


def start_warden(reach: Reach, plan: Mapping[str, Any]) -> None:
    """Send the warden to a head, tell it what to keep, and have it watch if it does not yet.

    Args:
        reach: The head.
        plan: Fields of `limits.Plan`; with `fresh`, of a cluster that was just started.

    Raises:
        UserError: the head is not reached.
        LaunchError: it cannot start there.
    """
    told = shlex.quote(json.dumps(dict(plan)))
    run = "python -m distml.launch.clouds.warden"
    # Whatever kills it, want of memory above all: it is there again.
    watch = shlex.quote(f"until {run} watch; do sleep 5; done")
    ask_warden(
        reach,
        plan["cluster"],
        f"{run} set {told} && (setsid nohup sh -c {watch} >> warden.log 2>&1 < /dev/null &)",
        send=True,
    )


def ask_warden(
    reach: Reach, cluster: str, command: str, *, send: bool = False, timeout_s: float = 60.0
) -> str:
    """Run something in the warden's folder on the head.

    Args:
        reach: The head.
        cluster: Name of the cluster.
        command: Words for a shell.
        send: Send the warden's code first.
        timeout_s: Seconds it may take.

    Returns:
        What it printed.

    Raises:
        UserError: the head is not reached.
        LaunchError: the command fails.
    """
    folder = f"~/.distml/{shlex.quote(cluster)}"
    if not send:
        return reach.run(f"cd {folder} && {command}", timeout_s=timeout_s)
    enter = f"mkdir -p {folder} && cd {folder} && tar -xzf -"
    return reach.run(f"{enter} && {command}", content=_code(), timeout_s=timeout_s)


def _code() -> bytes:
    """The warden's files as a package of their own."""
    packages = (_ROOT, _HERE.parent, _HERE)
    parts = {folder / "__init__.py": b"" for folder in packages}
    parts.update((path, path.read_bytes()) for path in _SENT)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in parts.items():
            entry = tarfile.TarInfo(str(path.relative_to(_ROOT.parent)))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
