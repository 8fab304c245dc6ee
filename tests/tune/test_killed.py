"""A search over jobs whose driver is killed goes on, and ends as if nothing had happened."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distml.runs.record import RunStatus
from distml.runs.store import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOB = Path(__file__).parent / "searched_job.py"


def driver(storage: Path, *job: str) -> "subprocess.Popen[bytes]":
    place = ["--storage", str(storage), "--run-id", "one", "--launcher", "local"]
    command = [sys.executable, "-m", "distml.driver", *job[:1], *place, *job[1:]]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def outcome(storage: Path) -> dict[str, Any]:
    """What a search came to, but for how long it took."""
    record = RunStore(storage).load("one")
    assert record.status is RunStatus.SUCCEEDED
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in record.table]
    return {"search": record.details["search"], "metrics": record.metrics, "rows": rows}


def wait_for_attempt(storage: Path, number: int, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until a driver has begun its work; False if it has ended meanwhile."""
    store = RunStore(storage)
    while process.poll() is None:
        begun = (storage / "one" / "record.json").exists()
        if begun and len(store.load("one").attempts) >= number:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("at_once", "longest_s"), [pytest.param(1, 0.8, marks=pytest.mark.long), (2, 3.0)]
)
def test_killed_ten_times_it_finds_what_it_would_have_found(
    at_once: int, longest_s: float, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    notes = {folder: tmp_path / f"{folder.name}.txt" for folder in (whole, killed)}
    # The note and the pause are arguments, not part of what is searched.
    line = [str(JOB), "--", "--at-once", str(at_once), "--note"]
    assert driver(whole, *line, str(notes[whole])).wait() == 0
    line += [str(notes[killed]), "--pause", "0.05"]
    chance, kills = random.Random(0), 0
    process = driver(killed, *line)
    while wait_for_attempt(killed, kills + 1, process) and kills < 10:
        time.sleep(chance.uniform(0.0, longest_s))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        process = driver(killed, "--resume")
    assert process.wait() == 0
    assert kills > 3
    assert outcome(killed) == outcome(whole)
    once = notes[whole].read_text().split()
    done = notes[killed].read_text().split()
    assert set(done) == set(once)
    # A kill may fall between the end of a trial and the note of it.
    assert len(done) <= len(once) + at_once
