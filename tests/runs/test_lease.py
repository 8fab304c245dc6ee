import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distml.errors import UserError
from distml.runs.lease import Lease, LeaseState, lease_state
from distml.runs.storage import Storage, open_storage

FOLDER = "r1/lease"

HOLDER = """
import sys, time
from distml.runs.lease import Lease
from distml.runs.storage import open_storage
lease = Lease(open_storage(sys.argv[1]), "r1/lease", stale_s=float(sys.argv[2])).acquire()
print("held", flush=True)
sys.stdin.readline()
lease.release()
"""


def hold(uri: str, stale_s: float = 15.0) -> "subprocess.Popen[str]":
    """A process that holds the lease until it is given a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, uri, str(stale_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def is_held(storage: Storage, stale_s: float = 15.0) -> bool:
    return lease_state(storage, FOLDER, stale_s=stale_s) is LeaseState.HELD


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def test_a_second_driver_is_refused_while_the_first_lives(any_uri: str) -> None:
    storage = open_storage(any_uri)
    holder = hold(any_uri)
    try:
        with pytest.raises(UserError, match=rf"run r1 is already .* process {holder.pid} on "):
            Lease(storage, FOLDER).acquire()
        assert is_held(storage)
    finally:
        end(holder)


def test_a_released_lease_can_be_taken_at_once(any_uri: str) -> None:
    storage = open_storage(any_uri)
    holder = hold(any_uri)
    holder.communicate("go\n")
    assert lease_state(storage, FOLDER) is LeaseState.NONE
    with Lease(storage, FOLDER).acquire():
        assert is_held(storage)
    assert not is_held(storage)


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_the_lease_of_a_killed_driver_on_this_machine_is_taken_over_at_once(
    any_uri: str, reaped: bool
) -> None:
    storage = open_storage(any_uri)
    holder = hold(any_uri)
    holder.send_signal(signal.SIGKILL)
    if reaped:
        holder.wait()
    else:
        wait_until(lambda: Path(f"/proc/{holder.pid}/stat").read_text().split()[2] == "Z")
    assert lease_state(storage, FOLDER) is LeaseState.STALE
    with Lease(storage, FOLDER).acquire():
        assert len(storage.list(FOLDER)) == 1
    end(holder)


def elsewhere(uri: str) -> str:
    """Make the only lease there look like that of another machine; returns its path."""
    storage = open_storage(uri)
    path = f"{FOLDER}/{storage.list(FOLDER)[0].name}"
    content = storage.read(path)
    storage.write(path, content.replace(b'"machine": "', b'"machine": "far away '))
    return path


def test_a_driver_elsewhere_counts_as_gone_only_without_a_heartbeat(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    holder = hold(str(tmp_path))
    end(holder)
    path = tmp_path / elsewhere(str(tmp_path))
    with pytest.raises(UserError, match="already being driven"):
        Lease(storage, FOLDER).acquire()
    assert is_held(storage)
    long_ago = time.time() - 60
    os.utime(path, (long_ago, long_ago))
    assert not is_held(storage)
    with Lease(storage, FOLDER).acquire():
        assert not path.exists()


def test_a_heartbeat_keeps_the_lease_alive_longer_than_it_would_last(any_uri: str) -> None:
    storage = open_storage(any_uri)
    with Lease(storage, FOLDER, stale_s=2.0).acquire() as lease:
        first = storage.list(FOLDER)[0].modified_at
        wait_until(lambda: storage.list(FOLDER)[0].modified_at > first + 1)
        assert is_held(storage, stale_s=2.0)
        assert not lease.lost


def test_of_many_who_come_at_once_at_most_one_gets_it(any_uri: str) -> None:
    start = threading.Barrier(6)

    def claim(_: int) -> Lease | str:
        lease = Lease(open_storage(any_uri), FOLDER)
        start.wait()
        try:
            return lease.acquire()
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(claim, range(6)))
    got = [answer for answer in answers if isinstance(answer, Lease)]
    assert len(got) <= 1
    assert all("already being driven" in answer for answer in answers if isinstance(answer, str))
    assert len(open_storage(any_uri).list(FOLDER)) == len(got)
    for lease in got:
        lease.release()


def test_a_driver_whose_lease_was_taken_away_is_told_and_leaves_the_new_one_alone(
    tmp_path: Path,
) -> None:
    storage = open_storage(tmp_path)
    told = threading.Event()
    lease = Lease(storage, FOLDER, stale_s=0.4, on_lost=told.set).acquire()
    for entry in storage.list(FOLDER):
        storage.delete(f"{FOLDER}/{entry.name}")
    with Lease(storage, FOLDER).acquire():
        assert told.wait(30)
        assert lease.lost
        lease.release()
        assert is_held(storage)


def test_a_driver_that_slept_too_long_gives_way_to_the_one_that_took_over(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    sleeper = hold(str(tmp_path), stale_s=1.0)
    try:
        elsewhere(str(tmp_path))
        sleeper.send_signal(signal.SIGSTOP)
        wait_until(lambda: not is_held(storage, stale_s=1.0))
        with Lease(storage, FOLDER, stale_s=1.0).acquire() as lease:
            sleeper.send_signal(signal.SIGCONT)
            sleeper.communicate("go\n")
            assert [entry.name for entry in storage.list(FOLDER)] == [lease._name]
    finally:
        end(sleeper)
