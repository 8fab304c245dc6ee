"""A search over jobs whose driver is killed goes on, and ends as if nothing had happened."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distml.runs.record import RunStatus
from distml.runs.store import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOB = Path(__file__).parent / "searched_job.py"


def driver(storage: Path, *job: str) -> "subprocess.Popen[bytes]":
    place = ["--storage", str(storage), "--run-id", "one", "--launcher", "debug", "--inline"]
    command = [sys.executable, "-m", "distml.driver", *job[:1], *place, *job[1:]]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def outcome(storage: Path) -> dict[str, Any]:
    """What a search came to, but for how long it took."""
    record = RunStore(storage).load("one")
    assert record.status is RunStatus.SUCCEEDED
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in record.table]
    return {"search": record.details["search"], "metrics": record.metrics, "rows": rows}


def test_killed_ten_times_it_finds_what_it_would_have_found(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    notes = {folder: str(tmp_path / f"{folder.name}.txt") for folder in (whole, killed)}
    given = ("--", "--note", notes[whole], "--pause", "0.0")
    assert driver(whole, str(JOB), *given).wait() == 0
    # The note and the pause are arguments, not part of what is searched.
    process = driver(killed, str(JOB), "--", "--note", notes[killed], "--pause", "0.02")
    chance = random.Random(0)
    kills = 0
    while True:
        time.sleep(chance.uniform(2.0, 4.0))
        if process.poll() is None and kills < 10:
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
        process = driver(killed, "--resume")
    assert kills > 3
    assert outcome(killed) == outcome(whole)
    done = Counter(Path(notes[killed]).read_text().split())
    assert done == Counter(Path(notes[whole]).read_text().split())
