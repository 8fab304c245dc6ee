"""The machines that a provider runs for clusters of Ray: which there are, and how to end them.

One decision: the provider is asked each time and nothing is remembered, so that what costs money is
what is seen. This file goes to the heads of clusters too, before any job has brought distml: it
imports nothing else of it but the errors, and each provider's library when that is asked.
"""

import datetime
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distml.errors import UserError

__all__ = ["Machine", "all_machines", "local_state_files", "machines", "terminate"]

_NAME, _KIND, _TYPE = "ray-cluster-name", "ray-node-type", "ray-user-node-type"
# Ray has one type for all of one's own machines; prices name the head apart.
_OWN_HEAD, _OWN_WORKER = "head", "local.cluster.node"
# Stopped ones run nothing and are paid for: their disks.
_STATES = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine that belongs to a cluster."""

    machine_id: str
    """The provider's name of it."""
    cluster: str
    """Name of the cluster."""
    node_type: str
    """As in `available_node_types`; empty if it does not say."""
    is_head: bool
    """Whether it is the head."""
    address: str | None
    """Where SSH finds it; `None` while it has none."""
    state: str = "running"
    """pending, running, stopping or stopped."""
    started_at: float | None = None
    """Unix seconds, if the provider tells."""

    @property
    def runs(self) -> bool:
        """Whether it runs or is about to."""
        return self.state in ("pending", "running")


def machines(config: Mapping[str, Any]) -> list[Machine]:
    """The machines of one cluster, the head first.

    Args:
        config: The cluster file as read, or as its head has it.

    Raises:
        UserError: the provider cannot be asked: no credentials, no library, no such region.
    """
    name = config["cluster_name"]
    kind = config["provider"]["type"]
    if kind == "aws":
        found = [one for one in all_machines(config) if one.cluster == name]
    elif kind == "local":
        found = _local_machines(config)
    else:
        found = _ray_machines(config)
    return sorted(found, key=lambda one: (not one.is_head, one.machine_id))


def all_machines(config: Mapping[str, Any]) -> list[Machine]:
    """The machines of every Ray cluster in a file's account and region, as far as it can be asked.

    Raises:
        UserError: as `machines`.
    """
    if config["provider"]["type"] != "aws":
        return machines(config)
    internal = bool(config["provider"].get("use_internal_ips"))
    filters = [
        {"Name": "tag-key", "Values": [_NAME]},
        {"Name": "instance-state-name", "Values": list(_STATES)},
    ]
    pages = _ec2(config).get_paginator("describe_instances").paginate(Filters=filters)
    found = _asked(
        lambda: [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    )
    return [_of_instance(instance, internal) for instance in found]


def terminate(config: Mapping[str, Any], machine_ids: Iterable[str]) -> None:
    """End machines for good; returns when the provider has taken that.

    Raises:
        UserError: it refuses.
    """
    ids = list(machine_ids)
    kind = config["provider"]["type"]
    if not ids:
        return
    if kind == "aws":
        _asked(lambda: _ec2(config).terminate_instances(InstanceIds=ids))
    elif kind != "local":
        _asked(lambda: _ray_provider(config).terminate_nodes(ids))


def local_state_files(config: Mapping[str, Any]) -> list[Path]:
    """Where Ray notes which of one's own machines it uses."""
    folder = Path(os.environ.get("RAY_TMPDIR") or "/tmp", "ray")
    return [folder / f"cluster-{config['cluster_name']}.{end}" for end in ("state", "lock")]


def _of_instance(instance: Mapping[str, Any], internal: bool) -> Machine:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
    launched = instance.get("LaunchTime")
    # Of machines on addresses of their own only, the public one leads nowhere.
    return Machine(
        machine_id=instance["InstanceId"],
        cluster=tags.get(_NAME, ""),
        node_type=tags.get(_TYPE, ""),
        is_head=tags.get(_KIND) == "head",
        address=instance.get("PrivateIpAddress" if internal else "PublicIpAddress"),
        state=instance["State"]["Name"],
        started_at=launched.timestamp() if isinstance(launched, datetime.datetime) else None,
    )


def _ec2(config: Mapping[str, Any]) -> Any:
    try:
        import boto3
        import botocore.config
    except ImportError:
        raise UserError("clusters on AWS need boto3: pip install 'distml[aws]'") from None

    given = config["provider"].get("aws_credentials") or {}
    session = _asked(lambda: boto3.session.Session(**given))
    if session.get_credentials() is None:
        raise UserError(
            "no credentials for AWS: run aws configure, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        )
    brief = botocore.config.Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 3})
    return session.client("ec2", region_name=config["provider"]["region"], config=brief)


def _asked(request: Any) -> Any:
    """What the provider answers, its refusals in one line."""
    try:
        return request()
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the provider refuses: {said}") from error


def _local_machines(config: Mapping[str, Any]) -> list[Machine]:
    """Those that Ray uses, as the head of the cluster knows."""
    try:
        noted = json.loads(local_state_files(config)[0].read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    found = []
    for address, told in noted.items():
        if told.get("state") == "running":
            is_head = told.get("tags", {}).get(_KIND) == "head"
            found.append(
                Machine(
                    machine_id=address,
                    cluster=config["cluster_name"],
                    node_type=_OWN_HEAD if is_head else _OWN_WORKER,
                    is_head=is_head,
                    address=told.get("external_ip") or address,
                )
            )
    return found


def _ray_machines(config: Mapping[str, Any]) -> list[Machine]:
    provider = _ray_provider(config)
    internal = bool(config["provider"].get("use_internal_ips"))
    found = []
    for machine_id in _asked(lambda: provider.non_terminated_nodes({})):
        tags = provider.node_tags(machine_id)
        address = provider.internal_ip if internal else provider.external_ip
        found.append(
            Machine(
                machine_id=machine_id,
                cluster=config["cluster_name"],
                node_type=tags.get(_TYPE, ""),
                is_head=tags.get(_KIND) == "head",
                address=address(machine_id),
            )
        )
    return found


def _ray_provider(config: Mapping[str, Any]) -> Any:
    """Ray's own way to a provider, which knows Google Cloud, Azure and vSphere."""
    from ray.autoscaler._private.providers import _get_node_provider

    kind = config["provider"]["type"]
    try:
        return _get_node_provider(dict(config["provider"]), config["cluster_name"])
    except ImportError as error:
        raise UserError(
            f"clusters on {kind} need a library that is missing: {error.name or error}"
        ) from None
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{kind} cannot be asked: {said}") from error
