"""What each provider of machines asks of a cluster file, beyond what holds for all of them.

One decision: a provider is a row of a table: the keys it knows, the keys it must have, and a check.
A provider that is not in the table (a module of one's own) is taken as it is.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distml.launch.files.cluster_rules import AUTOSCALER_KEYS
from distml.launch.files.findings import (
    Findings,
    commands_of,
    did_you_mean,
    each_string,
    items_of,
    key_set,
    mapping_of,
)
from distml.launch.files.node_config import (
    check_arm,
    check_compute,
    check_region,
    check_run_instances,
    scheduling_of,
)

__all__ = ["PROVIDERS", "Provider", "check_provider", "instance_type_of", "is_spot"]

_Config = dict[str, Any]


def check_provider(config: _Config, found: Findings) -> None:
    """Hold `provider`, `auth` and every `node_config` against what the provider asks."""
    section = config["provider"]
    kind = section["type"]
    if kind == "external":
        return
    if kind not in PROVIDERS:
        hint = did_you_mean(kind, PROVIDERS)
        known = ", ".join(PROVIDERS)
        found.refuse("provider.type", f"{kind!r} is not one of {known} or external{hint}")
        return
    provider = PROVIDERS[kind]
    found.unknown("provider", list(section), provider.keys | AUTOSCALER_KEYS | {"type"})
    for key in provider.required:
        if section.get(key) in (None, ""):
            found.refuse(f"provider.{key}", "is missing")
    if "ssh_user" not in mapping_of(config.get("auth")):
        found.refuse("auth.ssh_user", "is missing")
    if section.get("cache_stopped_nodes", provider.stops_by_default) is not False:
        found.refuse(
            "provider.cache_stopped_nodes",
            "is not false: machines would be stopped instead of ended, their disks paid for",
        )
    provider.check(config, found)


def is_spot(node_config: Mapping[str, Any]) -> bool:
    """Whether the provider may take such a machine away: AWS, Google Cloud or Azure."""
    market = mapping_of(node_config.get("InstanceMarketOptions"))
    scheduling = scheduling_of(node_config)
    arm = mapping_of(node_config.get("azure_arm_parameters"))
    return (
        market.get("MarketType") == "spot"
        or scheduling.get("provisioningModel") == "SPOT"
        or scheduling.get("preemptible") is True
        or str(arm.get("priority", "")).lower() in ("spot", "low")
    )


def instance_type_of(node_config: Mapping[str, Any]) -> str | None:
    """The provider's name of such a machine. `None`: none is said."""
    arm = mapping_of(node_config.get("azure_arm_parameters"))
    named = node_config.get("InstanceType") or node_config.get("machineType") or arm.get("vmSize")
    return str(named).rpartition("/")[2] if named else None


def _check_aws(config: _Config, found: Findings) -> None:
    section = config["provider"]
    if "aws_credentials" in section:
        found.refuse("provider.aws_credentials", "keys do not belong into a file: log in instead")
    if section.get("region") not in (None, ""):
        check_region("provider.region", str(section["region"]), found)
    _check_zones(section, found)
    has_key = "ssh_private_key" in mapping_of(config.get("auth"))
    for name, where, node_config in _node_configs(config):
        check_run_instances(where, node_config, found)
        groups = ("SecurityGroupIds", "NetworkInterfaces", "LaunchTemplate")
        if not any(node_config.get(key) for key in groups):
            found.refuse(
                f"{where}.SecurityGroupIds",
                "is missing: Ray would make a group that opens SSH to the world",
            )
        if has_key and not {"KeyName", "UserData"} & node_config.keys():
            found.refuse(
                f"{where}.KeyName", "is missing: auth.ssh_private_key would fit no machine"
            )
        if "InstanceType" not in node_config and "LaunchTemplate" not in node_config:
            found.refuse(f"{where}.InstanceType", "is missing")
        if "ImageId" not in node_config and "LaunchTemplate" not in node_config:
            found.warn(f"{where}.ImageId", "is missing: Ray takes Ubuntu 18.04")
        if "IamInstanceProfile" not in node_config:
            what = "may do all in EC2 and S3" if name == config.get("head_node_type") else "is none"
            found.warn(f"{where}.IamInstanceProfile", f"is missing: Ray's own {what}")
        # account/aws.yaml gives that role the machines of such clusters, no others.
        profile = mapping_of(node_config.get("IamInstanceProfile")).get("Name")
        if profile == "distml-head" and not str(config.get("cluster_name")).startswith("distml"):
            found.warn("cluster_name", "is not distml*: the role distml-head may start no workers")
        if mapping_of(node_config.get("MetadataOptions")).get("HttpTokens") != "required":
            found.warn(f"{where}.MetadataOptions", "HttpTokens is not required: IMDSv1 is open")
        if node_config.get("InstanceInitiatedShutdownBehavior") != "terminate":
            found.warn(
                f"{where}.InstanceInitiatedShutdownBehavior",
                "is not terminate: a machine that shuts itself down keeps its paid disk",
            )
        for mapping in items_of(node_config.get("BlockDeviceMappings")):
            if mapping_of(mapping_of(mapping).get("Ebs")).get("DeleteOnTermination") is False:
                found.warn(f"{where}.BlockDeviceMappings", "its disk outlives the machine")


def _check_gcp(config: _Config, found: Findings) -> None:
    section = config["provider"]
    if "gcp_credentials" in section:
        found.refuse("provider.gcp_credentials", "keys do not belong into a file: log in instead")
    _check_zones(section, found)
    if "," in str(section.get("availability_zone")):
        found.refuse(
            "provider.availability_zone",
            f"{section['availability_zone']!r} is not one zone: Ray knows one on Google Cloud",
        )
    _check_labels(config, found)
    for _, where, node_config in _node_configs(config):
        _check_places(where, node_config, section, found)
        if "machineType" not in node_config:
            if "acceleratorType" not in node_config and "acceleratorConfig" not in node_config:
                hints = [did_you_mean(key, ["machineType"]) for key in node_config]
                found.refuse(f"{where}.machineType", f"is missing{''.join(hints)}")
            continue
        check_compute(where, node_config, found)
        if "networkInterfaces" not in node_config:
            found.warn(
                f"{where}.networkInterfaces",
                "is missing: Ray takes the first network, and the default one opens SSH to all",
            )
        if "serviceAccounts" not in node_config:
            found.warn(f"{where}.serviceAccounts", "is missing: workers have none, the head Ray's")
        for disk in items_of(node_config.get("disks")):
            if mapping_of(disk).get("autoDelete") is not True:
                found.warn(f"{where}.disks", "autoDelete is not true: a disk outlives its machine")


def _check_labels(config: _Config, found: Findings) -> None:
    """Names that become labels of Google Cloud, and that of the cluster its machines' names."""
    name = str(config.get("cluster_name"))
    # Of the 63 letters of a machine's name Ray takes 28: ray-NAME-worker-12345678-compute.
    if not re.fullmatch(r"[a-z0-9-]{1,35}", name):
        found.refuse(
            "cluster_name",
            f"{name!r} is not made of up to 35 small letters, digits and hyphens (Google Cloud)",
        )
    for node_type in mapping_of(config.get("available_node_types")):
        if not re.fullmatch(r"[a-z0-9_-]{1,63}", node_type):
            found.refuse(
                f"available_node_types.{node_type}",
                "Google Cloud takes small letters, digits, hyphens and underscores alone",
            )


def _check_places(
    where: str, node_config: _Config, section: Mapping[str, Any], found: Findings
) -> None:
    """Disks and whatever else is named with its zone have to be where the machine is."""
    for path, text in each_string(node_config, where):
        for key, pattern in _PLACES.items():
            other, own = re.fullmatch(pattern, text), section.get(key)
            if other is not None and own and other[1] != own:
                found.refuse(path, f"is in {other[1]}, but provider.{key} is {own}")


_PLACES = {
    "availability_zone": r"(?:\S*/)?zones/([^/\s]+)/\S+",
    "region": r"(?:\S*/)?regions/([^/\s]+)/subnetworks/\S+",
}


def _check_azure(config: _Config, found: Findings) -> None:
    auth = mapping_of(config.get("auth"))
    for one, other in (
        ("ssh_private_key", "ssh_public_key"),
        ("ssh_public_key", "ssh_private_key"),
    ):
        if one in auth and other not in auth:
            found.refuse(f"auth.{other}", f"is missing: {one} and {other} go together")
    for _, where, node_config in _node_configs(config):
        found.unknown(where, list(node_config), {"azure_arm_parameters", "tags"})
        parameters = node_config.get("azure_arm_parameters")
        if not isinstance(parameters, dict) or "vmSize" not in parameters:
            found.refuse(f"{where}.azure_arm_parameters.vmSize", "is missing")
            continue
        check_arm(f"{where}.azure_arm_parameters", parameters, found)
        if is_spot(node_config) and parameters.get("evictionPolicy", "Delete") != "Delete":
            found.warn(f"{where}.azure_arm_parameters.evictionPolicy", "its disk is paid for on")
    closes = "ufw" in " ".join(commands_of(config, "initialization_commands"))
    if not closes and not config["provider"].get("use_internal_ips"):
        found.refuse(
            "initialization_commands",
            "Ray's network group opens SSH to the world: close it there with ufw, "
            "or say provider.use_internal_ips: true",
        )


def _check_local(config: _Config, found: Findings) -> None:
    section = config["provider"]
    if "coordinator_address" in section:
        found.refuse("provider.coordinator_address", "its server takes orders from anybody")
    workers = [str(address) for address in items_of(section.get("worker_ips"))]
    if len(set(workers)) < len(workers):
        found.refuse("provider.worker_ips", "names a machine twice")
    if section.get("head_ip") in workers:
        found.refuse("provider.worker_ips", f"{section['head_ip']} is the head already")
    most = int(config.get("max_workers", len(workers)))
    if int(config.get("min_workers", 0)) > most:
        found.refuse("min_workers", f"is {config['min_workers']}, more than max_workers, {most}")
    if most > len(workers):
        found.refuse("max_workers", f"is {most}, but worker_ips names {len(workers)} machines")
    if "available_node_types" in config:
        found.refuse(
            "available_node_types", "machines of your own are named by head_ip, worker_ips"
        )
    if "ssh_private_key" not in mapping_of(config.get("auth")):
        found.warn("auth.ssh_private_key", "is missing: the head could not log in on workers")


def _check_zones(section: Mapping[str, Any], found: Findings) -> None:
    region = str(section.get("region") or "")
    for zone in str(section.get("availability_zone") or "").split(","):
        if region and zone.strip() and not zone.strip().startswith(region):
            found.refuse("provider.availability_zone", f"{zone.strip()} is not in {region}")


def _node_configs(config: _Config) -> list[tuple[str, str, _Config]]:
    """(type's name, where its node_config stands, the node_config) of each type."""
    types = mapping_of(config.get("available_node_types"))
    return [
        (name, f"available_node_types.{name}.node_config", mapping_of(node_type.get("node_config")))
        for name, node_type in types.items()
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """What Ray's node provider reads, and what of it has to be there."""

    keys: frozenset[str]
    required: tuple[str, ...]
    check: Callable[[_Config, Findings], None]
    stops_by_default: bool = False
    """Whether it stops machines, for later, instead of ending them, unless told."""


PROVIDERS: Mapping[str, Provider] = {
    "aws": Provider(
        keys=key_set(
            "region availability_zone cache_stopped_nodes key_pair security_group cloudwatch "
            "aws_credentials"
        ),
        required=("region",),
        check=_check_aws,
        stops_by_default=True,
    ),
    "gcp": Provider(
        keys=key_set("region availability_zone project_id cache_stopped_nodes gcp_credentials"),
        required=("region", "availability_zone", "project_id"),
        check=_check_gcp,
    ),
    "azure": Provider(
        keys=key_set(
            "location resource_group subscription_id msi_name msi_resource_group subnet_mask "
            "unique_id availability_zone cache_stopped_nodes use_external_head_ip tags"
        ),
        # Without subscription_id Ray asks a library for it that it does not bring.
        required=("location", "resource_group", "subscription_id"),
        check=_check_azure,
        stops_by_default=True,
    ),
    "local": Provider(
        keys=key_set("head_ip worker_ips external_head_ip coordinator_address"),
        required=("head_ip", "worker_ips"),
        check=_check_local,
    ),
}
"""`provider.type` → what it asks."""
