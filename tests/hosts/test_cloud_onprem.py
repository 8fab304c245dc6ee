"""`--on cloud:FILE` with machines of one's own: three hosts, real SSH, in this order.

The stack's units are Ray tasks on any host; each disturbed run has a storage of its own, so it does
all units itself, and must come to the same as the undisturbed one.
"""

import json
import time

import pytest

from tests.hosts.cloud_user import CloudUser, assert_same_model
from tests.hosts.namespaces import until
from tests.hosts.onprem import TOKEN, filled_in
from tests.hosts.world import SECRET

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

ADDRESSES = {"head": "10.78.0.11", "one": "10.78.0.12", "two": "10.78.0.13"}
STACK = "flights_stacking.py --data /tmp/flights --rows 4000 --cv 3"
ON = "--on cloud:cluster/it.yaml"


@pytest.fixture(scope="module")
def hosts(world):
    started = {name: world.start_host(f"c-{name}", at) for name, at in ADDRESSES.items()}
    yield started
    for host in world.hosts.values():
        if host.name.startswith("c-"):
            host.kill()


@pytest.fixture(scope="module")
def user(world, hosts):
    head, *workers = ADDRESSES.values()
    config = filled_in(head, workers)
    jobs = (
        "jobs/flights_stacking.py",
        "tests/hosts/small_network.py",
        "tests/hosts/small_stack.py",
    )
    return CloudUser(world, config, jobs=jobs)


@pytest.fixture(scope="module")
def undisturbed(user, world, hosts):
    """What the stack comes to where nothing happens; the cluster is started for it and stays."""
    storage = world.storage.bucket_uri("undisturbed")
    told = user.distml(f"run {STACK} {ON} --run-id calm --no-down", storage=storage)
    assert told.code == 0, told
    return user.left(storage, "calm")


def ray_nodes(hosts):
    code = (
        "from ray._raylet import GcsClient\n"
        'n = GcsClient("127.0.0.1:6379").get_all_node_info().values()\n'
        "print(len([one for one in n if one.state == 0]))"
    )
    done = hosts["head"].run(["python", "-c", code], env=TOKEN, check=False, timeout_s=30)
    return int(done.stdout or 0) if done.returncode == 0 else 0


def left_behind(hosts):
    return {name: [p[:200] for p in host.processes()] for name, host in hosts.items()}


def nothing(hosts):
    return {name: [] for name in hosts}


def test_stack_is_fitted_over_all_hosts_and_the_cluster_stays_if_it_shall(user, hosts, undisturbed):
    assert undisturbed["status"] == "SUCCEEDED"
    assert len(undisturbed["golden"]) > 0
    assert user.warden(hosts["head"])["ended"] is None

    status = user.distml(f"cluster status {user.name}")
    assert status.code == 0, status
    assert "1 head, 2 local.cluster.node" in status.out
    assert "ends at: 60 minutes without a job" in status.out


def test_neither_the_storages_secret_nor_the_token_is_kept_anywhere(
    user, hosts, world, undisturbed
):
    token = (user.client.folder / "root/.ray/auth_token").read_text().strip()
    storage = world.storage.bucket_uri("undisturbed")
    stored = user.client.run(["python", "-c", _FIND, storage, SECRET, token]).stdout
    folders = [user.client.folder / "root/.local/state/distml"]
    folders += [host.folder / "root/.distml" for host in hosts.values()]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in files if any(s in path.read_bytes() for s in _bytes(SECRET, token))]

    looked, *found = json.loads(stored)
    assert looked > 5
    assert len(files) > 5
    assert (found, kept) == ([], [])


def _bytes(*texts):
    return [text.encode() for text in texts]


_FIND = """
import json, sys
from pyarrow.fs import FileSelector, FileSystem, FileType
uri, *secrets = sys.argv[1:]
storage, path = FileSystem.from_uri(uri)
files = storage.get_file_info(FileSelector(path, recursive=True))
files = [file.path for file in files if file.type == FileType.File]
def holds(path):
    content = storage.open_input_file(path).readall()
    return any(secret.encode() in content for secret in secrets)
print(json.dumps([len(files), *filter(holds, files)]))
"""


def test_network_trains_on_two_hosts(user, hosts, world):
    storage = world.storage.bucket_uri("network")
    told = user.distml(f"run small_network.py {ON} --run-id pair", storage=storage)

    assert told.code == 0, told
    assert "comes up" not in told.err
    left = user.left(storage, "pair")
    assert left["metrics"]["hold_out"]["accuracy"] > 0.8
    # It was not started for this run.
    assert user.warden(hosts["head"])["ended"] is None


def test_host_that_dies_does_not_change_the_model(user, hosts, world, undisturbed):
    storage = world.storage.bucket_uri("death")
    until(lambda: ray_nodes(hosts) == 3, "three nodes", timeout_s=120)
    child = user.begin(f"run {STACK} {ON} --run-id death --down", storage=storage)
    user.wait_for_units(storage, "death", 2, child)
    hosts["two"].kill()
    told = user.end(child)

    assert told.code == 0, told
    left = user.left(storage, "death")
    assert left["attempts"] == 1
    assert_same_model(left, undisturbed)
    # Down with the run, though one worker could not be told.
    assert left_behind(hosts) == nothing(hosts)


def test_link_that_goes_silent_and_returns_does_not_change_the_model(
    user, hosts, world, undisturbed
):
    hosts["two"] = world.start_host("c-two", ADDRESSES["two"])
    storage = world.storage.bucket_uri("silence")
    child = user.begin(f"run {STACK} {ON} --run-id silence", storage=storage)
    user.wait_for_units(storage, "silence", 2, child)
    hosts["one"].silence()
    time.sleep(20)
    hosts["one"].speak()
    told = user.end(child)

    assert told.code == 0, told
    left = user.left(storage, "silence")
    assert_same_model(left, undisturbed)
    # Started for this run, so it went with it: no process is left anywhere.
    assert left_behind(hosts) == nothing(hosts)
    known = user.distml("cluster list")
    assert known.out == "no cluster was started from here\n"


@pytest.mark.long
def test_client_that_is_killed_leaves_a_cluster_that_ends_at_its_hours(user, hosts, world):
    storage = world.storage.bucket_uri("hours")
    child = user.begin(
        f"run small_stack.py --seconds 60 {ON} --run-id hours --max-hours 0.02", storage=storage
    )
    user.wait_for_units(storage, "hours", 0, child)
    user.abandon(child)

    until(lambda: user.warden(hosts["head"])["ended"], "the head ends it", timeout_s=300)
    until(lambda: left_behind(hosts) == nothing(hosts), "all is gone", timeout_s=200)

    ended = user.warden(hosts["head"])
    assert "of at most 0.02 hours" in ended["ended"]
    # Its work was saved before, so it can go on elsewhere.
    assert user.left(storage, "hours")["status"] == "STOPPED"
    listed = user.distml("cluster list")
    assert f"{user.name}  gone" in listed.out
    status = user.distml(f"cluster status {user.name}")
    assert "ended: it has been up for" in status.out


def test_cluster_comes_up_and_goes_by_its_own_commands(user, hosts):
    up = user.distml("cluster up cluster/it.yaml --max-hours 1")
    assert up.code == 0, up
    assert "it ends after 1 hours from its start or 60 minutes without a job" in up.out
    again = user.distml("cluster up cluster/it.yaml --max-hours 2")
    assert f"{user.name} was up" in again.out
    plan = json.loads((hosts["head"].folder / f"root/.distml/{user.name}/plan.json").read_text())
    assert plan["max_hours"] == 2
    assert user.distml(f"cluster ssh {user.name} hostname").out == "c-head\n"

    down = user.distml(f"cluster down {user.name}")

    assert down.code == 0, down
    assert left_behind(hosts) == nothing(hosts)
    assert user.distml("cluster down cluster/it.yaml").code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head_ip": "10.78.0.99"}, "root@10.78.0.99 cannot be reached by ssh"),
        ({"ssh_user": "nobody"}, "nobody@10.78.0.11 refuses to let us in with"),
    ],
    ids=["no such host", "not let in"],
)
def test_head_that_is_not_reached_is_told_of_in_one_line(user, hosts, change, said):
    text = (user.path / "cluster/it.yaml").read_text()
    for name, value in change.items():
        before = {"head_ip": "10.78.0.11", "ssh_user": "root"}[name]
        text = text.replace(f"{name}: {before}", f"{name}: {value}")
    (user.path / "cluster/other.yaml").write_text(text)

    told = user.distml("cluster up cluster/other.yaml")

    assert told.code == 2, told
    assert said in told.err
    assert told.err.count("\n") == 1
