"""Linux namespaces from outside: enter them, see who lives there, and that no way leads out."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

NEW = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Runs a program as the first process of namespaces of its own. SIGTERM does not end it."""

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_PACKAGES = {
    "sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync", "ip": "iproute2",
    "ss": "iproute2", "unshare": "util-linux", "nsenter": "util-linux",
}  # fmt: skip


@functools.cache
def why_not() -> str | None:
    """Why this machine can have no hosts made of namespaces; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts made of namespaces need Linux and root"
    missing = {p for name, p in _PACKAGES.items() if shutil.which(name, path=_PATH) is None}
    if missing:
        return f"hosts made of namespaces need the Debian packages {' '.join(sorted(missing))}"
    attempt = subprocess.run([*NEW, "true"], capture_output=True, text=True)
    return f"no namespaces here: {attempt.stderr.strip()}" if attempt.returncode else None


def enter(pid: int, kinds: str = "nmpu") -> tuple[str, ...]:
    """The start of a command line that runs the rest where process `pid` lives."""
    return ("nsenter", "-t", str(pid), *(f"-{kind}" for kind in kinds), "--")


def call(*command: str, text: str | None = None) -> str:
    """Run a command of the set-up; its output. Raises with what it says when it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr}")
    return done.stdout


def ip(pid: int, *lines: str) -> str:
    """Commands of `ip` in the network where process `pid` lives; process ids are ours."""
    return call(*enter(pid, "n"), "ip", "-batch", "-", text="\n".join(lines) + "\n")


def until(
    come_true: Callable[[], bool], what: str, *, alive: subprocess.Popen | None = None,
    log: Path | None = None, timeout_s: float = 60.0,
) -> None:  # fmt: skip
    """Wait until something is so, in vain neither for a process that ended nor for ever."""
    end = time.monotonic() + timeout_s
    while not come_true():
        if time.monotonic() > end or (alive is not None and alive.poll() is not None):
            words = log.read_text(errors="replace")[-2000:] if log and log.exists() else ""
            raise RuntimeError(f"in vain waited until {what}: {words}")
        time.sleep(0.02)


def only_child(pid: int) -> int | None:
    """The child of a process that has one; None if it has none yet."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return None
    return children[0].pid if children else None


def members(pid: int) -> list[psutil.Process]:
    """The living processes of the namespace of process `pid`, without looking from inside."""
    own = _namespace(pid)
    found = [p for p in psutil.process_iter() if own is not None and _namespace(p.pid) == own]
    return [process for process in found if _lives(process)]


def refuse_a_way_out(pid: int) -> None:
    """Raise unless the network of process `pid` has no default route and no wire to another.

    Emulated clouds invent public addresses, and Ray opens ssh connections to them: to strangers.
    """
    look = (*enter(pid, "n"), "ip", "-o")
    routes = "".join(call(*look, family, "route", "show", "default") for family in ("-4", "-6"))
    links = [line.split(":")[1].strip() for line in call(*look, "link", "show", "up").splitlines()]
    foreign = [link for link in links if link.split("@")[0] not in ("lo", "wire", "eth0")]
    if routes or foreign:
        raise RuntimeError(f"the world of hosts has a way out, nothing starts: {routes or foreign}")


class Inside(subprocess.Popen):
    """A program run by `nsenter`, which only waits for it: signals go to the program itself."""

    def send_signal(self, sig: int) -> None:
        """Send a signal to the program itself; `kill` and `terminate` come through here."""
        child = only_child(self.pid) if self.poll() is None else None
        if child is not None:
            os.kill(child, sig)
        elif sig == signal.SIGKILL:
            super().send_signal(sig)


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
