"""A machine on the same network without the token: a cluster does and tells nothing for it."""

import json

import pytest

from tests.hosts import stranger
from tests.hosts.namespaces import until
from tests.hosts.onprem import FILE, TOKEN

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

SECRET = "canary-" + "4b1d"
OPEN_BY_RAY = {6380, 8076, 52365, 52366, 52367}
"""Ports at which every node takes connections, beside those of its workers."""
OPEN_BY_THE_HEAD = {6379, 10001}
_REFUSED = ("UNAUTHENTICATED", "UNIMPLEMENTED", "401", "403")
_CONNECT = "import ray; ray.init('auto', logging_level='ERROR', log_to_driver=False)\n"
_WORK = f"""
import os, time
ray.experimental.internal_kv._internal_kv_put("{SECRET}", "{SECRET}")
def work(mark):
    open(mark, "w").close()
    time.sleep(1000)
works = [ray.remote(work).options(name="{SECRET}").remote("/tmp/works") for _ in range(6)]
ray.get(works)
"""
_CLIENTS = {
    "driver": "import ray; ray.init('10.77.0.11:6379'); print(ray.nodes())",
    "ray client": "import ray; ray.init('ray://10.77.0.11:10001'); print(ray.nodes())",
    "state": "from ray.util.state import list_nodes; print(list_nodes('10.77.0.11:6379'))",
    "jobs": "from ray.job_submission import JobSubmissionClient as J;"
    "print(J('http://10.77.0.12:52365').list_jobs())",
    "gcs": "from ray._raylet import GcsClient;"
    "print(GcsClient('10.77.0.11:6379').internal_kv_keys(b'', None, timeout=5))",
}  # fmt: skip


@pytest.fixture(scope="module")
def busy(cluster):
    """The cluster with work on every CPU, so that the ports of its workers are open as well."""
    with cluster.head.popen(["python", "-c", _CONNECT + _WORK], env=TOKEN) as driver:
        until(lambda: cluster.written("/tmp/works") == cluster.hosts, "work", alive=driver)
        yield cluster
        driver.kill()


@pytest.fixture(scope="module")
def outsider(world):
    """Another machine on the network; it has Ray, but not the token."""
    host = world.start_host("outsider", "10.77.0.66")
    yield host
    host.kill()


def reachable(host):
    """Ports of a host that others reach, without that of its ssh."""
    ends = {
        (address.strip("[]").removeprefix("::ffff:"), port) for address, port in host.listening()
    }
    return {port for address, port in ends if address != "127.0.0.1"} - {22}


def test_only_the_ports_that_the_file_names_are_open(busy):
    text = FILE.read_text()
    for host in busy.hosts:
        others = {port for port in reachable(host) if not 20000 <= port <= 29999}
        assert others == OPEN_BY_RAY | (OPEN_BY_THE_HEAD if host is busy.head else set())
    for port in OPEN_BY_RAY | OPEN_BY_THE_HEAD:
        assert f"={port} " in text.replace("\n", " ") or f":{port} " in text


@pytest.mark.parametrize("token", ["", "w" * 64], ids=["no token", "a wrong token"])
def test_every_call_at_every_port_of_every_node_is_refused(busy, outsider, token):
    targets = {f"{host.address}:{port}" for host in busy.hosts for port in reachable(host)}

    told = outsider.run(["python", stranger.__file__, *targets], text=token, timeout_s=500).stdout
    answers = json.loads(told)

    # Ray ends workers that it started in vain, and with them goes their port.
    still = {f"{host.address}:{port}" for host in busy.hosts for port in reachable(host)}
    assert len(targets & still) >= 16
    for target, said in answers.items():
        assert said or target not in still, target
        refused = _REFUSED if target in still else (*_REFUSED, "UNAVAILABLE")
        taken = {call: answer for call, answer in said.items() if not answer.startswith(refused)}
        assert taken == {}, target
    assert SECRET not in told
    assert busy.written(stranger.MARK) == []
    assert busy.num_nodes() == 3


def test_rays_own_clients_come_to_nothing(busy, outsider):
    programs = {}
    for name, code in _CLIENTS.items():
        for mode in ("token", "disabled"):
            command = ["timeout", "100", "python", "-c", code]
            env = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": "w" * 64}
            programs[name, mode] = outsider.popen(command, env=env, stdout=-1, stderr=-1, text=True)
    for who, program in programs.items():
        out, err = program.communicate()
        assert program.returncode, (who, out)
        assert SECRET not in out + err, who
        assert "node_id" not in out.lower(), who


def test_the_same_calls_are_answered_to_who_has_the_token(busy, outsider, world):
    token = (world.client.folder / "root/.ray/auth_token").read_text().strip()

    said = outsider.run(["python", "-c", _WITH_TOKEN], cwd=FILE.parents[1], text=token).stdout

    job, nodes = said.splitlines()
    assert job.startswith("200")
    assert nodes.startswith("OK")
    assert "10.77.0.12" in nodes
    until(lambda: busy.written(stranger.MARK), "the job has run")


def test_training_on_two_workers_opens_ports_of_torch_which_the_file_warns_of(busy):
    before = {host.name: reachable(host) for host in busy.hosts}

    with busy.head.popen(["python", "-c", _CONNECT + _TRAIN], env=TOKEN) as driver:
        joined = [busy.hosts[1], busy.hosts[2]]
        until(lambda: busy.written("/tmp/joined") == joined, "they joined", alive=driver)
        opened = {host.name: reachable(host) - before[host.name] for host in busy.hosts}
        driver.kill()

    of_torch = {name: {p for p in ports if p >= 32768} for name, ports in opened.items()}
    # Each rank has one for the others, and rank 0 one where they meet.
    assert {name: len(ports) for name, ports in of_torch.items()} == {"head": 0, "one": 2, "two": 1}
    assert "32768-60999" in FILE.read_text()


_TRAIN = """
import time
def join(rank):
    import torch.distributed as dist
    dist.init_process_group("gloo", "tcp://10.77.0.12:40404", rank=rank, world_size=2)
    open("/tmp/joined", "w").close()
    time.sleep(1000)
at = [{"node:10.77.0.12": 0.001}, {"node:10.77.0.13": 0.001}]
run = [ray.remote(join).options(num_cpus=0, resources=one) for one in at]
ray.get([one.remote(rank) for rank, one in enumerate(run)])
"""
_WITH_TOKEN = """
import sys, grpc
from tests.hosts.stranger import WRITES, ask, call
token, job = sys.stdin.read(), "/api/job_agent/jobs/"
print(ask("10.77.0.12:52365", job, WRITES[job], token))
gcs, nodes = grpc.insecure_channel("10.77.0.11:6379"), "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"
print(call(gcs, nodes, token))
"""
