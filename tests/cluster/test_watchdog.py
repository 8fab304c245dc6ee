"""The watchdog of a cloud's machines, with a `pgrep` and a `sudo` that are made up."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

SCRIPT = Path(__file__).parents[2] / "cluster/node/watchdog.sh"


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which Ray runs as long as the file `raylet` is there."""
    for name, does in {
        "pgrep": f"echo look >> {tmp_path}/looks; test -e {tmp_path}/raylet",
        "sudo": f"echo $* >> {tmp_path}/ended",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path), "WATCHDOG_POLL_S": "0.01"}


@pytest.fixture
def watching(machine: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The watchdog, ended in the end."""
    with subprocess.Popen(["bash", SCRIPT, "watch"], env=machine) as process:
        yield process
        process.kill()


def looks(folder: Path) -> int:
    path = folder / "looks"
    return path.read_text().count("look") if path.exists() else 0


def until(come_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not come_true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_machine_without_ray_ends_after_thirty_looks(
    tmp_path: Path, watching: subprocess.Popen[bytes]
) -> None:
    until((tmp_path / "ended").exists)

    assert looks(tmp_path) >= 30
    assert (tmp_path / "ended").read_text().splitlines()[0] == "shutdown -h now"


def test_machine_with_ray_stays_and_looks_count_anew_when_it_comes_back(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    (tmp_path / "raylet").touch()
    with subprocess.Popen(["bash", SCRIPT, "watch"], env=machine) as process:
        until(lambda: looks(tmp_path) > 40)
        (tmp_path / "raylet").unlink()
        before = looks(tmp_path)
        until(lambda: looks(tmp_path) > before + 10)
        (tmp_path / "raylet").touch()
        until(lambda: looks(tmp_path) > before + 80)
        assert not (tmp_path / "ended").exists()
        process.kill()


def test_it_goes_on_in_the_background_and_once(tmp_path: Path, machine: dict[str, str]) -> None:
    (tmp_path / "raylet").touch()
    try:
        started = subprocess.run(["bash", SCRIPT], env=machine, timeout=20)
        until(lambda: looks(tmp_path) > 0)
        second = subprocess.run(["bash", SCRIPT, "watch"], env=machine, timeout=20)

        assert (started.returncode, second.returncode) == (0, 0)
        assert len(left(tmp_path)) == 1
    finally:
        for process in left(tmp_path):
            process.kill()


def left(folder: Path) -> list[psutil.Process]:
    """Watchdogs of the machine that has this folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            own = process.environ().get("HOME") == str(folder)
            found += [process] if own and str(SCRIPT) in process.cmdline() else []
    return found
