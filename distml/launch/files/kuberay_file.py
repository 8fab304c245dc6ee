"""A RayJob or RayCluster of KubeRay: what its operator, or Ray in its pods, would stumble over.

One decision: only what is Ray's own is looked at, with the keys of KubeRay v1.7. Pods belong to
Kubernetes, whose API server refuses what is wrong in them before anything runs.
"""

import re
from typing import Any

from distml.launch.files.findings import Findings, items_of, key_set, mapping_of
from distml.launch.files.nodes import ClusterShape, NodeType
from distml.launch.files.prices import PriceTable

__all__ = ["check_manifest", "manifest_shape", "quantity"]

_Manifest = dict[str, Any]

_JOB_KEYS = key_set(
    """
    activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint
    entrypointNumCpus entrypointNumGpus entrypointResources jobId managedBy metadata
    preRunningDeadlineSeconds rayClusterSpec runtimeEnvYAML shutdownAfterJobFinishes
    submissionMode submitterConfig submitterPodTemplate suspend ttlSecondsAfterFinished
    """
)
_CLUSTER_KEYS = key_set(
    """
    authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions
    headGroupSpec headServiceAnnotations historyServerOptions managedBy networkPolicy
    rayVersion suspend tlsOptions upgradeStrategy workerGroupSpecs
    """
)
_HEAD_KEYS = key_set(
    """
    enableIngress headService ingressOptions labels rayStartParams resources serviceType
    template
    """
)
_GROUP_KEYS = key_set(
    """
    groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts priority
    rayStartParams replicas resources scaleStrategy suspend template
    """
)
_JOB_NUMBERS = (
    "activeDeadlineSeconds",
    "backoffLimit",
    "preRunningDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
_UNITS = {
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def check_manifest(manifest: _Manifest, found: Findings) -> None:
    """Hold it against what the operator asks, and against what would open the cluster."""
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    if kind not in ("RayJob", "RayCluster") or version != "ray.io/v1":
        found.refuse("kind", f"is {kind!r} of {version!r}, not a RayJob or RayCluster of ray.io/v1")
        return
    name = str(mapping_of(manifest.get("metadata")).get("name") or "")
    # Names of services: DNS-1035 labels, of which the operator makes longer ones.
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?", name):
        found.refuse("metadata.name", f"{name!r} is not up to 47 small letters, digits and hyphens")
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        found.refuse("spec", "is missing")
        return
    where = "spec"
    if kind == "RayJob":
        found.unknown(where, list(spec), _JOB_KEYS)
        _check_job(spec, found)
        where, spec = "spec.rayClusterSpec", spec.get("rayClusterSpec")
    if not isinstance(spec, dict):
        found.refuse(where, "is missing: it says which machines there are")
        return
    _check_cluster(where, spec, found)


def manifest_shape(manifest: _Manifest, table: PriceTable, found: Findings) -> ClusterShape:
    """The pods as machines. Prices are looked up by the names of the groups."""
    spec = manifest["spec"]
    where = "spec"
    if manifest["kind"] == "RayJob":
        where, spec = "spec.rayClusterSpec", spec["rayClusterSpec"]
    head = {**spec["headGroupSpec"], "groupName": "head", "minReplicas": 1, "maxReplicas": 1}
    groups = [(f"{where}.headGroupSpec", head)]
    for number, group in enumerate(items_of(spec.get("workerGroupSpecs"))):
        groups.append((f"{where}.workerGroupSpecs[{number}]", group))
    types = tuple(_node_type(place, group, table, found) for place, group in groups)
    return ClusterShape(
        name=manifest["metadata"]["name"],
        provider="kuberay",
        node_types=types,
        max_workers=sum(each.max_count for each in types if not each.is_head),
    )


def quantity(text: str | float) -> float:
    """A quantity of Kubernetes: `500m`, `30Gi`, `8`.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti|)", str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 500m, 8 or 30Gi")
    return float(match[1]) * _UNITS[match[2]]


def _check_job(spec: _Manifest, found: Findings) -> None:
    if not spec.get("entrypoint"):
        found.refuse("spec.entrypoint", "is missing")
    for key in _JOB_NUMBERS:
        if key in spec and not isinstance(spec[key], int):
            found.refuse(f"spec.{key}", f"is {spec[key]!r}, not a number")
            return
    mode = spec.get("submissionMode", "K8sJobMode")
    if mode not in _MODES:
        found.refuse("spec.submissionMode", f"{mode!r} is not one of {', '.join(_MODES)}")
    if "clusterSelector" in spec:
        if "rayClusterSpec" in spec:
            found.refuse("spec", "has both clusterSelector and rayClusterSpec: one of them")
        if spec.get("backoffLimit"):
            found.refuse("spec.backoffLimit", "does not go with clusterSelector")
        return
    if spec.get("shutdownAfterJobFinishes") is not True:
        found.refuse("spec.shutdownAfterJobFinishes", "is not true: its pods would never go")
    if "ttlSecondsAfterFinished" in spec and spec["ttlSecondsAfterFinished"] > 3600:
        found.warn("spec.ttlSecondsAfterFinished", "pods are paid for longer than an hour after")
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if key not in spec:
            found.warn(f"spec.{key}", "is missing: nothing ends a job that hangs")


def _check_cluster(where: str, spec: _Manifest, found: Findings) -> None:
    found.unknown(where, list(spec), _CLUSTER_KEYS)
    if mapping_of(spec.get("authOptions")).get("mode") != "token":
        found.refuse(
            f"{where}.authOptions.mode",
            "is not token: anybody who reaches a pod could run what they like",
        )
    version = [int(part) for part in re.findall(r"\d+", str(spec.get("rayVersion", "")))[:2]]
    if version < [2, 52]:
        found.refuse(f"{where}.rayVersion", "has to be said, and tokens are there from 2.52 on")
    scales = spec.get("enableInTreeAutoscaling") is True
    if scales and mapping_of(spec.get("autoscalerOptions")).get("version") != "v2":
        found.warn(f"{where}.autoscalerOptions.version", "is not v2")
    head = spec.get("headGroupSpec")
    if isinstance(head, dict):
        found.unknown(f"{where}.headGroupSpec", list(head), _HEAD_KEYS)
        _check_start(f"{where}.headGroupSpec", head, found)
    else:
        found.refuse(f"{where}.headGroupSpec", "is missing")
    names = []
    for number, group in enumerate(items_of(spec.get("workerGroupSpecs"))):
        place = f"{where}.workerGroupSpecs[{number}]"
        if not isinstance(group, dict):
            found.refuse(place, "is not a mapping")
            continue
        found.unknown(place, list(group), _GROUP_KEYS)
        _check_group(place, group, scales, found)
        names.append(str(group.get("groupName")))
    if len(set(names)) < len(names):
        found.refuse(f"{where}.workerGroupSpecs", "two groups have one name")


def _check_group(where: str, group: _Manifest, scales: bool, found: Findings) -> None:
    name = str(group.get("groupName") or "")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        found.refuse(f"{where}.groupName", f"{name!r} is not small letters, digits and hyphens")
    for key in ("minReplicas", "maxReplicas"):
        if not isinstance(group.get(key), int):
            found.refuse(f"{where}.{key}", "is missing, or no number")
            return
    least, most = group["minReplicas"], group["maxReplicas"]
    if least > most:
        found.refuse(where, f"minReplicas is {least}, more than maxReplicas, which is {most}")
    now = group.get("replicas", least)
    if not isinstance(now, int) or not least <= now <= most:
        found.refuse(f"{where}.replicas", f"is {now}, not from {least} to {most}")
    if least < most and not scales:
        found.refuse(f"{where}.maxReplicas", "is never reached: say enableInTreeAutoscaling: true")
    _check_start(where, group, found)


def _check_start(where: str, group: _Manifest, found: Findings) -> None:
    for key, value in mapping_of(group.get("rayStartParams")).items():
        if not isinstance(value, str):
            found.refuse(f"{where}.rayStartParams.{key}", f'is {value!r}: texts only: "{value}"')
    pod = mapping_of(mapping_of(group.get("template")).get("spec"))
    containers = items_of(pod.get("containers"))
    if not containers or not isinstance(containers[0], dict):
        found.refuse(f"{where}.template.spec.containers", "is missing")


def _node_type(where: str, group: _Manifest, table: PriceTable, found: Findings) -> NodeType:
    """A pod; the first container is Ray's, and its limits are what Ray has to give away."""
    name, pod = str(group["groupName"]), group["template"]["spec"]
    container = pod["containers"][0]
    said = mapping_of(container.get("resources"))
    limits = {**mapping_of(said.get("requests")), **mapping_of(said.get("limits"))}
    params = mapping_of(group.get("rayStartParams"))
    price = table.find("kuberay", None, name)
    try:
        cpus = quantity(params.get("num-cpus", limits.get("cpu", "")))
        memory = quantity(limits["memory"]) if "memory" in limits else None
        gpu = next((value for key, value in limits.items() if key.endswith("/gpu")), 0)
        gpus = quantity(params.get("num-gpus", gpu))
    except ValueError as error:
        place = f"{where}.template.spec.containers[0].resources"
        found.refuse(place, f"{error}: limits say what a pod has")
        cpus, memory, gpus = 0.0, None, 0.0
    if memory is None:
        found.warn(f"{where}.template.spec.containers[0].resources", "no limit of memory")
    spot = "spot" in str(pod.get("tolerations", "")) + str(pod.get("nodeSelector", ""))
    return NodeType(
        name=name,
        num_cpus=cpus,
        num_gpus=gpus,
        memory_bytes=None if memory is None else int(memory),
        min_count=int(group["minReplicas"]),
        max_count=int(group["maxReplicas"]),
        is_head=where.endswith("headGroupSpec"),
        is_spot=spot,
        price_per_hour=None if price is None else price.per_hour(spot=spot),
    )
