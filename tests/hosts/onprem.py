"""The cluster of `cluster/onprem.yaml` on hosts of the world: what a site fills in, up and down.

One decision: only what a site has to fill in is changed, so that what is tested is the file.
"""

from pathlib import Path
from typing import Any

import yaml

from tests.hosts.host import CHECKOUT, HOME, Host
from tests.hosts.namespaces import until
from tests.hosts.world import KEY, World

FILE = CHECKOUT / "cluster/onprem.yaml"
TOKEN = {"RAY_AUTH_MODE": "token"}
"""Without it Ray's clients do not look for the token that is there."""


def filled_in(head: str, workers: list[str], *, num_cpus: int = 2) -> dict[str, Any]:
    """The file's content with the world's addresses, user and key, and CPUs for each machine."""
    text = FILE.read_text().replace("--num-cpus=8", f"--num-cpus={num_cpus}")
    config: dict[str, Any] = yaml.safe_load(text)
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] |= {"ssh_user": "root", "ssh_private_key": KEY}
    return config


class OnPremises:
    """Three hosts that are a cluster between `up` and `down`; `head` is the first of them."""

    file = f"{HOME}/onprem.yaml"
    """Where the client has the cluster's file."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        names = {"head": "10.77.0.11", "one": "10.77.0.12", "two": "10.77.0.13"}
        self.hosts = [world.start_host(name, address) for name, address in names.items()]
        self.head = self.hosts[0]
        head, *workers = names.values()
        content = yaml.safe_dump(filled_in(head, workers, **options))
        (world.client.folder / "root/onprem.yaml").write_text(content)
        # Ray remembers here which machines have their files: not for machines of the same address.
        world.client.run("rm -f /tmp/ray/cluster-*; ray get-auth-token --generate", env=TOKEN)

    def up(self) -> None:
        """`ray up`, and wait for the workers."""
        self.world.client.run(["ray", "up", "-y", self.file], env=TOKEN, timeout_s=200)
        self.wait_for(len(self.hosts))

    def down(self) -> None:
        """What ends the cluster on every host: Ray's own command ends the head alone."""
        self.world.client.run(["ray", "down", "-y", self.file], env=TOKEN, timeout_s=200)
        for host in self.hosts:
            if host.lives():
                host.run("ray stop --grace-period 5; ray stop --force", timeout_s=60)

    def python(self, code: str, **options: Any) -> str:
        """What a program on the head that is connected to the cluster prints."""
        connect = "import ray; ray.init('auto', logging_level='ERROR', log_to_driver=False)\n"
        return self.head.run(["python", "-c", connect + code], env=TOKEN, **options).stdout

    def num_nodes(self) -> int:
        """How many nodes the cluster believes alive."""
        found = self.head.run(["python", "-c", _NUM_NODES], env=TOKEN, check=False, timeout_s=30)
        return int(found.stdout or 0) if found.returncode == 0 else 0

    def wait_for(self, num_nodes: int, timeout_s: float = 180.0) -> None:
        """Wait until so many nodes are believed alive."""
        try:
            until(lambda: self.num_nodes() == num_nodes, f"{num_nodes} nodes", timeout_s=timeout_s)
        except RuntimeError as error:
            raise RuntimeError(f"{error}{self.head.run(_LOGS, check=False).stdout}") from None

    def end(self) -> None:
        """Kill the hosts."""
        for host in self.hosts:
            host.kill()

    def written(self, name: str) -> list[Host]:
        """The hosts that have a file."""
        return [host for host in self.hosts if (host.folder / Path(name).relative_to("/")).exists()]


# The GCS is asked directly: to connect as a driver takes seconds.
_NUM_NODES = """
from ray._raylet import GcsClient
print(len([n for n in GcsClient("127.0.0.1:6379").get_all_node_info().values() if n.state == 0]))
"""
_LOGS = """
cd /tmp/ray/session_latest/logs
grep -i "dead\\|unhealthy\\|health check" gcs_server.out | tail -20
tail -n 40 monitor.log monitor.out
"""
