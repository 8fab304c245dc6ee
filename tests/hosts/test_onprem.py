"""`cluster/onprem.yaml` on three hosts, in this order: raised, used, disturbed, taken down."""

import pytest

from tests.hosts.namespaces import until
from tests.hosts.onprem import TOKEN

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

_NAMES = """
import socket, time
def name():
    time.sleep(2)
    return socket.gethostname()
print(*sorted(set(ray.get([ray.remote(name).remote() for _ in range(6)]))))
print(ray.cluster_resources()["CPU"])
"""
_WRITE = """
import socket
from pyarrow.fs import FileSelector, FileSystem
def write(uri):
    from pyarrow.fs import FileSystem  # the import tells pyarrow of s3
    storage, path = FileSystem.from_uri(uri)
    storage.open_output_stream(f"{path}/{socket.gethostname()}").close()
def everywhere(function, *arguments):
    at = [f"node:{n['NodeManagerAddress']}" for n in ray.nodes()]
    run = [ray.remote(function).options(resources={one: 0.001}) for one in at]
    ray.get([one.remote(*arguments) for one in run])
everywhere(write, URI)
storage, path = FileSystem.from_uri(URI)
print(*sorted(file.base_name for file in storage.get_file_info(FileSelector(path))))
"""
_HOLD = """
import pathlib, socket, time
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At
def hold(mark, seconds):
    pathlib.Path(mark).write_text("")
    time.sleep(seconds)
    return socket.gethostname()
there = [n["NodeID"] for n in ray.nodes() if n["NodeManagerHostname"] == HOST and n["Alive"]][-1]
task = ray.remote(hold).options(max_retries=3, scheduling_strategy=At(there, soft=True))
print("done by", ray.get(task.remote(MARK, SECONDS)))
"""


def holding(cluster, host, mark, seconds):
    """A job whose one task has begun on a host, where it stays for some seconds.

    A job, because its driver has the settings that the cluster was started with: a driver that was
    started by hand, without the keepalive, waits for minutes for a task on a host gone silent.
    """
    told = f"HOST, MARK, SECONDS = {host.name!r}, {mark!r}, {seconds}\n"
    connect = "import ray; ray.init(logging_level='ERROR', log_to_driver=False)\n"
    (cluster.head.folder / "root/hold.py").write_text(connect + told + _HOLD)
    command = "ray job submit --address http://127.0.0.1:8265 -- python ~/hold.py"
    driver = cluster.head.popen(command, env=TOKEN, stdout=-1, stderr=-1, text=True)
    until(lambda: cluster.written(mark) == [host], "the task has begun", alive=driver)
    return driver


def outcome(driver):
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, out + err
    return out.split("done by ")[1].split()[0]


def test_ray_up_makes_a_cluster_of_all_hosts(cluster):
    names, cpus = cluster.python(_NAMES).splitlines()

    assert names == "head one two"
    assert float(cpus) == 6


def test_the_token_is_on_every_host_for_nobody_else_to_read(cluster):
    for host in cluster.hosts:
        assert host.run("stat -c %a ~/.ray/auth_token").stdout == "600\n"


def test_every_node_writes_to_the_storage_with_credentials_of_its_own(cluster, world):
    uri = world.storage.bucket_uri("onprem")

    assert cluster.python(f"URI = {uri!r}\n{_WRITE}") == "head one two\n"


@pytest.mark.long
def test_a_link_that_is_silent_for_a_moment_disturbs_nothing(cluster):
    two = cluster.hosts[2]
    driver = holding(cluster, two, "/tmp/moment", 10)

    two.silence()
    assert two.run("sleep 4").returncode == 0
    two.speak()

    assert outcome(driver) == "two"
    assert cluster.num_nodes() == 3


@pytest.mark.long
def test_the_task_of_a_host_gone_silent_is_done_by_another_and_the_host_comes_back(cluster):
    two = cluster.hosts[2]
    driver = holding(cluster, two, "/tmp/silent", 10)

    two.silence()
    cluster.wait_for(2)
    assert outcome(driver) in ("head", "one")
    two.speak()

    cluster.wait_for(3)


@pytest.mark.long
def test_the_task_of_a_host_that_dies_is_done_by_another(cluster):
    one = cluster.hosts[1]
    driver = holding(cluster, one, "/tmp/dies", 10)

    one.kill()
    cluster.wait_for(2)

    assert outcome(driver) in ("head", "two")


def test_down_leaves_no_process_on_any_host(cluster):
    assert cluster.head.processes()

    cluster.down()

    for host in cluster.hosts:
        until(lambda host=host: not host.processes(), f"{host.name} is empty", timeout_s=20)
