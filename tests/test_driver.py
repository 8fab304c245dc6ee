import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from textwrap import dedent

import pytest

from distml import driver
from distml.errors import StorageError
from distml.runs.lease import Lease
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

TINY = Path(__file__).parent / "launch" / "tiny.py"

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def drive(tmp_path):
    """Run the driver in this process on a task whose `run` has the given body."""

    def _drive(body="pass", *arguments, resume=False):
        source = f"""
            import distml.runs.events, distml.runs.units, os, time
            from distml.job import Job, Resources, Result

            class Task:
                def run(self, context):
                    {body}
                    return Result(metrics={{}})

            def job(cpus: int = 1):
                return Job(task=Task(), seed=5, resources=Resources(num_cpus=cpus))
        """
        (tmp_path / "task.py").write_text(dedent(source))
        what = "--resume" if resume else str(tmp_path / "task.py")
        place = ["--storage", str(tmp_path / "runs"), "--run-id", "one", "--launcher", "debug"]
        return driver.main([what, *place, "--inline", *arguments])

    return _drive


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def test_a_task_is_told_of_its_run(drive, store, capfd):
    body = "print(context.run_id, context.run_uri, context.seed, context.resources.num_cpus)"

    assert drive(body) == 0

    assert capfd.readouterr().out == f"one {store.uri}/one 5 1\n"


def test_units_and_events_of_the_run_are_active_in_the_task(drive, store):
    body = 'distml.runs.events.emit("log", message=distml.runs.units.active_units().uri)'

    assert drive(body) == 0

    assert [event.get("message") for event in store.events("one")] == [None, store.units.uri]


def test_the_process_is_left_as_it_was(drive):
    def state():
        root = logging.getLogger()
        handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        wakeup = signal.set_wakeup_fd(-1)
        return (
            root.handlers[:], root.level, warnings.showwarning, handlers, wakeup,
            os.environ.get("PYTHONPATH"),
        )  # fmt: skip

    before = state()

    drive("raise ValueError")

    assert state() == before


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("import bdb; raise bdb.BdbQuit", 130, "interrupted"),
        ("os.kill(os.getpid(), 2); time.sleep(60)", 130, "stopped by SIGINT"),
        ("os.kill(os.getpid(), 15); time.sleep(60)", 143, "stopped by SIGTERM"),
    ],
)
def test_what_interrupts_a_task_stops_the_run(drive, store, capfd, body, code, reason):
    assert drive(body) == code

    record = store.load("one")
    assert (record.status, record.reason) == (RunStatus.STOPPED, reason)
    assert capfd.readouterr().err == ""


def test_a_signal_counts_whatever_the_task_makes_of_it(drive, store):
    # Ray takes SIGTERM for itself, and turns it into an exit of its own.
    body = """
                    import signal, sys
                    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
                    os.kill(os.getpid(), signal.SIGTERM)"""

    assert drive(body) == 143

    assert store.load("one").status is RunStatus.STOPPED


def test_a_storage_that_fills_up_is_the_users_to_clear(drive, store, monkeypatch, capfd):
    def full(self, *args, **kwargs):
        raise StorageError("storage is full; free some space")

    monkeypatch.setattr(RunStore, "finish", full)

    assert drive() == 2

    assert capfd.readouterr().err == "distml: error: storage is full; free some space\n"
    assert store.load("one").status is RunStatus.FAILED


def test_a_result_whose_artifact_is_missing_is_a_failure(drive, store, capfd):
    body = 'return Result(metrics={}, artifacts={"model": "bundle"})'

    assert drive(body) == 2

    record = store.load("one")
    assert record.status is RunStatus.FAILED
    assert "bundle" in record.reason
    assert record.reason in capfd.readouterr().err


def test_a_driver_that_lost_its_lease_writes_no_outcome(drive, store, monkeypatch, capfd):
    monkeypatch.setattr(Lease, "lost", property(lambda self: True, lambda *_: None), raising=False)

    assert drive() == 1

    assert "run one was taken over by another driver" in capfd.readouterr().err
    assert store.storage.read("one/record.json").decode().count('"RUNNING"') == 2


def test_a_ray_that_is_joined_may_have_more_than_this_machine(drive, monkeypatch, capfd):
    assert drive("pass", "--", "--cpus", "100000") == 2
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    assert drive("pass", "--", "--cpus", "100000") == 0


def test_a_job_that_is_stopped_while_it_is_made_leaves_no_run(tmp_path):
    sign = tmp_path / "sign"
    job_file = tmp_path / "slow.py"
    job_file.write_text(
        f"import pathlib, time\ndef job():\n  pathlib.Path({str(sign)!r}).touch(); time.sleep(600)"
    )
    command = [sys.executable, "-m", "distml.driver", str(job_file), "--launcher", "local"]
    child = subprocess.Popen(
        [*command, "--storage", str(tmp_path / "runs"), "--run-id", "one"],
        stderr=subprocess.PIPE,
    )
    while not sign.exists():
        time.sleep(0.05)

    child.send_signal(signal.SIGTERM)

    assert child.communicate()[1] == b""
    assert child.returncode == 143
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_driver_died_is_resumed(tmp_path, store):
    shutil.copy(TINY, tmp_path)
    command = [sys.executable, "-m", "distml.driver", "--launcher", "local", "--run-id", "one"]
    command += ["--storage", str(store.uri)]
    line = ["--", "--end", "hang_once", "--signs", str(tmp_path)]
    child = subprocess.Popen([*command, str(tmp_path / "tiny.py"), *line])
    while not (tmp_path / "resume").exists():
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert store.load("one").reason == "driver died"

    assert subprocess.run([*command, "--resume"], check=False).returncode == 0

    attempts = [(attempt.status, attempt.reason) for attempt in store.load("one").attempts]
    assert attempts == [(RunStatus.FAILED, "driver died"), (RunStatus.SUCCEEDED, None)]
