"""What every cluster file of Ray has to say, whoever runs its machines, and Ray does not check.

One decision: a file is refused for what would fail on machines that are paid for already, or would
open the cluster to strangers; what only costs more or takes longer is a warning.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distml.launch.files.findings import Findings, commands_of, did_you_mean, each_string

__all__ = ["AUTOSCALER_KEYS", "check_cluster", "check_local_files", "check_placeholders"]

AUTOSCALER_KEYS = frozenset(
    {
        "disable_launch_config_check",
        "disable_node_updaters",
        "foreground_node_launch",
        "use_internal_ips",
        "use_node_id_as_ip",
        "worker_liveness_check",
        "worker_rpc_drain",
    }
)
"""Keys under `provider` that Ray reads whoever the provider is."""

_RESOURCES = ("CPU", "GPU", "TPU", "memory", "object_store_memory")
_UNMEASURED = ("gcp", "azure")
"""Providers that tell Ray nothing of their machines: the autoscaler knows what the file says."""
_TOKEN = ".ray/auth_token"
_NEAR_NOTHING = frozenset({"cpus", "gpus", "num_cpus", "num_gpus", "mem"})


def check_cluster(config: dict[str, Any], found: Findings) -> None:
    """Hold a cluster file that fits Ray's schema against the rules common to all providers."""
    name = str(config["cluster_name"])
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,62}", name):
        found.refuse(
            "cluster_name", f"{name!r} is not made of up to 63 letters, digits and hyphens"
        )
    if float(config.get("idle_timeout_minutes", 5)) > 60:
        found.warn("idle_timeout_minutes", "idle machines are paid for longer than an hour")
    if "available_node_types" in config:
        _check_types(config, found)
    _check_commands(config, found)


def check_placeholders(config: Mapping[str, Any], found: Findings) -> None:
    """Find what the shipped files leave to their user: names that are his own."""
    for path, text in each_string(dict(config)):
        if "YOUR-" in text:
            found.refuse(path, f"{text!r} still has a placeholder: put your own in its place")


def check_local_files(config: Mapping[str, Any], found: Findings) -> None:
    """Look for the files on this machine that the cluster file names."""
    for remote, local in (config.get("file_mounts") or {}).items():
        if Path(str(local)).expanduser().exists():
            continue
        where = f"file_mounts.{remote}"
        if str(local).endswith(_TOKEN):
            found.refuse(where, f"{local} is not here: say ray get-auth-token --generate")
        else:
            found.refuse(where, f"{local} is not here ({Path.cwd()}): go to the folder that has it")
    for key in ("ssh_private_key", "ssh_public_key"):
        path = (config.get("auth") or {}).get(key)
        if path is not None and not Path(path).expanduser().is_file():
            found.refuse(f"auth.{key}", f"{path} is not here")


def _check_types(config: dict[str, Any], found: Findings) -> None:
    types = config["available_node_types"]
    head = config.get("head_node_type")
    if head not in types:
        said = "is missing" if head is None else f"is {head!r}"
        hint = did_you_mean(str(head), types)
        found.refuse("head_node_type", f"{said}, not one of {', '.join(types)}{hint}")
    most = int(config.get("max_workers", 2))
    if "max_workers" not in config:
        found.warn("max_workers", "is missing: Ray takes 2")
    least = 0
    for name, node_type in types.items():
        where = f"available_node_types.{name}"
        fewest = int(node_type.get("min_workers", 0))
        own_most = int(node_type.get("max_workers", 0 if name == head else most))
        if fewest < 0 or own_most < 0:
            found.refuse(where, "min_workers and max_workers cannot be negative")
        if fewest > own_most:
            found.refuse(
                where, f"min_workers is {fewest}, more than its max_workers, which is {own_most}"
            )
        least += fewest
        resources = node_type.get("resources") or {}
        _check_resources(f"{where}.resources", resources, found)
        if own_most > 0 and config["provider"]["type"] in _UNMEASURED:
            for missing in sorted({"CPU", "memory"} - resources.keys()):
                found.refuse(
                    f"{where}.resources.{missing}",
                    "is missing: Ray knows it on AWS alone, and starts none for work that asks it",
                )
    if least > most:
        found.refuse("max_workers", f"is {most}, less than the {least} of all min_workers")


def _check_resources(where: str, resources: Mapping[str, Any], found: Findings) -> None:
    for name, amount in resources.items():
        right = {known.lower(): known for known in _RESOURCES}.get(name.lower())
        if right is not None and right != name:
            found.refuse(f"{where}.{name}", f"Ray takes this for a resource of your own: {right}")
        elif name.lower() in _NEAR_NOTHING:
            meant = "GPU" if "gpu" in name.lower() else "CPU" if "cpu" in name.lower() else "memory"
            found.refuse(f"{where}.{name}", f"Ray takes this for a resource of your own: {meant}")
        elif isinstance(amount, bool):
            found.refuse(f"{where}.{name}", f"is {amount}, not a number")


def _check_commands(config: dict[str, Any], found: Findings) -> None:
    """The start commands: the head's autoscaler, the dashboard, and the token on both sides."""
    if config["provider"]["type"] == "external" and not config.get("head_start_ray_commands"):
        return
    head, where = commands_of(config, "head_start_ray_commands"), "head_start_ray_commands"
    start = _start_of(head)
    if start is None:
        found.refuse(
            where,
            "no `ray start`: Ray's own commands would open the dashboard to all, without a token",
        )
    else:
        if "--head" not in start.split():
            found.refuse(where, "`ray start` lacks --head: no cluster would start")
        if "--autoscaling-config" not in start:
            found.refuse(
                where,
                "`ray start` lacks --autoscaling-config=~/ray_bootstrap_config.yaml: "
                "no worker would ever start",
            )
        host = re.search(r"--dashboard-host[= ]\s*([^\s;]+)", start)
        if host is not None and host[1].strip("'\"") not in ("127.0.0.1", "localhost", "::1"):
            found.refuse(where, f"--dashboard-host={host[1]} opens the dashboard: say 127.0.0.1")
        _check_token(where, head, found)
        if "RAY_health_check_period_ms" not in " ".join(head):
            found.warn(where, "no RAY_health_check_*: a node that has gone is noticed late")
        _check_metrics(where, head, found)
    worker, where = commands_of(config, "worker_start_ray_commands"), "worker_start_ray_commands"
    start = _start_of(worker)
    if start is None:
        found.refuse(
            where, "no `ray start`: Ray's own commands would start workers without a token"
        )
    else:
        if "--head" in start.split():
            found.refuse(where, "`ray start` has --head: each worker would be a cluster of its own")
        if "--address" not in start:
            found.refuse(where, "`ray start` lacks --address=$RAY_HEAD_IP:6379")
        _check_token(where, worker, found)
        if "RAY_grpc_client_keepalive_time_ms" not in " ".join(worker):
            found.warn(where, "no RAY_grpc_client_keepalive_time_ms: a silent link holds tasks up")
        _check_metrics(where, worker, found)
    _check_token_file(config, found)


def _start_of(commands: list[str]) -> str | None:
    """The `ray start` among commands, with its arguments."""
    for command in commands:
        start = re.search(r"\bray start\b[^;&|]*", command)
        if start is not None:
            return start[0]
    return None


def _check_token(where: str, commands: list[str], found: Findings) -> None:
    """`RAY_AUTH_MODE=token` has to be exported in the same command, before `ray start`."""
    for command in commands:
        before, start, _ = command.partition("ray start")
        if start and not re.search(r"\bRAY_AUTH_MODE=[\"']?token\b", before):
            found.refuse(
                where,
                "no `export RAY_AUTH_MODE=token;` before `ray start`: "
                "anybody who reaches a node could run what they like",
            )


def _check_metrics(where: str, commands: list[str], found: Findings) -> None:
    if not re.search(r"\bRAY_enable_metrics_collection=[\"']?(0|false)\b", " ".join(commands)):
        found.warn(
            where,
            "no RAY_enable_metrics_collection=0: metrics, with names of jobs and users, "
            "are served without a token",
        )


def _check_token_file(config: dict[str, Any], found: Findings) -> None:
    mounts = config.get("file_mounts") or {}
    if not any(str(remote).endswith(_TOKEN) for remote in mounts):
        found.refuse("file_mounts", f"no token: write ~/{_TOKEN}: ~/{_TOKEN}")
        return
    setup = " ".join(commands_of(config, "setup_commands"))
    if not re.search(rf"chmod\s+(0?[46]00|go-rwx|u=rw?,go=)\s[^;&]*{re.escape(_TOKEN)}", setup):
        found.warn("setup_commands", f"no chmod 600 ~/{_TOKEN}: all users of a node can read it")
