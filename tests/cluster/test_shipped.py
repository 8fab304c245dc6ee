"""The cluster files that are shipped: right by every judge there is, and closed."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from distml.launch.files.cluster_file import read_cluster_file
from distml.launch.files.kuberay_file import quantity
from tests.launch.rayjob_schema import check_rayjob

ROOT = Path(__file__).parent.parent.parent
CLUSTER = ROOT / "cluster"
RAY_UP = ("aws", "gcp", "azure", "onprem")
CLOUDS = ("aws", "gcp", "azure")


def load(name: str) -> Any:
    return yaml.safe_load((CLUSTER / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*RAY_UP, "kuberay"])
def test_shipped_file_is_read_without_a_warning(name: str) -> None:
    file = read_cluster_file(CLUSTER / f"{name}.yaml", to_start=False)
    assert file.warnings == ()
    heads = [one for one in file.shape.node_types if one.is_head]
    assert [(one.min_count, one.max_count, one.is_spot) for one in heads] == [(1, 1, False)]


@pytest.mark.parametrize("name", ["gcp", "azure", "kuberay"])
def test_file_that_asks_for_a_name_is_right_once_it_has_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")
    mine = tmp_path / f"{name}.yaml"
    mine.write_text(re.sub("YOUR-(PROJECT|REGISTRY|SUBSCRIPTION)", "mine", text), encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    monkeypatch.chdir(ROOT)
    assert read_cluster_file(mine).warnings == ()


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_itself_takes_the_file(name: str) -> None:
    # In a process of its own: what Ray imports for this would stay with the other tests.
    code = f"""
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
validate_config(prepare_config(yaml.safe_load(open({str(CLUSTER / f"{name}.yaml")!r}))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_kuberay_takes_the_job() -> None:
    check_rayjob(load("kuberay"))


def test_pods_fit_on_the_machines_that_the_readme_asks_for_and_serve_no_metrics() -> None:
    cluster = load("kuberay")["spec"]["rayClusterSpec"]
    assert {"name": "AUTOSCALER_METRIC_PORT", "value": "-1"} in cluster["autoscalerOptions"]["env"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": "RAY_enable_metrics_collection", "value": "0"} in container["env"]
        limits, requests = (container["resources"][key] for key in ("limits", "requests"))
        assert limits.items() <= requests.items()
        # Of 8 CPUs and 32 GiB, what clouds and the pods of the system leave.
        assert quantity(limits["cpu"]) <= 7
        assert quantity(limits["memory"]) <= 26 * 2**30


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_are_spot_and_scale_from_none_with_cpus_and_gpus(name: str) -> None:
    shape = read_cluster_file(CLUSTER / f"{name}.yaml", to_start=False).shape
    workers = [one for one in shape.node_types if not one.is_head]
    assert all(one.is_spot and one.min_count == 0 < one.max_count for one in workers)
    assert {one.num_gpus for one in workers} == {0, 1}
    assert {one.num_cpus for one in workers} == {8, 32}


@pytest.mark.parametrize("name", CLOUDS)
def test_each_machine_has_a_price_and_a_memory_that_spot_makes_cheaper(name: str) -> None:
    shape = read_cluster_file(CLUSTER / f"{name}.yaml", to_start=False).shape
    for one in shape.node_types:
        assert one.price_per_hour is not None
        assert 0 < one.price_per_hour < 5
        assert one.memory_bytes is not None
        assert one.memory_bytes >= 16 * 2**30


@pytest.mark.parametrize("name", CLOUDS)
def test_each_worker_watches_for_its_end_with_the_token(name: str) -> None:
    (start,) = [c for c in load(name)["worker_start_ray_commands"] if "ray start" in c]
    before, _, after = start.partition("ray start")
    assert "export RAY_AUTH_MODE=token" in before
    assert f"spot_notice.py {name} --address $RAY_HEAD_IP:6379" in after


@pytest.mark.parametrize("fails", [0, 2, 3])
@pytest.mark.parametrize("name", RAY_UP)
def test_worker_that_cannot_join_at_once_tries_again_and_gives_up_aloud(
    name: str, fails: int, tmp_path: Path
) -> None:
    (start,) = [c for c in load(name)["worker_start_ray_commands"] if "ray start" in c]
    counts = f"echo $1 >> {tmp_path}/calls; test $1 != start || "
    counts += f"test $(grep -c start {tmp_path}/calls) -gt {fails}"
    for command, does in {
        "ray": counts,
        "sleep": "true",
        "python": "true",
    }.items():
        (tmp_path / command).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / command).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", f"{start}\nwait"], env=environment, capture_output=True)

    assert done.returncode == (1 if fails == 3 else 0), done.stderr
    calls = (tmp_path / "calls").read_text().split()
    assert calls == [*["start", "stop"] * min(fails, 2), "start"]


def test_shells_take_every_script_and_command() -> None:
    scripts = [path.read_text(encoding="utf-8") for path in CLUSTER.rglob("*.sh")]
    commands = [
        command
        for name in RAY_UP
        for key, listed in load(name).items()
        if key.endswith("_commands")
        for command in listed
    ]
    assert len(scripts) >= 3
    for text in scripts + commands:
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, f"{text[:80]}: {done.stderr}"


def test_nodes_get_the_versions_that_the_project_is_built_on() -> None:
    def versions(path: Path) -> dict[str, str]:
        lines = [line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
        pairs = [line.split("==") for line in lines if "==" in line]
        return {canonical(name): version for name, version in pairs}

    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()

    locked = versions(ROOT / "constraints.txt")
    nodes = versions(CLUSTER / "node" / "requirements.txt")
    assert nodes == {name: locked[name] for name in nodes}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {canonical(re.split(r"[\[>=<]", one)[0]) for one in project["dependencies"]}
    assert needed <= nodes.keys()
    for name, package in (("aws", "boto3"), ("gcp", "google-api-python-client")):
        assert load(name)["head_setup_commands"] == [
            f"bash ~/distml-node/setup.sh {package}=={locked[package]}"
        ]
    assert load("kuberay")["spec"]["rayClusterSpec"]["rayVersion"] == locked["ray"]


def test_set_up_does_nothing_where_all_is_there(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    # Asked of this environment: torch and whatever else; a sudo that is called would not be found.
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("# a comment\nray[default]==" + version("ray") + "\n", encoding="utf-8")
    script = tmp_path / "setup.sh"
    script.write_text((CLUSTER / "node" / "setup.sh").read_text("utf-8"), encoding="utf-8")
    command = ["bash", str(script), f"click=={version('click')}"]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(command, env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not (tmp_path / ".bashrc").exists()


def test_set_up_of_a_bare_machine_installs_once_and_comes_first_on_the_path(tmp_path: Path) -> None:
    fakes, home = tmp_path / "fakes", tmp_path / "home"
    (home / "node").mkdir(parents=True)
    (home / ".bashrc").write_text("# If not running interactively, don't do anything\n")
    for name in ("setup.sh", "requirements.txt"):
        text = (CLUSTER / "node" / name).read_text(encoding="utf-8")
        (home / "node" / name).write_text(text, encoding="utf-8")
    program(fakes / "python", "exit 127")
    program(fakes / "sudo", "echo sudo $* >> ~/log")
    # `python3 -m venv ~/uv` brings a pip, which brings uv, which makes ~/env.
    program(fakes / "uv", 'echo uv $* >> ~/log; [ "$1" != venv ] || mkdir -p ~/env/bin')
    program(fakes / "pip", f"cp {fakes}/uv ~/uv/bin/uv")
    program(fakes / "python3", f"mkdir -p ~/uv/bin; cp {fakes}/pip ~/uv/bin/pip")
    command = ["bash", str(home / "node" / "setup.sh"), "boto3==1"]
    environment = {"PATH": f"{fakes}:/usr/bin:/bin", "HOME": str(home)}
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    log = (home / "log").read_text("utf-8").splitlines()
    assert sum("install -y python3-venv rsync" in line for line in log) == 1
    install = f"uv pip install -q --python {home}/env/bin/python --torch-backend auto -r"
    assert install in log[-1]
    assert log[-1].endswith("requirements.txt boto3==1")
    lines = (home / ".bashrc").read_text("utf-8").splitlines()
    assert lines[0] == 'export PATH="$HOME/env/bin:$PATH"'
    assert len(lines) == 2


def program(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def version(package: str) -> str:
    from importlib.metadata import version as installed

    return installed(package).partition("+")[0]


def test_account_on_aws_opens_ssh_to_one_place_and_the_head_to_no_other_machines() -> None:
    resources = load("account/aws")["Resources"]
    (opened,) = resources["SecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert opened == {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "CidrIp": {"Ref": "SshFrom"},
    }
    pattern = load("account/aws")["Parameters"]["SshFrom"]["AllowedPattern"]
    assert re.match(pattern, "203.0.113.7/32")
    assert not re.match(pattern, "0.0.0.0/0")
    for statement in resources["ScaleCluster"]["Properties"]["PolicyDocument"]["Statement"]:
        assert "*" not in statement["Action"]
        if statement["Resource"] == "*":
            assert statement["Action"] == ["ec2:Describe*"]
        if "iam:CreateServiceLinkedRole" in statement["Action"]:
            only = {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}}
            assert statement["Condition"] == only
        if "ec2:TerminateInstances" in statement["Action"]:
            assert json.dumps(statement["Condition"]).count("distml*") == 1


def test_readme_tells_the_prices_that_the_table_has() -> None:
    text = (CLUSTER / "README.md").read_text(encoding="utf-8")
    for name, place in (
        ("aws", "AWS us-east-1"),
        ("gcp", "Google Cloud us-central1"),
        ("azure", "Azure westus2"),
    ):
        types = read_cluster_file(CLUSTER / f"{name}.yaml", to_start=False).shape.node_types
        head, *workers = [one.price_per_hour or 0.0 for one in types]
        # At most 8 at once, of which 4 of each of the dearer kinds.
        most = head + 4 * (workers[1] + workers[2])
        cells = " | ".join([f"{price:.3f}" for price in (head, *workers)] + [f"{most:.2f}"])
        assert f"| {place} | {cells} |" in text
