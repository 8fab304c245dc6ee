"""EC2 made of moto and hosts of the world: each instance that moto says runs is a host.

One decision: moto decides what there is, and hosts follow within a second; so whatever ends an
instance (the autoscaler, `distml cluster down`, the head itself, a test that plays Amazon) ends a
machine with all that ran on it.
"""

import json
import shutil
import threading
from typing import Any

import yaml

from tests.hosts.cloud_user import CloudUser
from tests.hosts.host import CHECKOUT, Host
from tests.hosts.namespaces import Inside, until
from tests.hosts.world import World

__all__ = ["Fleet", "aws_file", "aws_user"]

METADATA = "169.254.169.254"
_PORT = 9100
_JOBS = ("tests/hosts/small_stack.py", "tests/hosts/small_network.py")
_MARK = "root/spot-action.json"


class Fleet:
    """The account's instances as hosts; a context manager."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.url = f"http://{world.storage.address}:{_PORT}"
        self.env = {"AWS_ENDPOINT_URL": self.url}
        world.client.environment.update(self.env)
        self.hosts: dict[str, Host] = {}
        """Instance → its machine, for as long as it runs."""
        self.most = 0
        """How many ran at one time."""
        self._seen: dict[str, dict[str, Any]] = {}
        self._metadata: dict[str, Inside] = {}
        self._ends = threading.Event()

    def __enter__(self) -> "Fleet":
        self._serve()
        self.ask(_ACCOUNT.format(template=str(CHECKOUT / "cluster/account/aws.yaml")))
        self._poll = self.world.storage.popen(
            ["python", "-c", _POLL], env=self.env, stdout=-1, text=True
        )
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        self._poll.kill()
        self._thread.join()
        self._poll.wait()
        if self._poll.stdout:
            self._poll.stdout.close()
        for name in list(self.hosts):
            self._end(name)
        self._server.kill()
        self._server.wait()

    def ask(self, code: str) -> Any:
        """What a program with `ec2`, a client of boto3, prints as JSON."""
        words = ["python", "-c", _CLIENT + code]
        told = self.world.storage.run(words, env=self.env).stdout
        return json.loads(told) if told.strip() else None

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """The instances in some states, as moto has them now."""
        found = self.ask(_LIST)
        return [one for one in found if not states or one["state"] in states]

    def running(self, kind: str) -> list[str]:
        """Instances of a node type that run and whose machine is up."""
        return [
            name for name, one in self._seen.items() if one["type"] == kind and name in self.hosts
        ]

    def take_away(self, instance: str, *, notice_s: float | None = None) -> None:
        """What Amazon does to a spot instance: at once, or with a notice before."""
        if notice_s is not None:
            (self.hosts[instance].folder / _MARK).write_text(str(notice_s))
            return
        self.ask(f"ec2.terminate_instances(InstanceIds=[{instance!r}])")
        until(lambda: instance not in self.hosts, f"{instance} is gone", timeout_s=30)

    def drained(self, instance: str) -> bool:
        """Whether an instance's watcher has had Ray drain it."""
        log = self.hosts[instance].folder / "root/spot_notice.log"
        return log.exists() and "Ray drains this node" in log.read_text()

    def _serve(self) -> None:
        log = self.world.storage.folder / "ec2.log"
        env = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
        with log.open("w") as out:
            command = ["python", "-c", _SERVER, str(_PORT)]
            self._server = self.world.storage.popen(command, env=env, stdout=out, stderr=out)
        until(lambda: self.world.storage.answers(_PORT), "EC2 answers", alive=self._server, log=log)

    def _follow(self) -> None:
        assert self._poll.stdout is not None
        for line in self._poll.stdout:
            if self._ends.is_set():
                return
            now = {one["id"]: one for one in json.loads(line)}
            for name in [name for name in self.hosts if name not in now]:
                self._end(name)
            for name, one in now.items():
                if name not in self.hosts:
                    self.hosts[name] = self._start(one)
            self._seen = now
            self.most = max(self.most, len(now))

    def _start(self, one: dict[str, Any]) -> Host:
        host = self.world.start_host(one["id"], one["address"], self.env)
        keys = host.folder / "root/.ssh/authorized_keys"
        keys.write_text(keys.read_text() + one["key"] + "\n")
        # Where an instance asks whether it will be taken away.
        host.run(f"ip address add {METADATA}/32 dev lo")
        self._metadata[one["id"]] = host.popen(["python", "-c", _METADATA_SERVER])
        return host

    def _end(self, name: str) -> None:
        self.hosts.pop(name).kill()
        self._metadata.pop(name).wait()


def aws_file(world: World, *, workers: int = 3, idle_minutes: float = 0.5) -> dict[str, Any]:
    """`cluster/aws.yaml` with what this world's machines need: root, two CPUs, short patience."""
    config: dict[str, Any] = yaml.safe_load((CHECKOUT / "cluster/aws.yaml").read_text())
    config["provider"]["use_internal_ips"] = True
    config["auth"]["ssh_user"] = "root"
    config["max_workers"], config["idle_timeout_minutes"] = workers, idle_minutes
    types = config["available_node_types"]
    types["cpu-spot"]["resources"] = {"CPU": 2}
    config["available_node_types"] = {name: types[name] for name in ("head", "cpu-spot")}
    return config


def aws_user(world: World, **options: Any) -> CloudUser:
    """A user with that file, and beside it what it names."""
    user = CloudUser(world, aws_file(world, **options), jobs=_JOBS)
    shutil.copytree(CHECKOUT / "cluster/node", user.path / "cluster/node")
    shutil.copy(CHECKOUT / "cluster/prices.csv", user.path / "cluster")
    return user


# Moto starts as few instances as it may, Amazon as many as it has.
_SERVER = """
import sys
from moto.ec2.responses.instances import InstanceResponse
from moto.server import main
asked = InstanceResponse._get_param
def most(self, name, *more, **options):
    return asked(self, "MaxCount" if name == "MinCount" else name, *more, **options)
InstanceResponse._get_param = most
main(["-H", "0.0.0.0", "-p", sys.argv[1]])
"""
_CLIENT = """
import boto3, json
ec2 = boto3.client("ec2")
def listed():
    keys = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    key = "\\n".join(one.get("PublicKey", "") for one in keys)
    found = []
    for reservation in ec2.describe_instances()["Reservations"]:
        for one in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}
            found.append({
                "id": one["InstanceId"], "state": one["State"]["Name"], "key": key,
                "address": one.get("PrivateIpAddress"), "type": tags.get("ray-user-node-type"),
                "spot": one.get("InstanceLifecycle") == "spot",
            })
    return found
"""
_LIST = "print(json.dumps(listed()))"
_POLL = (
    _CLIENT
    + """
import time
while True:
    print(json.dumps([one for one in listed() if one["state"] == "running"]), flush=True)
    time.sleep(1)
"""
)
_ACCOUNT = """
boto3.client("cloudformation").create_stack(
    StackName="distml", TemplateBody=open({template!r}).read(),
    Parameters=[{{"ParameterKey": "SshFrom", "ParameterValue": "10.0.0.0/8"}}],
    Capabilities=["CAPABILITY_NAMED_IAM"],
)
"""
_METADATA_SERVER = """
import datetime, http.server, json, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.say(200, "token")
    def do_GET(self):
        mark = pathlib.Path.home() / "spot-action.json"
        if not mark.exists():
            return self.say(404, "")
        end = mark.stat().st_mtime + float(mark.read_text())
        when = datetime.datetime.fromtimestamp(end, datetime.UTC).isoformat()
        self.say(200, json.dumps({"action": "terminate", "time": when}))
    def say(self, code, text):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler).serve_forever()
"""
