"""Real processes and real signals: what stops, what goes on, and that nothing is left over."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from distml.launch.handle import ProcessHandle
from distml.launch.local import LocalLauncher
from distml.launch.process import DriverProcess
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

TINY = Path(__file__).parent / "tiny.py"


class Terminal:
    """A shell in a folder with a tiny job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = RunStore(folder / "runs")
        self.children = []
        shutil.copy(TINY, folder)

    def begin(self, *arguments):
        command = [sys.executable, "-m", "distml", *arguments]
        child = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.children.append(child)
        return child

    def close(self):
        for child in self.children:
            if child.poll() is None:
                for member in DriverProcess.find(child.pid).family():
                    os.kill(member.pid, signal.SIGKILL)
        # A driver whose command line is gone holds its pipes open.
        for record in self.store.list():
            driver = DriverProcess.find(record.attempts[-1].pid) if record.attempts else None
            if driver is not None and driver.pid != os.getpid():
                driver.kill_family()
        for child in self.children:
            if not child.stdout.closed:
                child.communicate(timeout=30)

    def type(self, *arguments, timeout_s=60):
        child = self.begin(*arguments)
        output, errors = child.communicate(timeout=timeout_s)
        return child.returncode, output, errors

    def begin_run(self, end, *options):
        """Start a run called `one` that hangs, and wait until it has begun to."""
        child = self.begin(
            "run", "tiny.py", "--run-id", "one", "--end", end, "--signs", str(self.folder), *options
        )
        until((self.folder / "started").exists)
        return child

    def handle(self):
        return LocalLauncher().attach(str(self.store.uri), "one")

    def driver_family(self):
        """The run's driver and everything it has started."""
        return DriverProcess.find(self.store.load("one").attempts[-1].pid).family()


def until(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"{condition} did not come true"
        time.sleep(0.05)


def living(family):
    return [member for member in family if member.is_alive()]


@pytest.fixture
def terminal(tmp_path):
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_line_stops_the_run(terminal, signum):
    child = terminal.begin_run("hang")
    family = terminal.driver_family()

    child.send_signal(signum)
    output, errors = child.communicate(timeout=60)

    assert child.returncode == 130
    assert "run one STOPPED: stopped by SIGINT" in output
    assert "go on with: distml resume one" in output
    assert "Traceback" not in errors
    assert terminal.store.load("one").status is RunStatus.STOPPED
    assert family
    assert living(family) == []


def test_sigterm_to_the_driver_stops_the_run(terminal):
    child = terminal.begin_run("hang")

    os.kill(terminal.store.load("one").attempts[0].pid, signal.SIGTERM)

    assert child.wait(timeout=60) == 143
    assert terminal.store.load("one").reason == "stopped by SIGTERM"


def test_a_driver_that_does_not_listen_is_killed(terminal):
    child = terminal.begin_run("hang_deaf")
    family = terminal.driver_family()

    terminal.handle().stop(grace_s=0.5)
    _, errors = child.communicate(timeout=60)

    assert living(family) == []
    assert child.returncode == 137
    assert "distml: error: run one: its driver died" in errors
    assert terminal.store.load("one").reason == "driver died"


def test_a_second_interrupt_kills_at_once(terminal):
    child = terminal.begin_run("hang_deaf")
    family = terminal.driver_family()

    child.send_signal(signal.SIGINT)
    assert "stopping" in child.stderr.readline() + child.stderr.readline()
    child.send_signal(signal.SIGINT)

    child.communicate(timeout=8)
    assert child.returncode == 130
    assert living(family) == []


@pytest.mark.parametrize("end", ["have_children"])
def test_what_the_job_has_started_ends_with_it(terminal, end):
    child = terminal.begin_run(end)
    until((terminal.folder / "children").exists)
    family = terminal.driver_family()
    names = sorted(" ".join(psutil.Process(member.pid).cmdline()) for member in family)
    assert names[-2:] == ["sleep 601", "sleep 602"]

    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)

    assert living(family) == []


def test_a_detached_run_goes_on_is_followed_and_stopped(terminal):
    code, output, errors = terminal.type(
        "run", "tiny.py", "--run-id", "one", "--detach", "--end", "hang"
    )
    assert (code, output) == (0, "one\n")
    assert errors == "follow it: distml logs -f one\n"
    assert terminal.store.load("one").status is RunStatus.RUNNING
    logs = terminal.begin("logs", "-f", "one")
    family = terminal.driver_family()

    code, output, _ = terminal.type("stop", "one")

    assert (code, output) == (0, "stopped one\n")
    assert living(family) == []
    assert "printed by the task" in logs.communicate(timeout=60)[0]
    assert terminal.store.load("one").status is RunStatus.STOPPED


def test_a_mistake_in_a_detached_run_is_told_before_returning(terminal):
    code, output, errors = terminal.type("run", "tiny.py", "--detach", "--row", "5")

    assert (code, output) == (2, "")
    assert errors == "distml: error: tiny.py has no parameter --row; did you mean --rows?\n"
    assert not (terminal.folder / "runs").exists()


def test_what_a_job_prints_goes_into_the_log_only(terminal):
    code, output, errors = terminal.type("run", "tiny.py", "--run-id", "one")

    assert (code, errors) == (0, "")
    assert "printed by the task" not in output
    assert "printed by the task" in (terminal.folder / "runs/one/log.txt").read_text()


def test_the_number_of_a_dead_driver_is_not_stopped_when_another_has_it(terminal, monkeypatch):
    child = terminal.begin_run("hang")
    record = terminal.store.load("one")
    younger = DriverProcess(record.attempts[0].pid, record.attempts[0].started_at + 60)
    monkeypatch.setattr(DriverProcess, "find", lambda pid: younger)

    ProcessHandle(str(terminal.store.uri), "one").stop(grace_s=0.1)

    assert terminal.store.load("one").status is RunStatus.RUNNING
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)


@pytest.mark.parametrize(
    ("signum", "code", "status"),
    [
        (signal.SIGINT, 130, RunStatus.STOPPED),
        pytest.param(signal.SIGTERM, 143, RunStatus.STOPPED, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, 137, RunStatus.FAILED, marks=pytest.mark.slow),
    ],
)
def test_no_process_of_ray_outlives_its_driver(terminal, signum, code, status):
    child = terminal.begin_run("use_ray")
    until((terminal.folder / "ray").exists)
    until(lambda: len(terminal.driver_family()) > 4)
    family = terminal.driver_family()

    os.kill(terminal.store.load("one").attempts[0].pid, signum)

    assert child.wait(timeout=60) == code
    assert terminal.store.load("one").status is status
    until(lambda: living(family) == [])
    child.communicate()
