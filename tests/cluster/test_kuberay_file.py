"""Each mistake in a manifest of KubeRay gets its line; a right one is read as machines."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from distml.errors import UserError
from distml.launch.files.cluster_file import read_cluster_file
from distml.launch.files.kuberay_file import quantity
from tests.cluster.test_mistakes import CLUSTER, Edit, drop, put, rename, write

RAY = "spec.rayClusterSpec"


@pytest.fixture(scope="module")
def right() -> Any:
    return yaml.safe_load((CLUSTER / "kuberay.yaml").read_text(encoding="utf-8"))


def in_group(where: str, value: Any) -> Edit:
    """Set what stands in the first worker group."""

    def edit(config: dict[str, Any]) -> None:
        put(where, value)(config["spec"]["rayClusterSpec"]["workerGroupSpecs"][0])

    return edit


def in_container(where: str, value: Any) -> Edit:
    """Set what stands in its container."""

    def edit(config: dict[str, Any]) -> None:
        group = config["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
        put(where, value)(group["template"]["spec"]["containers"][0])

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("kind", "RayService"), "kind: is 'RayService' of 'ray.io/v1', not a RayJob"),
        (put("apiVersion", "ray.io/v1alpha1"), "not a RayJob or RayCluster of ray.io/v1"),
        (put("metadata", {"name": "My_Job"}), "metadata.name: 'My_Job' is not up to 47"),
        (put("metadata", {"name": "x" * 48}), "metadata.name"),
        (drop("spec"), "spec: is missing"),
        (drop("spec.entrypoint"), "spec.entrypoint: is missing"),
        (rename("spec.entrypoint", "entryPoint"), "spec.entryPoint: unknown: did you mean entry"),
        (put("spec.submissionMode", "HttpMode"), "submissionMode: 'HttpMode' is not one of"),
        (drop("spec.shutdownAfterJobFinishes"), "its pods would never go"),
        (put("spec.clusterSelector", {"a": "b"}), "both clusterSelector and rayClusterSpec"),
        (put("spec.activeDeadlineSeconds", "4h"), "is '4h', not a number"),
        (drop(RAY), "spec.rayClusterSpec: is missing"),
        (drop(f"{RAY}.authOptions"), "anybody who reaches a pod could run what they like"),
        (put(f"{RAY}.authOptions.mode", "disabled"), "authOptions.mode: is not token"),
        (put(f"{RAY}.rayVersion", "2.51.0"), "tokens are there from 2.52 on"),
        (drop(f"{RAY}.rayVersion"), "rayVersion: has to be said"),
        (drop(f"{RAY}.headGroupSpec"), "headGroupSpec: is missing"),
        (put(f"{RAY}.enableInTreeAutoscaling", False), "maxReplicas: is never reached"),
        (
            put(f"{RAY}.headGroupSpec.rayStartParams", {"num-cpus": 0}),
            "rayStartParams.num-cpus: is 0: texts only",
        ),
        (rename(f"{RAY}.workerGroupSpecs", "workerGroupSpec"), "did you mean workerGroupSpecs?"),
        (in_group("maxReplica", 3), "maxReplica: unknown: did you mean maxReplicas?"),
        (in_group("minReplicas", 9), "minReplicas is 9, more than maxReplicas, which is 8"),
        (in_group("replicas", 9), r"workerGroupSpecs\[0\].replicas: is 9, not from 0 to 8"),
        (in_group("maxReplicas", None), "maxReplicas: is missing, or no number"),
        (in_group("groupName", "CPU spot"), "groupName: 'CPU spot' is not small letters"),
        (in_group("groupName", "gpu-spot"), "two groups have one name"),
        (in_group("template", {}), "template.spec.containers: is missing"),
        (in_container("resources", {}), "'' is not a quantity such as 500m"),
        (in_container("resources.limits.memory", "30 GB"), "'30 GB' is not a quantity"),
    ],
    ids=lambda value: "" if callable(value) else str(value)[:50],
)
def test_mistake_is_refused_in_one_line(
    edit: Edit, message: str, right: Any, tmp_path: Path
) -> None:
    config = copy.deepcopy(right)
    edit(config)
    with pytest.raises(UserError) as caught:
        read_cluster_file(write(config, tmp_path), to_start=False)
    assert re.search(message, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_start_asks_for_the_image(right: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"image: 'YOUR-REGISTRY/distml.* has a placeholder"):
        read_cluster_file(write(right, tmp_path))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("spec.activeDeadlineSeconds"), "nothing ends a job that hangs"),
        (drop("spec.preRunningDeadlineSeconds"), "nothing ends a job that hangs"),
        (put("spec.ttlSecondsAfterFinished", 7200), "longer than an hour"),
        (put(f"{RAY}.autoscalerOptions", {}), "is not v2"),
        (in_container("resources.limits", {"cpu": "8"}), ""),
    ],
)
def test_what_costs_more_than_it_must_is_a_warning(
    edit: Edit, message: str, right: Any, tmp_path: Path
) -> None:
    config = copy.deepcopy(right)
    edit(config)
    warnings = read_cluster_file(write(config, tmp_path), to_start=False).warnings
    assert any(message in warning for warning in warnings) or not message


def test_groups_become_machines_with_what_their_pods_may_use(right: Any, tmp_path: Path) -> None:
    config = copy.deepcopy(right)
    in_group("rayStartParams", {"num-cpus": "6"})(config)
    path = write(config, tmp_path)
    with (tmp_path / "prices.csv").open("a", encoding="utf-8") as table:
        table.write("kuberay,,cpu-spot,8,30,0,0.4,0.1,2026-01-01,ours\n")
    shape = read_cluster_file(path, to_start=False).shape
    head, cpu, gpu = shape.node_types
    assert (head.is_head, head.num_cpus, head.min_count, head.max_count) == (True, 0, 1, 1)
    assert (cpu.num_cpus, cpu.memory_bytes, cpu.max_count) == (6, 26 * 2**30, 8)
    assert (cpu.is_spot, cpu.price_per_hour) == (True, 0.1)
    assert (gpu.num_gpus, gpu.max_count, gpu.price_per_hour) == (1, 4, None)
    assert (shape.provider, shape.max_workers, shape.region) == ("kuberay", 12, None)


def test_cluster_without_a_job_is_read_alike(right: Any, tmp_path: Path) -> None:
    config = copy.deepcopy(right)
    config["kind"], config["spec"] = "RayCluster", config["spec"]["rayClusterSpec"]
    shape = read_cluster_file(write(config, tmp_path), to_start=False).shape
    assert [one.name for one in shape.node_types] == ["head", "cpu-spot", "gpu-spot"]


@pytest.mark.parametrize(
    ("text", "amount"),
    [("8", 8), (8, 8), ("500m", 0.5), ("30Gi", 30 * 2**30), ("1.5G", 1.5e9), ("2Ki", 2048)],
)
def test_quantities_of_kubernetes(text: str | int, amount: float) -> None:
    assert quantity(text) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "30 Gi", "-1", "1e3x", "Gi", "None"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity(text)
