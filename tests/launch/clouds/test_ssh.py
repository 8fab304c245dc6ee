"""Commands on another machine: `ssh` is a script that does as it is told."""

import os
import stat
import time

import pytest

from distml.errors import LaunchError, UserError
from distml.launch.clouds.ssh import Reach, Tunnel

HEAD = Reach(user="me", address="head", key="~/.ssh/key")


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Write what `ssh` does; `$said` has its last words, those for the other machine."""

    def write(script):
        path = tmp_path / "bin" / "ssh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/bash\nsaid="${{@: -1}}"\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return write


def test_command_asks_nothing_and_waits_for_nobody():
    words = HEAD.command("-N", there="echo 'a b'")

    assert "BatchMode=yes" in words
    assert "ConnectTimeout=5" in words
    assert str(words[words.index("-i") + 1]).endswith("/.ssh/key")
    assert words[-2:] == ["me@head", "bash --login -i -c 'echo '\"'\"'a b'\"'\"''"]
    plain = Reach(user="me", address="head", proxy="nc %h %p").command(terminal=True)
    assert "BatchMode=yes" not in plain
    assert "ProxyCommand=nc %h %p" in plain
    assert plain[-1] == "me@head"


def test_command_reads_what_it_is_given_and_its_output_comes_back(ssh):
    ssh('eval "$said"')

    assert Reach(user="me", address="head").run("tr a-z A-Z", content=b"words") == "WORDS"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("me@head: Permission denied (publickey).", "refuses to let us in with ~/.ssh/key"),
        ("ssh: connect to host head port 22: No route to host", "cannot be reached by ssh: ssh:"),
        ("Host key verification failed.", "shows another host key than before"),
        ("", "cannot be reached by ssh: it ended without a word"),
    ],
    ids=["refused", "no route", "host key", "silent"],
)
def test_machine_that_is_not_reached_is_told_of_in_one_line(ssh, words, said):
    ssh(f"echo '{words}' >&2; exit 255")

    with pytest.raises(UserError, match=said):
        HEAD.run("true")
    with pytest.raises(UserError, match=said):
        Tunnel(HEAD).keep()


def test_command_that_fails_gives_its_last_line_without_the_shells_complaints(ssh):
    ssh("echo no such thing >&2; echo 'bash: no job control in this shell' >&2; exit 3")

    with pytest.raises(LaunchError, match=r"^head: no such thing$"):
        HEAD.run("true")


def test_command_that_takes_too_long_is_given_up(ssh):
    ssh("exec sleep 60")

    with pytest.raises(LaunchError, match="took more than 0 s"):
        HEAD.run("true", timeout_s=0.1)


def test_tunnel_is_made_once_and_again_when_it_has_ended(ssh, tmp_path):
    ssh(f'echo "$@" >> {tmp_path}/calls; eval "$said"')
    tunnel = Tunnel(HEAD, 8265)

    tunnel.keep()
    tunnel.keep()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert f"-L 127.0.0.1:{tunnel.port}:127.0.0.1:8265" in calls[0]
    assert tunnel._process is not None
    tunnel._process.kill()
    tunnel._process.wait()
    tunnel.keep()
    assert len((tmp_path / "calls").read_text().splitlines()) == 2
    process = tunnel._process
    tunnel.close()
    assert process.poll() is not None


def test_tunnel_ends_with_whoever_holds_it(ssh):
    ssh('eval "$said"')
    tunnel = Tunnel(HEAD)
    tunnel.keep()
    process = tunnel._process
    assert process is not None
    # As when the one who holds it is killed: its end of the pipe is closed.
    assert process.stdin is not None
    process.stdin.close()

    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert process.poll() is not None
    process.stdin = None
    tunnel.close()
