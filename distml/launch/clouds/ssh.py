"""Commands on another machine and a tunnel to it, by the system's own `ssh`.

One decision: no command may ask anything or wait for ever: a machine that is not reached within
five seconds, or refuses, is told of in one line. A tunnel lives as long as whoever holds it, even
if that is killed.
"""

import contextlib
import os
import select
import shlex
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from distml.errors import LaunchError, UserError

__all__ = ["Reach", "Tunnel"]

_READY_S = 10.0
_WORD = "distml-tunnel-is-up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """How to come in to one machine."""

    user: str
    """Name of the user over there."""
    address: str
    """Name or address of the machine."""
    key: str | None = None
    """File of the private key; `None`: as ssh itself finds one."""
    proxy: str | None = None
    """`ProxyCommand` of ssh."""
    known_hosts: str | None = None
    """File of host keys seen before; `None`: the user's own."""

    def command(self, *options: str, there: str | None = None, terminal: bool = False) -> list[str]:
        """The command line.

        Args:
            options: Further options of ssh.
            there: What to run there, by a login shell as Ray's cluster launcher has it.
            terminal: Whether a person sits before it.
        """
        chosen = {
            "BatchMode": None if terminal else "yes",
            "ConnectTimeout": "5",
            "ExitOnForwardFailure": "yes",
            "IdentitiesOnly": "yes" if self.key else None,
            "LogLevel": "ERROR",
            "ProxyCommand": self.proxy,
            "ServerAliveCountMax": "3",
            "ServerAliveInterval": "5",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": self.known_hosts,
        }
        words = ["ssh"]
        for name, value in chosen.items():
            words += [] if value is None else ["-o", f"{name}={value}"]
        words += ["-i", str(Path(self.key).expanduser())] if self.key else []
        words += [*options, f"{self.user}@{self.address}"]
        return words if there is None else [*words, f"bash --login -i -c {shlex.quote(there)}"]

    def run(self, there: str, *, content: bytes = b"", timeout_s: float = 60.0) -> str:
        """Run a command there.

        Args:
            there: Words for a shell.
            content: What the command reads.
            timeout_s: Seconds it may take.

        Returns:
            What it printed.

        Raises:
            UserError: the machine is not reached, or refuses to let us in.
            LaunchError: the command fails, or takes too long.
        """
        try:
            done = subprocess.run(
                self.command(there=there), input=content, capture_output=True, timeout=timeout_s
            )
        except FileNotFoundError:
            raise UserError("there is no ssh here; install openssh-client") from None
        except subprocess.TimeoutExpired:
            raise LaunchError(f"{self.address} took more than {timeout_s:.0f} s") from None
        if done.returncode == 255:
            raise self.refusal(done.stderr.decode(errors="replace"))
        if done.returncode:
            said = _last_line(done.stderr.decode(errors="replace")) or f"exit {done.returncode}"
            raise LaunchError(f"{self.address}: {said}")
        return done.stdout.decode(errors="replace")

    def refusal(self, said: str) -> UserError:
        """What ssh's own words come to, in one line."""
        line = _last_line(said) or "it ended without a word"
        who = f"{self.user}@{self.address}"
        if "Permission denied" in line or "Too many authentication" in line:
            key = self.key or "no key of the cluster file"
            return UserError(f"{who} refuses to let us in with {key}: {line}")
        if "HOST IDENTIFICATION" in said or "Host key verification failed" in line:
            return UserError(f"{who} shows another host key than before; if that is right, {line}")
        if "identity file" in said.lower() and "not accessible" in said:
            return UserError(f"{self.key}: there is no such key")
        return UserError(f"{who} cannot be reached by ssh: {line}")


class Tunnel:
    """A port of this machine that leads to a port of another's own; made when it is needed."""

    def __init__(self, reach: Reach, port_there: int = 8265) -> None:
        self._reach, self._port_there = reach, port_there
        self.port = _free_port()
        """Here, on 127.0.0.1."""
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Make it, or make it again if it has ended.

        Raises:
            UserError: the machine is not reached, or refuses to let us in.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        forward = f"127.0.0.1:{self.port}:127.0.0.1:{self._port_there}"
        # It reads from us, so it ends when we do; in a session of its own, so that Ctrl-C leaves
        # it to whoever wants to stop the run through it.
        self._process = subprocess.Popen(
            [*self._reach.command("-L", forward), f"echo {_WORD}; exec cat > /dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if not _said(self._process, _WORD):
            self._process.kill()
            _, words = self._process.communicate()
            raise self._reach.refusal(words.decode(errors="replace"))

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=5)
            return
        process.kill()
        process.communicate()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _said(process: "subprocess.Popen[bytes]", word: str) -> bool:
    """Whether a process comes to print a word."""
    assert process.stdout is not None
    read, end = b"", time.monotonic() + _READY_S
    while word.encode() not in read:
        left = end - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            return False
        piece = os.read(process.stdout.fileno(), 4096)
        if not piece:
            return False
        read += piece
    return True


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


def _last_line(said: str) -> str:
    """The last line that is not a shell's complaint about having no terminal."""
    lines = [line.strip() for line in said.splitlines()]
    kept = [
        one for one in lines if one and "job control" not in one and "terminal process" not in one
    ]
    return kept[-1] if kept else ""
