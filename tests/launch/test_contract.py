"""What every launcher does alike: the same jobs, through each of them."""

import contextlib
import io
import json
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distml.errors import UserError
from distml.launch.launcher import LaunchRequest, launcher
from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from tests.launch.head import TOKEN

TINY = Path(__file__).parent / "tiny.py"

pytestmark = [
    pytest.mark.parametrize(
        "name",
        ["debug", "local", pytest.param("cluster", marks=pytest.mark.slow)],
    ),
    # The driver sends warnings to the log; what pytest makes of them is not its business.
    pytest.mark.filterwarnings("default"),
]


class Place:
    """Runs of tiny jobs in one storage, by one launcher."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.kind = name.partition(":")[0]
        self.folder = folder
        self.is_remote = self.kind not in ("debug", "local")
        # A cluster knows each name once, whatever the storage.
        self.one = f"one-{secrets.token_hex(4)}" if self.is_remote else "one"
        self.storage = folder / "runs"
        self.store = RunStore(self.storage)
        self.job_file = Path(shutil.copy(TINY, folder))
        self.launcher = launcher(name)

    def request(self, *arguments, run_id=None, resume=False):
        job_file = None if resume else str(self.job_file)
        return LaunchRequest(
            storage=str(self.storage),
            run_id=run_id or self.one,
            job_file=job_file,
            arguments=arguments,
        )

    def run(self, *arguments, **options):
        """Submit and wait; exit code, and what the user reads on stderr."""
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            try:
                plan = self.launcher.plan(self.request(*arguments, **options))
                handle = self.launcher.submit(plan)
            except UserError as error:  # as the command line says it
                return 2, f"distml: error: {error}\n"
            code = handle.wait()
        return code, stderr.getvalue() + handle.last_words()

    def begin(self, *arguments, run_id=None):
        """Start a job that hangs, from another process, and wait until its task runs."""
        command = [sys.executable, "-m", "distml", "run", str(self.job_file), "--on", self.name]
        command += ["--storage", str(self.storage), "--run-id", run_id or self.one, *arguments]
        child = subprocess.Popen([*command, "--signs", str(self.folder)])
        until((self.folder / "started").exists)
        return child

    def attach(self, run_id=None):
        return self.launcher.attach(str(self.storage), run_id or self.one)


def until(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"{condition} did not come true"
        time.sleep(0.05)


@pytest.fixture
def place(name, tmp_path, monkeypatch, request):
    # What travels is the folder that a command is given in.
    monkeypatch.chdir(tmp_path)
    if name == "cluster":
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        name = f"cluster:{request.getfixturevalue('ray_head')}"
    return Place(name, tmp_path)


def test_planning_has_no_effect_and_prints_the_drivers_command_line(place):
    plan = place.launcher.plan(place.request("--rows", "7"))

    job_file = place.job_file.name if place.is_remote else place.job_file
    module = "distml.launch.keeper --folder . --" if place.is_remote else "distml.driver"
    assert f" -m {module} {job_file} --storage {place.storage}" in str(plan)
    assert shlex.join(plan.command).endswith(" -- --rows 7")
    assert not place.storage.exists()


def test_a_job_that_succeeds_leaves_its_result_in_the_record(place):
    code, words = place.run("--rows", "7")

    record = place.store.load(place.one)
    assert (code, words) == (0, "")
    assert record.status is RunStatus.SUCCEEDED
    assert record.metrics == {"test": {"r2": 1.07}}
    assert record.table == [{"model": "tiny", "kind": "member", "fit_s": 0.1, "test": {"r2": 0.5}}]
    assert {**record.details, "nodes": None} == {"rows": 7, "nodes": None}
    assert record.artifacts["note"]["bytes"] == 4
    assert (record.launcher, record.seed, len(record.attempts)) == (place.name, 1, 1)
    assert record.parameters == {
        "rows": 7, "end": "succeed", "signs": None, "num_cpus": None, "fast": True,
    }  # fmt: skip
    assert record.reason is None


def test_the_run_holds_the_job_file_as_it_was(place):
    place.run()

    assert place.store.job_source(place.one) == place.job_file.read_text()


def test_what_the_task_logs_and_reports_is_in_the_run(place):
    place.run()

    log = "".join(place.attach().logs(follow=True))
    assert "INFO tiny: logged by the task" in log
    assert "UserWarning: warned by the task" in log
    kinds = [event["kind"] for event in place.store.events(place.one)]
    # A cluster's nodes are told whenever they are seen.
    assert [kind for kind in kinds if kind != "nodes"] == ["attempt", "phase"]


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        ("break_down", 1, "ValueError: no luck at all"),
        ("lose_members", 1, "member 'forest' failed: MemoryError"),
        ("leave", 1, "SystemExit: 3"),
        ("lack_data", 2, "no files in data/; give a folder with Parquet files"),
    ],
)
def test_a_job_that_fails_says_why_in_one_line(place, end, code, reason):
    found, words = place.run("--end", end)

    record = place.store.load(place.one)
    assert (found, record.status, record.reason) == (code, RunStatus.FAILED, reason)
    log = str(place.storage / place.one / "log.txt")
    assert words == f"distml: error: {reason}" + (f"; see {log}\n" if code == 1 else "\n")
    assert "Traceback" in "".join(place.attach().logs())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--row", "5"], "tiny.py has no parameter --row; did you mean --rows?"),
        (["--rows", "many"], "parameter --rows: many is not an integer"),
        (["--rows=-1"], "job() raised ValueError: rows=-1 must not be negative"),
        (["--num-cpus", "100000"], "num_cpus=100000 is more than"),
    ],
)
def test_a_mistake_found_before_the_start_leaves_no_run(place, arguments, message):
    code, words = place.run(*arguments)

    assert code == 2
    assert words.startswith("distml: error: ")
    assert message in words
    assert words.count("\n") == 1
    assert place.store.list() == []
    assert place.is_remote or not place.storage.exists()


@pytest.mark.parametrize("exists", [True, False], ids=["raises", "missing"])
def test_a_job_file_that_is_none_leaves_no_run(place, exists):
    place.job_file.unlink()
    if exists:
        place.job_file.write_text("1 / 0")

    code, words = place.run()

    assert code == 2
    assert ("ZeroDivisionError" if exists else "no such job file") in words
    assert place.store.list() == []


def test_a_storage_that_cannot_be_written_is_refused(place):
    place.storage.write_text("a file, not a directory")

    code, words = place.run()

    assert code == 2
    assert f"storage {place.storage}" in words
    assert words.count("\n") == 1


def test_a_name_is_given_to_one_run_only(place):
    place.run("--rows", "7")

    code, words = place.run("--rows", "8")

    assert code == 2
    assert f"run {place.one} " in words
    assert place.store.load(place.one).parameters["rows"] == 7


def test_stopping_a_run_leaves_it_stopped_and_resumable(place):
    child = place.begin("--end", "hang_once", "--rows", "7")
    handle = place.attach()
    assert handle.status() is RunStatus.RUNNING
    assert handle.wait(timeout_s=0.1) is None

    handle.stop()

    assert (child.wait(), handle.wait()) == (130, 130)
    assert place.store.load(place.one).status is RunStatus.STOPPED
    assert place.store.load(place.one).reason == "stopped by SIGINT"

    code, words = place.run(resume=True)

    record = place.store.load(place.one)
    assert (code, words) == (0, "")
    assert record.status is RunStatus.SUCCEEDED
    assert record.parameters["rows"] == 7
    assert [attempt.status for attempt in record.attempts] == ["STOPPED", "SUCCEEDED"]


def test_a_resumed_run_uses_its_own_copy_of_the_job_file(place):
    place.run("--end", "break_down")
    place.job_file.write_text("raise RuntimeError('changed since')")

    code, words = place.run(resume=True)

    assert code == 1
    assert "no luck" in words


def test_a_run_that_has_succeeded_cannot_be_resumed(place):
    place.run()

    code, words = place.run(resume=True)

    assert code == 2
    assert f"run {place.one} has succeeded: nothing to resume" in words
    assert len(place.store.load(place.one).attempts) == 1


def test_two_drivers_on_one_run_are_refused(place):
    child = place.begin("--end", "hang")

    code, words = place.run(resume=True)

    assert code == 2
    pid = place.store.load(place.one).attempts[0].pid
    driver = "job one-" if place.is_remote else f"process {pid}"
    assert f"already being driven by {driver}" in words
    place.attach().stop()
    assert child.wait() == 130


def test_what_does_not_run_cannot_be_stopped(place):
    place.run()

    with pytest.raises(UserError, match=f"run {place.one} is SUCCEEDED: there is nothing to stop"):
        place.attach().stop()
    with pytest.raises(UserError, match="run two is not known"):
        place.attach("two").stop()


def test_modules_beside_the_job_file_can_be_imported_also_on_resume(place):
    beside = place.folder / f"beside_{place.kind}.py"
    beside.write_text("bonus = 3")
    source = TINY.read_text()
    place.job_file.write_text(source.replace("import logging", f"import logging, {beside.stem}"))

    place.run("--end", "break_down")
    code, _ = place.run(resume=True)

    assert code == 1
    assert "no luck" in place.store.load(place.one).reason


def test_the_record_is_the_same_wherever_the_job_ran(place):
    other = Place("local", place.folder)
    place.run("--rows", "7", run_id=place.one)
    other.run("--rows", "7", run_id="two")

    one, two = (json.loads(place.store.load(run_id).to_json()) for run_id in (place.one, "two"))
    # Only a cluster has nodes to tell of, one of which drives, and the tree that was sent has no
    # place of its own.
    for record in (one, two):
        record["details"].pop("nodes", None)
        record["host"].pop("name")
        record.pop("folder")
    assert Path(one.pop("job_file")).name == Path(two.pop("job_file")).name
    own = {"run_id", "launcher", "created_at", "started_at", "finished_at", "attempts"}
    assert {k: v for k, v in one.items() if k not in own} == {
        k: v for k, v in two.items() if k not in own
    }
