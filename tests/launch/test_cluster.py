"""A cluster that is there: how it is named, and what a real one does with a run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distml.errors import UserError
from distml.launch.cluster import ClusterLauncher, find_cluster
from distml.launch.launcher import LaunchLimits, LaunchRequest
from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from distml.runs.submissions import load_submission
from tests.launch.head import TOKEN, running_head

TINY = Path(__file__).parent / "tiny.py"

NAMED = """
[lab]
address = "http://lab:8265"
token_file = "~/lab-token"
python = "/opt/venv/bin/python"

[grows]
address = "http://grows:8265"
[[grows.workers]]
count = 2
CPU = 8
memory = 3e10
[[grows.workers]]
CPU = 4
GPU = 1

[wrong]
adress = "http://lab:8265"

[many]
address = "http://many:8265"
workers = 3

[small]
address = "http://small:8265"
workers = [{ cpu = 8 }]
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    folder = tmp_path / "settings" / "distml"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return folder / "clusters.toml"


def test_a_cluster_is_an_address_a_name_or_the_environments(settings, monkeypatch):
    settings.write_text(NAMED)
    monkeypatch.setenv("RAY_ADDRESS", "http://there:8265")

    assert find_cluster("http://h:8265").address == "http://h:8265"
    assert find_cluster(None).address == "http://there:8265"
    lab = find_cluster("lab")
    assert (lab.address, lab.python) == ("http://lab:8265", "/opt/venv/bin/python")


def test_what_a_named_cluster_may_start_is_told_to_its_drivers(settings, tmp_path, monkeypatch):
    settings.write_text(NAMED)
    (tmp_path / "job.py").touch()
    monkeypatch.chdir(tmp_path)
    request = LaunchRequest(storage="s3://bucket/runs", run_id="a", job_file="job.py")

    told = ClusterLauncher("grows").plan(request).submission["runtime_env"]["env_vars"]
    lab = ClusterLauncher("lab").plan(request).submission["runtime_env"]["env_vars"]

    one = {"CPU": 8, "memory": 3e10}
    assert json.loads(told["DISTML_MAY_START"]) == [one, one, {"CPU": 4, "GPU": 1}]
    assert "DISTML_MAY_START" not in lab


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "which cluster\\? say --on cluster:http://HOST:8265"),
        ("h:6379", "h:6379 is not the address of a dashboard"),
        ("ray://h:10001", "is not the address of a dashboard"),
        ("lub", "unknown cluster 'lub': .* names lab, grows, wrong, many, small"),
        ("wrong", r"\[wrong\] has address, token_file, python, workers; not adress"),
        ("many", r"\[many\] workers are tables of numbers: \[\[many.workers\]\] with CPU"),
        ("small", r"\[\[small.workers\]\] with CPU"),
    ],
)
def test_a_cluster_that_is_named_wrongly_is_refused(settings, target, message):
    settings.write_text(NAMED)

    with pytest.raises(UserError, match=message):
        find_cluster(target)


@pytest.mark.parametrize(
    "limits", [LaunchLimits(max_cost=3.0), LaunchLimits(down=True)], ids=["cost", "down"]
)
def test_what_distml_did_not_start_it_does_not_end(limits):
    request = LaunchRequest(storage="runs", run_id="a", limits=limits)

    with pytest.raises(UserError, match="an existing cluster takes --max-hours"):
        ClusterLauncher("http://h:8265").plan(request)


class Laptop:
    """A folder with a tiny job, from which runs are submitted to a real head."""

    def __init__(self, folder, address):
        self.folder, self.place = folder, f"cluster:{address}"
        self.store = RunStore(folder / "runs")
        (folder / "tiny.py").write_text(TINY.read_text())

    def type(self, *arguments):
        command = [sys.executable, "-m", "distml", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def run(self, run_id, *arguments):
        return self.type("run", "tiny.py", "--run-id", run_id, "--on", self.place, *arguments)


@pytest.fixture
def laptop(tmp_path, ray_head, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    return Laptop(tmp_path, ray_head)


def until(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"{condition} did not come true"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_driver_that_is_killed_is_started_again_and_resumes(laptop):
    signs = str(laptop.folder)
    code, output, _ = laptop.run("killed", "--detach", "--end", "hang_once", "--signs", signs)
    assert (code, output) == (0, "killed\n")
    until((laptop.folder / "resume").exists)

    os.kill(laptop.store.load("killed").attempts[0].pid, signal.SIGKILL)
    until(lambda: laptop.store.load("killed").status is RunStatus.SUCCEEDED)

    assert [attempt.reason for attempt in laptop.store.load("killed").attempts] == [
        "driver died", None,
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_over_its_hours_is_stopped_by_the_cluster_itself(laptop):
    code, _, errors = laptop.run("long", "--end", "hang", "--max-hours", "0.003")

    assert code == 124
    assert "the limit of --max-hours is reached" in errors
    assert laptop.store.load("long").status is RunStatus.STOPPED


@pytest.mark.slow
def test_a_large_tree_goes_through_the_storage(laptop, monkeypatch):
    from distml.launch import remote

    monkeypatch.chdir(laptop.folder)
    monkeypatch.setitem(remote.ship.__kwdefaults__, "max_request_bytes", 10)
    (laptop.folder / "beside.py").write_text("word = 1")
    source = TINY.read_text().replace("import logging", "import logging, beside")
    (laptop.folder / "tiny.py").write_text(source)
    launcher = ClusterLauncher(laptop.place.partition(":")[2])
    request = LaunchRequest(storage="runs", run_id="large", job_file="tiny.py")

    plan = launcher.plan(request)
    handle = launcher.submit(plan)

    assert "working_dir" not in plan.submission["runtime_env"]
    assert (handle.wait(), handle.last_words()) == (0, "")
    assert [path.name for path in Path("runs/packages").iterdir()] == [f"{plan.shipment.name}.zip"]


@pytest.mark.slow
def test_a_run_begun_here_goes_on_there(laptop):
    code, _, _ = laptop.type("run", "tiny.py", "--run-id", "moved", "--end", "break_down")
    assert code == 1
    source = laptop.store.job_source("moved")
    mended = source.replace('raise ValueError("no luck\\nat all")', "self.succeed(context)")
    assert mended != source
    laptop.store.storage.write("moved/job.py", mended.encode())

    code, _, errors = laptop.type("resume", "moved", "--on", laptop.place)

    assert (code, errors) == (0, "")
    assert [a.launcher for a in laptop.store.load("moved").attempts] == ["local", laptop.place]
    assert load_submission(laptop.store.storage, "moved").submission_id == "moved-2"


@pytest.mark.slow
def test_a_run_that_waits_can_be_stopped_before_it_has_a_record(laptop, monkeypatch):
    launcher = ClusterLauncher(laptop.place.partition(":")[2])
    (laptop.folder / "tiny.py").write_text("import time; time.sleep(600)")
    monkeypatch.chdir(laptop.folder)
    launcher.submit(
        launcher.plan(LaunchRequest(storage="runs", run_id="waits", job_file="tiny.py"))
    )

    code, output, _ = laptop.type("stop", "waits")

    assert (code, output) == (0, "stopped waits\n")


@pytest.mark.slow
def test_the_commit_of_the_tree_is_in_the_record(laptop):
    for words in (["init", "-q"], ["add", "tiny.py"], ["commit", "-qm", "One"]):
        identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", *identity, *words], cwd=laptop.folder, check=True)

    assert laptop.run("known")[0] == 0

    assert len(laptop.store.load("known").git["commit"]) == 40


@pytest.mark.slow
def test_a_run_whose_head_died_goes_on_at_a_fresh_one(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    first = running_head()
    with first as address:
        laptop = Laptop(tmp_path, address)
        signs = ("--signs", str(tmp_path))
        code, output, errors = laptop.run("moved", "--detach", "--end", "hang_once", *signs)
        assert (code, output) == (0, "moved\n"), errors
        until((tmp_path / "resume").exists)
        first.kill()
        # Nothing of it is left that could write, and its lease goes stale.
        until(lambda: laptop.store.load("moved").status is RunStatus.FAILED)

    with running_head() as address:
        code, _, errors = laptop.type("resume", "moved", "--on", f"cluster:{address}")

    assert (code, errors) == (0, "")
    record = laptop.store.load("moved")
    assert [attempt.reason for attempt in record.attempts] == ["driver died", None]
