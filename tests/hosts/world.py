"""A world of hosts on one machine: Linux namespaces with a network that leads nowhere else.

One decision: everything in the world is a `Host`, also the storage and the place where a user
sits, so that all of them are entered, silenced and killed alike. What needs a cluster of machines
or an emulated cloud runs inside; the world refuses to begin where a way out exists.

    def test_something(world):                    # it has `world.client` and `world.storage`
        head = world.start_host("head", "10.77.0.11")         # answers ssh when this returns
        world.client.run(["ssh", *SSH, "root@head", "true"])
        world.client.run(["ray", "up", "-y", "cluster.yaml"], env={"RAY_AUTH_MODE": "token"})
        child = world.client.popen(["distml", "run", ...]); child.kill()
        head.silence(); head.speak(); head.kill(); head.processes(); head.listening()
        storage = world.storage.bucket_uri()      # s3://NAME/runs?endpoint_override=...

Addresses may be any of 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16: all are on the same wire.
Hosts have their own network, processes, hostname, /tmp, /run, /dev/shm and /root (to be looked at
in `host.folder`), and share everything else with this machine: the checkout is at the same path
everywhere, programs of the tests' environment (`distml`, `ray`, `python`) are on every path. Nodes
have credentials of the storage in their shells' environment, as machines of a real site would.
What emulates a cloud is started by `world.client.popen` or on a host; moto on `world.storage`
answers all of AWS at `world.storage.url`.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from tests.hosts.host import HOME, PREFIX, Host
from tests.hosts.namespaces import NEW, call, ip, only_child, refuse_a_way_out, until

KEY = f"{HOME}/.ssh/id_ed25519"
"""The private key on `world.client`; every host takes it for root."""

SSH = ("-i", KEY, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-q")
"""What a plain `ssh` on the client needs beside the address."""

SECRET = "c4n4ry-key-0f-all-n0des"
"""The secret of the storage, on every host: where it is found, it got lost."""

_PORT = 9000
_ENVIRONMENT = {
    "PATH": f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Bash is the first process of the world; it ends, and all with it, when its input does: whatever
# happens to the tests, nothing of the world is left.
_FIRST = """
mount --make-rprivate /
mount --bind "$1/nsswitch" /etc/nsswitch.conf
mount --bind "$1/hosts" /etc/hosts
test ! -e /etc/resolv.conf || mount --bind "$1/resolv" /etc/resolv.conf
touch "$1/ready"
read -r _
"""


class Storage(Host):
    """The host where the object store is: moto's server, which keeps all in memory."""

    url = f"http://10.77.0.3:{_PORT}"
    """Where it answers, S3 and the rest of AWS."""

    def serve(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", str(_PORT)]
        log = self.folder / "moto.log"
        # Ray makes roles for its head with policies that moto knows only on demand.
        env = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
        with log.open("w") as out:
            server = self.popen(command, env=env, stdout=out, stderr=out)
        until(lambda: self.answers(_PORT), "the storage answers", alive=server, log=log)

    def bucket_uri(self, name: str = "runs") -> str:
        """A storage for runs in a bucket, made if there is none of that name."""
        place = f"endpoint_override={self.address}:{_PORT}&scheme=http&region=us-east-1"
        self.run(["python", "-c", _PUT, f"{self.url}/{name}"])
        return f"s3://{name}/runs?{place}"


_PUT = """
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="PUT"))
"""


class World:
    """A network without a way out, and what lives on it; a context manager.

    Attributes:
        hosts: All hosts that live or lived, by name.
        client: Where the user sits; it has `KEY` and no sshd.
        storage: Where the object store is.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="dmlw"))
        self._wires = (f"w{number}" for number in count())
        self._first: subprocess.Popen | None = None

    def __enter__(self) -> "World":
        try:
            self._begin()
            self.client = Host("client", "10.77.0.2", **self._given("client"))
            self._add(self.client, sshd=False)
            self.storage = Storage("storage", "10.77.0.3", **self._given("storage"))
            self._add(self.storage, sshd=False)
            self.storage.serve()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def start_host(
        self, name: str, address: str, environment: Mapping[str, str] | None = None
    ) -> Host:
        """Start a machine, which answers ssh when this returns; `name` must be free or dead.

        Args:
            name: Its hostname.
            address: Its address, any of the private ones.
            environment: What its shells have beside what all have.
        """
        if name in self.hosts and self.hosts[name].lives():
            raise ValueError(f"host {name} lives")
        host = Host(name, address, **self._given(name, environment or {}))
        self._add(host, sshd=True)
        log = host.folder / "sshd.log"
        until(lambda: host.answers(22), f"sshd of {name} answers", log=log)
        return host

    def end(self) -> None:
        """Kill all hosts and remove their files."""
        for host in self.hosts.values():
            host.kill()
        if self._first is not None:
            with self._first:
                self._first.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        hosts = "127.0.0.1 localhost\n"
        texts = {"nsswitch": "passwd: files\ngroup: files\nhosts: files\n", "resolv": ""}
        for name, text in {**texts, "hosts": hosts}.items():
            (self.folder / name).write_text(text)
        for key in ("client_key", "host_key"):
            call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
        command = [*NEW, "bash", "-euc", _FIRST, "world", str(self.folder)]
        self._first = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        ready = self.folder / "ready"
        until(ready.exists, "the world begins", alive=self._first)
        self._pid = only_child(self._first.pid)
        # A bridge takes the lowest address of its wires unless it has its own; neighbours would
        # go on writing to the old one.
        bridge = "link add wire address 02:00:00:00:00:01 type bridge forward_delay 0"
        ip(self._pid, "link set lo up", bridge, "link set wire up")
        refuse_a_way_out(self._pid)

    def _given(self, name: str, environment: Mapping[str, str] = {}) -> dict:
        return {"folder": self.folder / name, "environment": {**_ENVIRONMENT, **environment}}

    def _add(self, host: Host, *, sshd: bool) -> None:
        self._say_where(host)
        self.hosts[host.name] = host
        host.begin(self._pid, next(self._wires), self.folder, sshd=sshd)
        refuse_a_way_out(host.pid)

    def _say_where(self, host: Host) -> None:
        # In place: the file is mounted over /etc/hosts everywhere.
        lines = (self.folder / "hosts").read_text().splitlines()
        others = [line for line in lines if line.split()[1] != host.name]
        text = "\n".join([*others, f"{host.address} {host.name}", ""])
        (self.folder / "hosts").write_text(text)
