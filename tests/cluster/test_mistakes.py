"""Each mistake in a cluster file of `ray up`, made in a right one, gets its line."""

import copy
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from distml.errors import UserError
from distml.launch.files.cluster_file import read_cluster_file

CLUSTER = Path(__file__).parent.parent.parent / "cluster"

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def right() -> dict[str, Any]:
    """The shipped files, by name."""
    names = ("aws", "gcp", "azure", "onprem", "kuberay")
    return {name: yaml.safe_load((CLUSTER / f"{name}.yaml").read_text()) for name in names}


def write(config: Any, folder: Path) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (folder / "prices.csv").write_text((CLUSTER / "prices.csv").read_text("utf-8"))
    return path


def put(where: str, value: Any) -> Edit:
    """Set what stands at a dotted path."""

    def edit(config: dict[str, Any]) -> None:
        *parents, last = where.split(".")
        for name in parents:
            config = config[name]
        config[last] = value

    return edit


def drop(where: str) -> Edit:
    """Take away what stands at a dotted path."""

    def edit(config: dict[str, Any]) -> None:
        *parents, last = where.split(".")
        for name in parents:
            config = config[name]
        del config[last]

    return edit


def rename(where: str, name: str) -> Edit:
    """Give a key another name."""

    def edit(config: dict[str, Any]) -> None:
        *parents, last = where.split(".")
        for parent in parents:
            config = config[parent]
        config[name] = config.pop(last)

    return edit


def say(key: str, old: str, new: str) -> Edit:
    """Replace text in a list of commands."""

    def edit(config: dict[str, Any]) -> None:
        assert any(old in command for command in config[key])
        config[key] = [command.replace(old, new) for command in config[key]]

    return edit


def say_groups(groups: list[str]) -> Edit:
    """Firewalls of one's own in the place of the launch template."""

    def edit(config: dict[str, Any]) -> None:
        drop(f"{NODE}.LaunchTemplate")(config)
        put(f"{NODE}.SecurityGroupIds", groups)(config)

    return edit


TYPES = "available_node_types"
NODE = f"{TYPES}.cpu-spot.node_config"
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"
METRICS = "RAY_enable_metrics_collection=0"

MISTAKES: list[tuple[str, Edit, str]] = [
    # the file as a whole
    ("aws", put("cluster_name", "my cluster"), "cluster_name: 'my cluster' is not made of"),
    ("aws", drop("cluster_name"), "cluster_name: is missing"),
    ("aws", drop("provider"), "provider: is missing"),
    ("aws", rename("max_workers", "max_worker"), "max_worker: unknown: did you mean max_workers?"),
    ("aws", put("max_workers", "8"), "max_workers: '8' is not of type 'integer'"),
    ("aws", rename("setup_commands", "setup_comands"), "did you mean setup_commands?"),
    # provider
    ("aws", put("provider.type", "asw"), "provider.type: 'asw' is not one of"),
    ("aws", drop("provider.region"), "provider.region: is missing"),
    ("aws", rename("provider.region", "regoin"), "provider.regoin: unknown: did you mean region?"),
    ("aws", put("provider.region", "us-west-2"), "us-east-1a is not in us-west-2"),
    ("aws", drop("provider.cache_stopped_nodes"), "provider.cache_stopped_nodes: is not false"),
    ("aws", put("provider.cache_stopped_nodes", True), "cache_stopped_nodes: is not false"),
    ("aws", put("provider.aws_credentials", {"a": "b"}), "keys do not belong into a file"),
    ("aws", put("provider.region", "us-eats-1"), "'us-eats-1' is not known .* mean us-east-1?"),
    ("aws", put("provider.region", "moon-1"), "'moon-1' is not known .*; if it is a new one, pip"),
    ("gcp", put("provider.cache_stopped_nodes", True), "cache_stopped_nodes: is not false"),
    ("gcp", put("provider.availability_zone", "us-central1-a,us-central1-b"), "is not one zone"),
    ("gcp", put("provider.availability_zone", "us-central1-b"), "diskType: is in us-central1-a"),
    ("gcp", put("provider.region", "us-central"), "subnetwork: is in us-central1, but provider"),
    ("gcp", put("cluster_name", "Mine"), "'Mine' is not made of up to 35 small letters"),
    ("gcp", put("cluster_name", "x" * 36), "cluster_name: 'x{36}' is not made of up to 35 small"),
    ("gcp", rename(f"{TYPES}.cpu-spot", "cpuSpot"), "cpuSpot: Google Cloud takes small letters"),
    ("gcp", drop("provider.project_id"), "provider.project_id: is missing"),
    ("gcp", put("provider.project_id", None), "provider.project_id: is missing"),
    ("gcp", drop("provider.availability_zone"), "provider.availability_zone: is missing"),
    ("azure", drop("provider.location"), "provider.location: is missing"),
    ("azure", rename("provider.location", "region"), "provider.region: unknown"),
    ("azure", drop("provider.resource_group"), "provider.resource_group: is missing"),
    ("azure", drop("provider.subscription_id"), "provider.subscription_id: is missing"),
    ("azure", drop("provider.cache_stopped_nodes"), "cache_stopped_nodes: is not false"),
    ("azure", drop("initialization_commands"), "Ray's network group opens SSH to the world"),
    ("onprem", drop("provider.head_ip"), "provider.head_ip: is missing"),
    ("onprem", drop("provider.worker_ips"), "provider.worker_ips: is missing"),
    ("onprem", put("provider.worker_ips", ["a", "a"]), "names a machine twice"),
    ("onprem", put("provider.worker_ips", ["192.168.1.10"]), "192.168.1.10 is the head already"),
    ("onprem", put("provider.coordinator_address", "h:1"), "takes orders from anybody"),
    ("onprem", put("max_workers", 3), "is 3, but worker_ips names 2 machines"),
    ("onprem", put("min_workers", 9), "min_workers: unknown|min_workers: is 9, more than"),
    ("onprem", say(HEAD, "--num-cpus=8", ""), "no --num-cpus"),
    # auth
    ("aws", drop("auth.ssh_user"), "auth.ssh_user: is missing"),
    ("aws", drop("auth"), "auth.ssh_user: is missing"),
    ("aws", rename("auth.ssh_user", "ssh_usr"), "auth.ssh_usr: unknown: did you mean ssh_user?"),
    ("aws", put("auth.ssh_private_key", "~/k"), "KeyName: is missing"),
    ("azure", put("auth.ssh_private_key", "~/k"), "auth.ssh_public_key: is missing"),
    # node types
    ("aws", drop("head_node_type"), "head_node_type: is missing"),
    ("aws", put("head_node_type", "haed"), "'haed', not one of .*: did you mean head?"),
    ("aws", put(f"{TYPES}.cpu-spot.min_workers", 9), "min_workers is 9, more than its max_workers"),
    ("aws", put(f"{TYPES}.cpu-spot.min_workers", -1), "cannot be negative"),
    ("aws", put("max_workers", 0), "is 0, less than the 1 of all min_workers"),
    ("aws", put(f"{TYPES}.cpu-spot.resources", {"cpu": 8}), "resources.cpu: .* own: CPU"),
    ("gcp", drop(f"{TYPES}.cpu-spot.resources.memory"), "resources.memory: is missing: Ray knows"),
    ("azure", put(f"{TYPES}.gpu-spot.resources", {"GPU": 1}), "resources.CPU: is missing: Ray"),
    ("aws", put(f"{TYPES}.cpu-spot.resources", {"gpus": 1}), "resources.gpus: .* own: GPU"),
    ("aws", put(f"{TYPES}.cpu-spot.resources", {"CPU": 1.5}), "1.5 is not of type 'integer'"),
    ("aws", put(f"{TYPES}.cpu-spot.resources", {"CPU": True}), "not"),
    ("aws", rename(f"{TYPES}.cpu-spot.max_workers", "maxworkers"), "did you mean max_workers?"),
    ("aws", drop(f"{TYPES}.cpu-spot.node_config"), "cpu-spot.node_config: is missing"),
    # node_config
    ("aws", rename(f"{NODE}.InstanceType", "InstanceTyp"), "did you mean InstanceType?"),
    ("aws", drop(f"{NODE}.LaunchTemplate"), "SecurityGroupIds: is missing"),
    ("aws", say_groups([]), "SecurityGroupIds: is missing"),
    ("aws", put(f"{NODE}.InstanceType", "m6i.2xlrge"), "'m6i.2xlrge' is unknown: did you mean m6i"),
    ("aws", put(f"{NODE}.MetadataOptions.HttpTokens", "require"), "did you mean required?"),
    ("aws", put(f"{NODE}.MetadataOptions.HttpTokns", "required"), "did you mean HttpTokens?"),
    ("aws", put(f"{NODE}.BlockDeviceMappings", {"a": 1}), "not a list"),
    (
        "aws",
        put(f"{NODE}.BlockDeviceMappings", [{"Ebs": {"VolumeSize": "100"}}]),
        r"BlockDeviceMappings\[0\].Ebs.VolumeSize: is '100', not of type integer",
    ),
    ("gcp", rename(f"{NODE}.machineType", "machinetype"), "machineType: is missing: did you mean"),
    ("gcp", put(f"{NODE}.scheduling.provisioningModel", "SPOTT"), "did you mean SPOT?"),
    ("gcp", rename(f"{NODE}.disks", "disk"), "disk: unknown: did you mean disks?"),
    ("gcp", put(f"{NODE}.scheduling.automaticRestart", "no"), "not of type boolean"),
    ("azure", put(f"{NODE}.azure_arm_parameters.vmsize", "x"), "vmsize: unknown: did you mean vmS"),
    ("azure", drop(f"{NODE}.azure_arm_parameters.vmSize"), "vmSize: is missing"),
    ("azure", put(f"{NODE}.azure_arm_parameters.osDiskSize", "128"), "not of type int"),
    # commands
    ("aws", drop(HEAD), "no `ray start`: Ray's own commands would open the dashboard"),
    ("aws", drop(WORKER), "no `ray start`"),
    ("aws", say(HEAD, "--head ", ""), "lacks --head"),
    ("aws", say(HEAD, "--autoscaling-config=~/ray_bootstrap_config.yaml", ""), "no worker would"),
    ("aws", say(HEAD, "127.0.0.1", "0.0.0.0"), "--dashboard-host=0.0.0.0 opens the dashboard"),
    ("aws", say(HEAD, "host=127.0.0.1", "host ::"), "--dashboard-host=:: opens"),
    ("aws", say(WORKER, "ray start", "ray start --head"), "would be a cluster of its own"),
    ("aws", say(WORKER, "--address=$RAY_HEAD_IP:6379 --object", "--object"), "lacks --address"),
    # the token
    ("aws", say(HEAD, "RAY_AUTH_MODE=token", ""), "no `export RAY_AUTH_MODE=token;`"),
    ("aws", say(WORKER, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=off"), "anybody who reaches a node"),
    ("aws", put("file_mounts", {"~/distml-node": "cluster/node"}), "file_mounts: no token"),
]


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    MISTAKES,
    ids=lambda value: "" if callable(value) else str(value)[:40],
)
def test_mistake_is_refused_in_one_line(
    name: str, edit: Edit, message: str, right: dict[str, Any], tmp_path: Path
) -> None:
    config = copy.deepcopy(right[name])
    if message.startswith("is 0"):
        put(f"{TYPES}.cpu-spot.min_workers", 1)(config)
    edit(config)
    with pytest.raises(UserError) as caught:
        read_cluster_file(write(config, tmp_path), to_start=False)
    said = str(caught.value)
    assert re.search(message, said), said
    assert "\n" not in said
    assert said.startswith(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        (
            "aws",
            put(f"{TYPES}.head.node_config.InstanceMarketOptions", {"MarketType": "spot"}),
            "the head is a spot machine",
        ),
        ("aws", drop(f"{NODE}.IamInstanceProfile"), "IamInstanceProfile: is missing"),
        ("aws", drop(f"{NODE}.MetadataOptions"), "IMDSv1 is open"),
        ("aws", drop(f"{NODE}.InstanceInitiatedShutdownBehavior"), "keeps its paid disk"),
        ("aws", put(f"{NODE}.InstanceType", "zz99.huge"), "not known to this version of boto3"),
        ("aws", drop("max_workers"), "max_workers: is missing: Ray takes 2"),
        ("aws", put("idle_timeout_minutes", 90), "longer than an hour"),
        ("aws", put("setup_commands", []), "no chmod 600"),
        ("aws", say(HEAD, "RAY_health_check_period_ms=2000", ""), "no RAY_health_check_"),
        ("aws", say(WORKER, "RAY_grpc_client_keepalive_time_ms=10000", ""), "no RAY_grpc_client"),
        ("aws", put(f"{TYPES}.cpu-spot.resources.CPU", 64), "is 64, but m6i.2xlarge has 8"),
        ("aws", put(f"{TYPES}.gpu-spot.resources.GPU", 4), "is 4, but g6.2xlarge has 1"),
        ("aws", put("cluster_name", "mine"), "is not distml*: the role distml-head"),
        ("aws", say(WORKER, "spot_notice.py", "true"), "no spot_notice.py"),
        ("aws", say(HEAD, METRICS, ""), f"{HEAD}: no RAY_enable_metrics_collection=0"),
        ("aws", say(WORKER, METRICS, METRICS[:-1] + "1"), f"{WORKER}: no RAY_enable_metrics"),
        ("gcp", put(f"{TYPES}.cpu-spot.resources.memory", 64 << 30), "but n2-standard-8 has 343"),
        ("gcp", drop(f"{NODE}.networkInterfaces"), "networkInterfaces: is missing"),
        ("gcp", drop(f"{NODE}.serviceAccounts"), "serviceAccounts: is missing"),
        (
            "azure",
            put(f"{NODE}.azure_arm_parameters.evictionPolicy", "Deallocate"),
            "its disk is paid for on",
        ),
        ("onprem", drop("auth.ssh_private_key"), "ssh_private_key: is missing"),
    ],
    ids=lambda value: "" if callable(value) else str(value)[:40],
)
def test_what_costs_or_opens_more_than_it_must_is_a_warning(
    name: str, edit: Edit, message: str, right: dict[str, Any], tmp_path: Path
) -> None:
    config = copy.deepcopy(right[name])
    edit(config)
    warnings = read_cluster_file(write(config, tmp_path), to_start=False).warnings
    assert any(message in warning for warning in warnings), warnings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "is a list, not a mapping"),
        ("just words", "is a str, not a mapping"),
        ("a: [1,\nb: 2", r"mine.yaml:2: "),
        ("a: 1\nb: {c: 1, c: 2}\n", r"mine.yaml:2: 'c' stands twice"),
        ("a: 1\n7: 2\n", r"mine.yaml:2: a key is not text: put it in quotes"),
        ("a: {on: 2}\n", r"mine.yaml:1: a key is not text"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: \x00", "is not YAML"),
    ],
)
def test_file_that_is_no_mapping_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_cluster_file(path)
    assert "\n" not in str(caught.value)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.yaml: cannot be read: No such file"):
        read_cluster_file(tmp_path / "no.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    with pytest.raises(UserError, match="is not text in UTF-8"):
        read_cluster_file(tmp_path / "latin.yaml")


def test_start_asks_for_the_token_the_mounts_and_the_names(
    right: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = write(right["aws"], tmp_path)
    with pytest.raises(UserError, match=r"auth_token is not here: say ray get-auth-token"):
        read_cluster_file(path)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch()
    with pytest.raises(UserError, match=r"distml-node: cluster/node is not here .*: go to the"):
        read_cluster_file(path)
    (tmp_path / "cluster" / "node").mkdir(parents=True)
    assert read_cluster_file(path).provider == "aws"
    with pytest.raises(UserError, match=r"project_id: 'YOUR-PROJECT' still has a placeholder"):
        read_cluster_file(write(right["gcp"], tmp_path))
    with pytest.raises(UserError, match=r"subscription_id: 'YOUR-SUBSCRIPTION' still has a place"):
        read_cluster_file(write(right["azure"], tmp_path))


def test_gpus_that_are_added_to_a_machine_are_not_missed_in_the_price_table(
    right: dict[str, Any], tmp_path: Path
) -> None:
    config = copy.deepcopy(right["gcp"])
    config[TYPES]["cpu-spot"]["resources"]["GPU"] = 1
    path = write(config, tmp_path)
    said = "resources.GPU: is 1, but n2-standard-8 has 0"
    assert any(said in line for line in read_cluster_file(path, to_start=False).warnings)
    config[TYPES]["cpu-spot"]["node_config"]["guestAccelerators"] = [{"acceleratorCount": 1}]
    assert read_cluster_file(write(config, tmp_path), to_start=False).warnings == ()


def test_several_mistakes_are_counted(right: dict[str, Any], tmp_path: Path) -> None:
    config = copy.deepcopy(right["aws"])
    for edit in (drop("provider.region"), drop("auth.ssh_user"), drop("file_mounts")):
        edit(config)
    with pytest.raises(UserError, match=r"provider.region: is missing \(and 2 more\)"):
        read_cluster_file(write(config, tmp_path), to_start=False)


def test_resources_that_are_not_said_are_those_of_the_price_table(
    right: dict[str, Any], tmp_path: Path
) -> None:
    config = copy.deepcopy(right["aws"])
    config[TYPES]["gpu-spot"]["resources"] = {}
    types = read_cluster_file(write(config, tmp_path), to_start=False).shape.node_types
    (one,) = [each for each in types if each.name == "gpu-spot"]
    assert (one.num_cpus, one.num_gpus) == (8, 1)
    config[TYPES]["gpu-spot"]["node_config"]["InstanceType"] = "m5.4xlarge"
    with pytest.raises(UserError, match=r"no CPU, and m5.4xlarge is in no price table"):
        read_cluster_file(write(config, tmp_path), to_start=False)


@pytest.mark.parametrize("name", ["aws", "gcp", "azure", "onprem", "kuberay"])
def test_nothing_that_a_file_can_say_ends_in_a_traceback(
    name: str, right: dict[str, Any], tmp_path: Path
) -> None:
    choose = random.Random(7)
    junk = [None, 0, -1, 1.5, True, "", "x", [], [None], {}, {"a": None}, ["x"], {"x": ["y"]}]
    refused = accepted = 0
    for _ in range(60):
        config = copy.deepcopy(right[name])
        for _ in range(choose.randint(1, 2)):
            parent, key = choose.choice(places(config))
            parent[key] = copy.deepcopy(choose.choice(junk))
        try:
            read_cluster_file(write(config, tmp_path), to_start=False)
        except UserError as error:
            refused += "\n" not in str(error)
        else:
            accepted += 1
    assert refused > 0
    assert refused + accepted == 60


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each (container, key) in nested mappings and lists."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found
