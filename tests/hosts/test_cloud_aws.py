"""`--on cloud:cluster/aws.yaml` where moto is Amazon and every instance a host, in this order.

Nothing may be left in the end: no instance that runs or is stopped, and no disk of one.
"""

import pytest

from tests.hosts.cloud_user import assert_same_model
from tests.hosts.fleet import Fleet, aws_user
from tests.hosts.namespaces import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

ON = "--on cloud:cluster/it.yaml"
STACK = "small_stack.py --seconds 2"


@pytest.fixture(scope="module")
def fleet(world):
    with Fleet(world) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def user(world, fleet):
    return aws_user(world)


@pytest.fixture(scope="module")
def undisturbed(user, world, fleet):
    """What the stack comes to; no machine is there before, and the cluster stays."""
    assert fleet.instances() == []
    storage = world.storage.bucket_uri("aws-calm")
    fleet.most = 0
    told = user.distml(f"run {STACK} {ON} --run-id calm --no-down", storage=storage)
    assert told.code == 0, f"{told}\n{user.log[-3000:]}"
    return user.left(storage, "calm")


def paid_for(fleet):
    """What would cost money: instances in any state but terminated, and disks."""
    instances = fleet.instances("pending", "running", "stopping", "stopped")
    return [one["id"] for one in instances], fleet.ask(_DISKS)


def head_of(fleet):
    return fleet.hosts[fleet.running("head")[0]]


def test_spot_workers_come_for_the_work_and_go_when_it_is_done(user, fleet, undisturbed):
    assert undisturbed["status"] == "SUCCEEDED"
    assert fleet.most == 4
    kinds = {(one["type"], one["spot"]) for one in fleet.instances()}
    assert kinds == {("head", False), ("cpu-spot", True)}
    # The head has no CPUs for work.
    head = fleet.running("head")[0]
    assert head not in undisturbed["hosts"]
    assert len(undisturbed["hosts"]) >= 2

    until(lambda: not fleet.running("cpu-spot"), "workers have gone", timeout_s=180)
    assert [one["type"] for one in fleet.instances("running")] == ["head"]


def test_status_tells_what_it_costs_and_what_nobody_started(user, fleet, undisturbed):
    until(lambda: not fleet.running("cpu-spot"), "workers have gone", timeout_s=180)
    fleet.ask(_STRANGER)
    try:
        status = user.distml(f"cluster status {user.name}")
        listed = user.distml("cluster list")
    finally:
        stranger = [one for one in fleet.instances("running") if one["type"] == "forgotten"]
        fleet.ask(f"ec2.terminate_instances(InstanceIds=[{stranger[0]['id']!r}])")

    assert status.code == 0, status
    cells = status.out.splitlines()[1].split()
    assert cells[:4] == [user.name, "up", "1", "head"]
    assert float(cells[6]) == pytest.approx(0.192, abs=0.005)  # an m6i.xlarge
    assert float(cells[5]) > 0
    for told in (status, listed):
        assert "machines of a cluster 'elsewhere' that was not started from here" in told.err
        assert stranger[0]["id"] in told.err


@pytest.mark.parametrize(
    "notice_s",
    [
        pytest.param(None, id="without notice"),
        pytest.param(20, id="with notice", marks=pytest.mark.long),
    ],
)
def test_spot_machine_that_is_taken_away_does_not_change_the_model(
    user, fleet, world, undisturbed, notice_s
):
    name = f"loss-{notice_s or 0}"
    storage = world.storage.bucket_uri(name)
    child = user.begin(f"run {STACK} {ON} --run-id {name}", storage=storage)
    user.wait_for_units(storage, name, 2, child)
    lost = fleet.running("cpu-spot")[0]
    if notice_s is not None:
        fleet.take_away(lost, notice_s=notice_s)
        until(lambda: fleet.drained(lost), f"Ray drains {lost}", timeout_s=60)
    fleet.take_away(lost)
    told = user.end(child)

    assert told.code == 0, told
    left = user.left(storage, name)
    assert left["attempts"] == 1
    assert_same_model(left, undisturbed)


def test_network_is_saved_at_the_notice_and_trained_on_elsewhere(user, fleet, world, undisturbed):
    name, epochs = "network", 100
    storage = world.storage.bucket_uri(name)
    child = user.begin(
        f"run small_network.py --epochs {epochs} {ON} --run-id {name}", storage=storage
    )
    user.wait_for_units(storage, name, 10, child, kind="epoch")
    trains = [
        instance
        for instance in fleet.running("cpu-spot")
        if any("RayTrainWorker" in line for line in fleet.hosts[instance].processes())
    ]
    assert len(trains) == 2
    fleet.take_away(trains[0], notice_s=25)
    until(lambda: fleet.drained(trains[0]), f"Ray drains {trains[0]}", timeout_s=60)
    user.wait_for_units(storage, name, 2, child, kind="training_started")
    fleet.take_away(trains[0])
    told = user.end(child)

    assert told.code == 0, told
    left = user.left(storage, name)
    assert any("preempted=1" in line for line in left["log"]), left["log"]
    # From where it was, not from the beginning.
    assert left["begun"][0] == 0
    assert min(left["begun"][1:]) >= 9
    assert left["metrics"]["hold_out"]["accuracy"] > 0.8


def test_down_leaves_nothing_that_costs(user, fleet, undisturbed):
    told = user.distml(f"cluster down {user.name}")

    assert told.code == 0, told
    assert paid_for(fleet) == ([], [])
    until(lambda: not fleet.hosts, "machines are off", timeout_s=30)
    assert user.distml("cluster list").out == "no cluster was started from here\n"


def test_cluster_goes_with_the_run_it_was_started_for(user, fleet, world):
    storage = world.storage.bucket_uri("aws-down")
    told = user.distml(f"run small_stack.py --seconds 0 --cv 2 {ON} --run-id one", storage=storage)

    assert told.code == 0, f"{told}\n{user.log[-3000:]}"
    assert paid_for(fleet) == ([], []), told


@pytest.mark.long
def test_head_that_is_lost_leaves_no_workers_and_the_run_goes_on_elsewhere(
    user, fleet, world, undisturbed
):
    storage = world.storage.bucket_uri("headless")
    child = user.begin(f"run {STACK} {ON} --run-id headless", storage=storage)
    user.wait_for_units(storage, "headless", 2, child)
    fleet.take_away(fleet.running("head")[0])
    told = user.end(child)

    assert told.code == 1, told
    assert f"{user.name} has lost its head" in told.err
    assert "go on with distml resume headless" in told.err
    assert paid_for(fleet) == ([], [])

    told = user.distml(f"resume headless {ON}", storage=storage)
    assert told.code == 0, told
    left = user.left(storage, "headless")
    assert left["attempts"] == 2
    assert_same_model(left, undisturbed)
    assert paid_for(fleet) == ([], [])


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ("--max-hours 0.02", "of at most 0.02 hours"),
        pytest.param("--max-cost 0.006", "of at most 0.006 US", marks=pytest.mark.long),
    ],
    ids=["hours", "cost"],
)
def test_head_ends_the_cluster_at_its_limit_though_the_client_was_killed(
    user, fleet, world, limit, why
):
    name = f"limit-{why[-2:].strip()}"
    storage = world.storage.bucket_uri(name)
    child = user.begin(
        f"run small_stack.py --seconds 60 {ON} --run-id {name} {limit}", storage=storage
    )
    until(lambda: fleet.running("head"), "a head", timeout_s=120)
    head = head_of(fleet)
    user.wait_for_units(storage, name, 0, child)
    user.abandon(child)

    said = ""

    def ended():
        nonlocal said
        said = user.warden(head).get("ended") or said
        return not fleet.hosts

    until(ended, "all machines have ended", timeout_s=300)

    assert why in said
    assert paid_for(fleet) == ([], [])
    assert user.left(storage, name)["status"] == "STOPPED"
    assert user.distml(f"cluster status {user.name}").out.splitlines()[1].split()[1] == "gone"


def test_what_is_missing_is_said_before_anything_starts(user, fleet):
    before = paid_for(fleet)
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    told = user.distml(f"run {STACK} {ON}")
    assert told.code == 2, told
    assert "cannot reach runs" in told.err
    told = user.distml("cluster up cluster/it.yaml", env=nobody)
    assert told.code == 2, told
    assert "no credentials for AWS" in told.err
    (user.path / "cluster/prices.csv").unlink()
    told = user.distml("cluster up cluster/it.yaml --max-cost 1")
    assert told.code == 2, told
    assert "--max-cost needs the price of m6i." in told.err
    assert paid_for(fleet) == before


_DISKS = """
print(json.dumps([one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]]))
"""
_STRANGER = """
ec2.run_instances(
    MinCount=1, MaxCount=1, ImageId="ami-12c6146b", InstanceType="m6i.large",
    TagSpecifications=[{"ResourceType": "instance", "Tags": [
        {"Key": "ray-cluster-name", "Value": "elsewhere"},
        {"Key": "ray-user-node-type", "Value": "forgotten"},
    ]}],
)
"""
