"""The world of hosts itself: nothing leads out, and what is done to a host is done to it alone."""

import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from tests.hosts.host import CHECKOUT
from tests.hosts.namespaces import refuse_a_way_out, until
from tests.hosts.world import SSH

pytestmark = [pytest.mark.hosts, pytest.mark.slow]


def test_nothing_leads_out_of_the_world(world):
    for host in (world.client, world.storage):
        assert "default" not in host.run("ip route; ip -6 route").stdout
    assert world.client.run("exec 3<>/dev/tcp/192.0.2.1/80", check=False).returncode
    world.client.run("ip route add default dev eth0")
    with pytest.raises(RuntimeError, match="a way out"):
        refuse_a_way_out(world.client.pid)
    world.client.run("ip route del default")


def test_a_host_is_reached_by_name_and_has_folders_and_processes_of_its_own(world):
    host = world.start_host("one", "10.77.0.99", {"SPECIAL": "a b"})

    assert (
        world.client.run(["ssh", *SSH, "root@one", "hostname; echo $SPECIAL"]).stdout
        == "one\na b\n"
    )
    (host.folder / "root/seen").write_text("by the host")
    assert host.run("cat ~/seen; ls /tmp").stdout == "by the host"
    assert host.processes() == []
    child = host.popen(["sleep", "99"])
    until(lambda: host.processes() == ["sleep 99"], "it runs")
    child.kill()
    assert child.wait() < 0
    host.kill()
    assert not host.lives()


def test_a_silent_host_is_heard_again_and_a_killed_one_can_be_replaced(world):
    def hears():
        ping = "echo > /dev/tcp/two/22"
        return world.client.run(["timeout", "0.5", "bash", "-c", ping], check=False).returncode == 0

    host = world.start_host("two", "172.31.4.5")
    assert hears()
    host.silence()
    assert not hears()
    host.speak()
    until(hears, "it is heard again")
    host.kill()
    assert not hears()
    host = world.start_host("two", "172.31.4.5")
    assert hears()
    host.kill()


def test_a_host_writes_to_the_storage(world):
    uri = world.storage.bucket_uri("plain")

    written = world.client.run(["python", "-c", _WRITE, f"{uri.replace('?', '/seen?')}"]).stdout
    assert written == "plain/runs/seen\n"


_WRITE = """
import sys
from pyarrow.fs import FileSelector, FileSystem
storage, path = FileSystem.from_uri(sys.argv[1])
storage.open_output_stream(path).close()
print(*[file.path for file in storage.get_file_info(FileSelector("plain/runs"))])
"""


def test_nothing_of_a_world_outlives_the_tests_that_are_killed():
    command = [sys.executable, "-c", _WORLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as tests:
        folder, *pids = tests.stdout.readline().split()
        assert all(psutil.pid_exists(int(pid)) for pid in pids)
        tests.send_signal(signal.SIGKILL)

    until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids), "all have ended")
    shutil.rmtree(folder)


_WORLD = """
import time
from tests.hosts.world import World
with World() as world:
    host = world.start_host("three", "10.77.0.98")
    child = host.popen(["sleep", "1000"])
    print(world.folder, world.client.pid, world.storage.pid, host.pid, child.pid, flush=True)
    time.sleep(1000)
"""
