"""A machine of the world: its own network, processes, hostname, sshd and folders, on this machine.

One decision: its first process is found from the outside by its process id, and all is done to it
from there, so that a host whose link is silent is still ours to look at.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.hosts.namespaces import NEW, Inside, enter, ip, members, only_child, until

HOME = str(Path("~root").expanduser())
"""Of root on every host: each has one of its own there."""

CHECKOUT = Path(__file__).parents[2]
"""The code under test; at the same path on every host."""

PREFIX = Path(sys.prefix)
"""The environment under test; at the same path on every host."""

_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_SSHD = """\
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
MaxStartups 100
Subsystem sftp internal-sftp
"""


class Host:
    """A machine of the world; made by `World.start_host`.

    Attributes:
        name, address: As given; every host finds every other by either.
        folder: Its files as seen from outside: `root/`, `tmp/`, `sshd.log`.
        environment: What its shells and ssh sessions have.
    """

    def __init__(
        self, name: str, address: str, *, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.environment = dict(environment)
        self._started: list[Inside] = []

    def begin(self, world_pid: int, wire: str, keys: Path, *, sshd: bool = True) -> None:
        """Make folders and namespaces, and lay the wire; the host's first process is up then."""
        self._world_pid, self._wire = world_pid, wire
        self._furnish(keys, sshd=sshd)
        script = ("bash", str(Path(__file__).with_name("host.sh")), str(self.folder), self.name)
        command = (*enter(world_pid, "nmp"), *NEW, "--uts", *script, *kept_folders())
        with (self.folder / "first.log").open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(
            (self.folder / "ready").exists, f"{self.name} has its folders", alive=self._process,
            log=self.folder / "first.log",
        )  # fmt: skip
        # nsenter waits for unshare, and that for the first process.
        self._unshare = only_child(self._process.pid)
        self.pid = only_child(self._unshare)
        self._lay_wire()

    def popen(
        self, command: str | Sequence[str], *, env: Mapping[str, str] | None = None,
        cwd: str | Path = HOME, **options: Any,
    ) -> Inside:  # fmt: skip
        """Start a program on the host, a string by its shell; as `subprocess.Popen`."""
        words = ["bash", "-c", command] if isinstance(command, str) else list(map(str, command))
        inside = ("env", "-i", f"--chdir={cwd}", *_assignments(self.environment | dict(env or {})))
        options.setdefault("stdin", subprocess.DEVNULL)
        # A session of its own: Ctrl-C at the tests is not for the world.
        options.setdefault("start_new_session", True)
        self._started = [child for child in self._started if child.poll() is None]
        self._started.append(Inside([*enter(self.pid), *inside, *words], **options))
        return self._started[-1]

    def run(
        self, command: str | Sequence[str], *, check: bool = True, timeout_s: float = 120.0,
        text: str | None = None, **options: Any,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a program on the host, a string by its shell; its output as text.

        Raises:
            RuntimeError: If it fails and `check`, with its output; if it takes longer than stated.
        """
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        pipes |= {} if text is None else {"stdin": subprocess.PIPE}
        with self.popen(command, **{**pipes, **options}) as child:
            try:
                out, err = child.communicate(text, timeout=timeout_s)
            except subprocess.TimeoutExpired:
                child.kill()
                out, err = child.communicate()
                raise RuntimeError(_told(self, command, f"took {timeout_s} s", out, err)) from None
        if check and child.returncode:
            raise RuntimeError(_told(self, command, f"exited with {child.returncode}", out, err))
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def kill(self) -> None:
        """End the host as a hypervisor would: SIGKILL for all that runs on it, the wire gone."""
        if not self.lives():
            return
        # As with power loss, nobody is told: the wire goes before the processes close anything.
        self.silence()
        psutil.Process(self.pid).kill()
        self._process.wait(30)
        for child in self._started:
            child.wait(30)

    def lives(self) -> bool:
        """Whether the host has not been killed."""
        return self._process.poll() is None

    def silence(self) -> None:
        """Let nothing come or go any more; it sees its own link up, as by a bad switch."""
        ip(self._world_pid, f"link set {self._wire} nomaster")

    def speak(self) -> None:
        """Undo `silence`."""
        ip(self._world_pid, f"link set {self._wire} master wire")

    def processes(self) -> list[str]:
        """Command lines of all that runs on the host, but its first process and sshd."""
        if not self.lives():
            return []
        lines = [_command_line(process) for process in members(self.pid)]
        own = ("bash " + str(Path(__file__).with_name("host.sh")), "sleep infinity")
        return sorted(line for line in lines if line and not line.startswith((*own, "sshd:")))

    def listening(self) -> list[tuple[str, int]]:
        """Address and port of every TCP socket that takes connections, in order of ports."""
        lines = self.run(["ss", "-H", "-l", "-t", "-n"]).stdout.splitlines()
        ends = [line.split()[3].rsplit(":", 1) for line in lines]
        return sorted({(address, int(port)) for address, port in ends}, key=lambda end: end[::-1])

    def answers(self, port: int) -> bool:
        """Whether something on the host listens at a port that others can reach."""
        return any(end[1] == port and end[0] != "127.0.0.1" for end in self.listening())

    def _furnish(self, keys: Path, *, sshd: bool) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "root/.ssh").mkdir(parents=True, mode=0o700)
        (self.folder / "tmp").mkdir()
        (self.folder / "tmp").chmod(0o1777)
        exports = "".join(f"export {line}\n" for line in _quoted(self.environment))
        (self.folder / "root/.bashrc").write_text(exports)
        # A login shell resets the path after what ssh has given.
        (self.folder / "root/.profile").write_text(". ~/.bashrc\n")
        shutil.copy(keys / "client_key.pub", self.folder / "root/.ssh/authorized_keys")
        if sshd:
            shutil.copy(keys / "host_key", self.folder)
            (self.folder / "sshd_config").write_text(_SSHD.format(folder="/run/own"))
        else:
            shutil.copy(keys / "client_key", self.folder / "root/.ssh/id_ed25519")

    def _lay_wire(self) -> None:
        # The same address keeps the same MAC: a replaced host is found at once by its neighbours.
        mac = ":".join(f"{int(part):02x}" for part in f"2.0.{self.address}".split("."))
        peer = f"type veth peer name eth0 netns {self.pid}"
        far = f"02:01{mac[5:]}"
        ip(
            self._world_pid,
            f"link add {self._wire} address {far} {peer}",
            f"link set {self._wire} master wire up",
        )
        ip(
            self.pid,
            "link set lo up",
            f"link set eth0 address {mac} up",
            f"addr add {self.address}/32 dev eth0",
            *(f"route add {network} dev eth0" for network in _PRIVATE),
        )


def kept_folders() -> list[str]:
    """Folders of the code and the interpreter that lie under what each host has of its own."""
    wanted = {CHECKOUT, PREFIX, Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]}
    own = (Path(HOME), Path("/tmp"), Path("/run"), Path("/dev/shm"))
    covered = {p for p in wanted if any(p.is_relative_to(folder) for folder in own)}
    return sorted(str(p) for p in covered if not any(q in p.parents for q in covered))


def _assignments(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in {"HOME": HOME, **environment}.items()]


def _quoted(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={shlex.quote(value)}" for name, value in environment.items()]


def _told(host: Host, command: str | Sequence[str], how: str, out: str, err: str) -> str:
    said = command if isinstance(command, str) else shlex.join(map(str, command))
    return f"on {host.name}: {said} {how}:\n{out}\n{err}"


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or process.name()
    except psutil.NoSuchProcess:
        return ""
