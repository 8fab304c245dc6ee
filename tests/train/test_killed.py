"""Real processes, killed at random: nothing is lost but the steps since a checkpoint."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "endure.py"


def begin(folder, *arguments, **environment):
    folder.mkdir(exist_ok=True)
    with (folder / "errors").open("a") as errors:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **environment},
            start_new_session=True,
        )


def end(process, folder, timeout_s=240):
    assert process.wait(timeout=timeout_s) == 0, (folder / "errors").read_text()[-3000:]
    return outcome(folder)


def outcome(folder):
    with np.load(folder / "weights.npz") as arrays:
        return dict(arrays), json.loads((folder / "facts.json").read_text())


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def until(condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true"
        time.sleep(0.05)


def has_begun_or_ended(folder, process):
    return (folder / "started").exists() or process.poll() is not None


def kill_family(process):
    """A machine that loses power: the driver and all that it has started."""
    family = [process.pid, *(p.pid for p in psutil.process_iter() if _session(p) == process.pid)]
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def _session(process):
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def workers_of(process):
    """The training workers that a driver has started, by their titles."""
    found = []
    for candidate in psutil.process_iter(["cmdline"]):
        title = " ".join(candidate.info["cmdline"] or [])
        if "RayTrainWorker" in title and _session(candidate) == process.pid:
            found.append(candidate.pid)
    return found


def workers_begun(folder):
    try:
        return (folder / "workers").read_text().split()
    except FileNotFoundError:
        return []


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    return end(begin(folder, 0), folder)


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paired") / "run"
    return end(begin(folder, 2), folder)


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.long) for k in (1, 2))])
def test_a_driver_killed_again_and_again_ends_with_the_same_weights(tmp_path, alone, seed):
    folder, moments, kills = tmp_path / "run", random.Random(seed), 0
    while kills < 4:
        process = begin(folder, 0)
        (folder / "started").unlink(missing_ok=True)
        until(partial(has_begun_or_ended, folder, process))
        time.sleep(moments.uniform(0.0, 0.5))
        if process.poll() is not None:
            break
        kill_family(process)
        kills += 1
    if not (folder / "weights.npz").exists():
        end(begin(folder, 0), folder)
    weights, facts = outcome(folder)

    assert kills >= 2
    assert_same(weights, alone[0])
    assert facts["losses"] == alone[1]["losses"]


def test_killed_workers_are_replaced_and_nothing_is_lost(tmp_path, paired):
    folder, moments = tmp_path / "run", random.Random(0)
    process = begin(folder, 2)
    for kill in range(2):
        # What killed workers said last may come late: epochs count once both new ones have begun.
        until(lambda both=2 * (kill + 1): len(workers_begun(folder)) >= both)
        (folder / "started").unlink(missing_ok=True)
        until((folder / "started").exists)
        time.sleep(moments.uniform(0.0, 1.0))
        os.kill(moments.choice(workers_of(process)), signal.SIGKILL)
    weights, facts = end(process, folder)

    assert facts["lost"] == 2
    assert_same(weights, paired[0])
    assert facts["losses"] == paired[1]["losses"]


@pytest.mark.long
def test_a_machine_that_loses_power_goes_on_with_the_same_workers(tmp_path, paired):
    folder = tmp_path / "run"
    process = begin(folder, 2)
    until((folder / "started").exists)
    time.sleep(0.5)
    kill_family(process)

    weights, facts = end(begin(folder, 2), folder)

    assert facts["lost"] == 0
    assert_same(weights, paired[0])


@pytest.mark.long
def test_a_fit_begun_by_one_process_is_ended_by_two_workers(tmp_path, alone):
    folder = tmp_path / "run"
    process = begin(folder, 0)
    until((folder / "started").exists)
    kill_family(process)

    _, facts = end(begin(folder, 2), folder)

    assert facts["epochs"] == alone[1]["epochs"]
    # Dropout draws for each worker by itself, so the curves are alike and no more.
    np.testing.assert_allclose(facts["losses"], alone[1]["losses"], rtol=0.25)


def on_nodes(folder, mode, **environment):
    """Run the fit on nodes of its own, and end it if it hangs."""
    folder.mkdir()
    with (
        tempfile.TemporaryDirectory(prefix="dml") as temp,
        (folder / "errors").open("a") as errors,
        subprocess.Popen(
            [sys.executable, str(SCRIPT.with_name("endure_nodes.py")), str(folder), mode, temp],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, **environment},
        ) as process,
    ):
        try:
            return end(process, folder, timeout_s=280)
        finally:
            kill_family(process)


def test_workers_of_a_lost_node_are_replaced_on_another(tmp_path, paired):
    weights, facts = on_nodes(tmp_path / "run", "lose")

    assert facts["lost"] >= 1
    assert_same(weights, paired[0])


@pytest.mark.long
def test_a_node_taken_away_with_notice_is_no_failure(tmp_path):
    folder = tmp_path / "run"
    _, facts = on_nodes(folder, "take", EPOCHS="60")

    assert (facts["lost"], facts["preempted"]) == (0, 1)
    assert facts["epochs"] == list(map(float, range(60)))


def test_workers_become_fewer_and_more_as_nodes_go_and_come(tmp_path):
    folder = tmp_path / "run"
    _, alone = end(begin(tmp_path / "alone", 0, EPOCHS="60"), tmp_path / "alone")

    _, facts = on_nodes(folder, "shrink", EPOCHS="60")
    counts = [key for key, _ in itertools.groupby((folder / "workers").read_text().split())]

    assert counts == ["2", "1", "2"]
    assert facts["epochs"] == alone["epochs"]
    # Dropout draws for each worker by itself, so the curves are alike and no more.
    np.testing.assert_allclose(facts["losses"], alone["losses"], rtol=0.25)
