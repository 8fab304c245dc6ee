"""A `TuneSearchCV` in a real process over Ray, killed at random, again and again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).parent / "endure.py"
KILLS = 5


def begin(folder, searcher):
    folder.mkdir(exist_ok=True)
    (folder / "started").unlink(missing_ok=True)
    with (folder / "errors").open("a") as errors:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), searcher],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def end(process, folder):
    assert process.wait(timeout=240) == 0, (folder / "errors").read_text()[-3000:]
    return json.loads((folder / "outcome.json").read_text())


def fits(folder):
    return len((folder / "fits").read_text().splitlines())


def kill_all(process):
    """A machine that loses power: the driver and whatever it has started."""
    for pid in [process.pid, *(other.pid for other in psutil.process_iter())]:
        try:
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    process.wait()


@pytest.mark.parametrize("searcher", ["random", pytest.param("optuna", marks=pytest.mark.long)])
def test_a_search_killed_again_and_again_ends_as_one_that_was_not(tmp_path, searcher):
    undisturbed = end(begin(tmp_path / "undisturbed", searcher), tmp_path / "undisturbed")
    folder, moments, kills = tmp_path / "killed", random.Random(searcher), 0
    while kills < KILLS:
        process = begin(folder, searcher)
        while not (folder / "started").exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(moments.uniform(0.0, 0.5))
        if process.poll() is not None:
            break
        kill_all(process)
        kills += 1
    outcome = end(begin(folder, searcher), folder)

    assert kills >= 3
    assert outcome == undisturbed
    assert len(set(outcome["reasons"])) > 1  # Some were stopped early.
    # What was written down as fitted is in the store, so it was never fitted again.
    needed = fits(tmp_path / "undisturbed")
    assert needed - 2 * kills <= fits(folder) <= needed
