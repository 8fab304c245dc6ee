import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from distml.errors import StorageError, UserError
from distml.job import Result
from distml.runs.provenance import new_record
from distml.runs.record import RunRecord, RunStatus
from distml.runs.store import DRIVER_DIED, RunPaths, RunStore

SOURCE = "def job():\n    return 'größe'\n"


def create(store: RunStore, run_id: str, **fields: object) -> RunRecord:
    record = RunRecord(run_id=run_id, job_file="jobs/x.py", launcher="local", **fields)  # type: ignore[arg-type]
    store.create(record, SOURCE)
    return record


def test_every_file_of_a_run_has_its_name_in_one_place() -> None:
    paths = RunPaths("s3://b/runs/r1?region=x")
    assert paths.record == "s3://b/runs/r1/record.json?region=x"
    names = [name for name, value in vars(RunPaths).items() if isinstance(value, property)]
    found = {name: getattr(RunPaths("r1"), name) for name in names}
    assert len(set(found.values())) == len(found)
    assert all(value.startswith("r1/") for value in found.values())


def test_a_storage_that_works_passes_the_check_and_keeps_nothing_of_it(any_uri: str) -> None:
    store = RunStore(any_uri)
    store.check()
    assert store.storage.list() == []


def test_a_storage_that_cannot_be_written_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"storage .*/file/runs: could not write"):
        RunStore(tmp_path / "file" / "runs").check()


def test_a_full_storage_fails_the_check(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (2 << 20))
    with pytest.raises(StorageError, match="is full"):
        RunStore(small_disk).check()


def test_a_run_is_created_started_and_finished(any_uri: str) -> None:
    store = RunStore(any_uri)
    record = new_record(job_file="jobs/größe.py", parameters={"rows": 5}, launcher="debug")
    paths = store.create(record, SOURCE)
    run_id = record.run_id
    assert paths == store.paths(run_id)
    assert store.load(run_id) == record
    assert store.job_source(run_id) == SOURCE
    with store.claim(run_id):
        started = store.start(run_id, seed=7)
        assert started == store.load("last")
        assert (started.status, started.seed, len(started.attempts)) == (RunStatus.RUNNING, 7, 1)
        assert (started.attempts[0].pid, started.attempts[0].launcher) == (os.getpid(), "debug")
        store.storage.write(f"{run_id}/bundle/a", b"12345")
        store.storage.write(f"{run_id}/bundle/deep/b", b"678")
        store.storage.write(f"{run_id}/report.html", b"<p>")
        finished = store.finish(
            run_id,
            status=RunStatus.SUCCEEDED,
            result=Result(
                metrics={"test": {"f1": float("nan")}},
                table=[{"model": "stack", "fit_s": 1.0}],
                artifacts={"bundle": "bundle", "report": "report.html"},
                details={"rows": 5},
            ),
        )
    assert store.load(run_id) == finished
    assert finished.status is RunStatus.SUCCEEDED
    assert finished.metrics == {"test": {"f1": None}}
    assert finished.artifacts["report"] == {
        "path": "report.html",
        "sha256": "33f2799467177287a29260780a107ac98ea63dd6165f67fcc0d74767d0a82090",
        "bytes": 3,
    }
    assert finished.artifacts["bundle"]["bytes"] == 8
    assert (finished.seconds or 0) > 0
    assert finished.attempts[0].status is RunStatus.SUCCEEDED


def test_the_hash_of_a_folder_tells_names_and_contents(tmp_path: Path) -> None:
    store = RunStore(tmp_path)

    def sha_of(run_id: str, files: dict[str, bytes]) -> str:
        create(store, run_id)
        for name, content in files.items():
            store.storage.write(f"{run_id}/bundle/{name}", content)
        result = Result(metrics={}, artifacts={"bundle": "bundle"})
        done = store.finish(run_id, status=RunStatus.SUCCEEDED, result=result)
        return str(done.artifacts["bundle"]["sha256"])

    base = sha_of("a", {"x": b"1", "y": b"2"})
    assert sha_of("b", {"x": b"1", "y": b"2"}) == base
    assert len({base, sha_of("c", {"x": b"2", "y": b"1"}), sha_of("d", {"x": b"1"})}) == 3


def test_an_artifact_that_is_not_there_is_refused(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    create(store, "r1")
    result = Result(metrics={}, artifacts={"bundle": "bundle"})
    with pytest.raises(StorageError, match="run r1: artifact 'bundle' is not in"):
        store.finish("r1", status=RunStatus.SUCCEEDED, result=result)


def test_a_run_is_created_once(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    create(store, "r1")
    with pytest.raises(UserError, match="run r1 exists"):
        create(store, "r1")


def test_a_failed_run_is_resumed_and_a_succeeded_one_is_not(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    create(store, "r1")
    first = store.start("r1").started_at
    store.finish("r1", status=RunStatus.FAILED, reason="no luck")
    again = store.start("r1")
    assert (again.status, again.reason, again.finished_at) == (RunStatus.RUNNING, None, None)
    assert again.started_at == first
    done = store.finish("r1", status=RunStatus.SUCCEEDED)
    assert [attempt.reason for attempt in done.attempts] == ["no luck", None]
    assert [attempt.status.value for attempt in done.attempts] == ["FAILED", "SUCCEEDED"]
    with pytest.raises(UserError, match="run r1 has succeeded: nothing to resume"):
        store.start("r1")


def test_two_drivers_on_one_run_are_refused(any_uri: str) -> None:
    store = RunStore(any_uri)
    create(store, "r1")
    with store.claim("r1"), pytest.raises(UserError, match="run r1 is already being driven"):
        store.claim("r1")
    with store.claim("r1"):
        pass


DRIVER = """
import sys, time
from distml.runs.store import RunStore
store = RunStore(sys.argv[1])
with store.claim("r1"):
    store.start("r1")
    store.event_log("r1").append("phase", name="fit")
    print("running", flush=True)
    time.sleep(600)
"""


def test_a_run_whose_driver_was_killed_shows_as_failed_and_can_be_resumed(any_uri: str) -> None:
    store = RunStore(any_uri)
    create(store, "r1")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, any_uri], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "running\n"
    assert store.load("r1").status is RunStatus.RUNNING
    driver.kill()
    driver.communicate()
    for record in (store.load("r1"), *store.list()):
        assert (record.status, record.reason) == (RunStatus.FAILED, DRIVER_DIED)
    with store.claim("r1"):
        resumed = store.start("r1")
        assert store.load("r1").status is RunStatus.RUNNING
        assert [attempt.reason for attempt in resumed.attempts] == [DRIVER_DIED, None]


def test_a_run_that_finishes_while_it_is_looked_at_is_not_taken_for_dead(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    create(store, "r1")
    stop = threading.Event()
    wrong: list[RunRecord] = []

    def look() -> None:
        while not stop.is_set():
            record = RunStore(tmp_path).load("r1")
            if record.reason == DRIVER_DIED:
                wrong.append(record)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(30):
        with store.claim("r1"):
            store.start("r1")
            store.finish("r1", status=RunStatus.STOPPED)
    stop.set()
    thread.join()
    assert wrong == []


def test_a_run_that_nobody_has_begun_is_pending(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    create(store, "r1")
    assert store.load("r1").status is RunStatus.PENDING


def test_runs_are_listed_latest_first_and_other_things_are_not(any_uri: str) -> None:
    store = RunStore(any_uri)
    assert store.list() == []
    for number, run_id in enumerate(["b", "c", "a"]):
        create(store, run_id, created_at=float(number), status=RunStatus.STOPPED)
    store.units.put("ab" * 32, 1)
    store.storage.write("notes/readme.txt", b"mine")
    store.storage.write("readme.txt", b"mine")
    assert [record.run_id for record in store.list()] == ["a", "c", "b"]
    assert store.load("last").run_id == "a"


def test_a_damaged_record_does_not_hide_the_other_runs(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    create(store, "good", created_at=1.0)
    create(store, "bad")
    store.storage.write("bad/record.json", b'{"run_id": "ba')
    good, bad = store.list()
    assert (good.run_id, bad.run_id, bad.status) == ("good", "bad", RunStatus.FAILED)
    assert "its record cannot be read" in (bad.reason or "")
    with pytest.raises(StorageError, match=r"run bad in .*: not a run record"):
        store.load("bad")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        pytest.param("20260101-flights-ab12", "20260101-flights-ab12", id="whole"),
        pytest.param("20260101-f", "20260101-flights-ab12", id="beginning"),
        pytest.param("ef56", "20260102-flights-ef56", id="end"),
        pytest.param("diamonds", "20260101-diamonds-cd34", id="middle"),
        pytest.param("last", "20260102-flights-ef56", id="last"),
    ],
)
def test_a_run_may_be_named_in_short(tmp_path: Path, said: str, meant: str) -> None:
    store = RunStore(tmp_path)
    for number, run_id in enumerate(
        ["20260101-flights-ab12", "20260101-diamonds-cd34", "20260102-flights-ef56"]
    ):
        create(store, run_id, created_at=float(number))
    assert store.resolve(said) == meant


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param(
            "flights", r"run 'flights' could be .*ef56.*; give more of its name", id="many"
        ),
        pytest.param("20260101-flihts-ab12", r"did you mean 20260101-flights-ab12\?", id="near"),
        pytest.param("", r"no run ''", id="empty"),
        pytest.param("../x", r"no run '\.\./x'", id="path"),
    ],
)
def test_an_unknown_run_is_answered_with_the_nearest(
    tmp_path: Path, said: str, message: str
) -> None:
    store = RunStore(tmp_path / "runs")
    create(store, "20260101-flights-ab12")
    create(store, "20260102-flights-ef56")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "record.json").write_text("{}")
    with pytest.raises(UserError, match=message):
        store.load(said)


def test_where_there_are_no_runs_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no runs in .* yet; start one"):
        RunStore(tmp_path).load("last")


def test_events_are_followed_until_the_run_has_ended(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    create(store, "r1")

    def drive() -> None:
        with store.claim("r1"):
            store.start("r1")
            log = store.event_log("r1")
            log.append("phase", name="fit")
            time.sleep(0.2)
            log.append("log", message="end")
            log.close()
            store.finish("r1", status=RunStatus.SUCCEEDED)

    driver = threading.Thread(target=drive)
    driver.start()
    followed = [event["kind"] for event in store.events("r1", follow=True)]
    driver.join()
    assert followed == ["attempt", "phase", "log"] == [e["kind"] for e in store.events("last")]


def test_a_record_is_whole_at_every_moment(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    record = create(store, "r1")
    large = dataclasses.replace(record, details={"x": "y" * 200_000})
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            store._write(large)
            store._write(record)

    writer = threading.Thread(target=rewrite)
    writer.start()
    texts = [(tmp_path / "r1" / "record.json").read_text() for _ in range(300)]
    stop.set()
    writer.join()
    assert {json.loads(text)["run_id"] for text in texts} == {"r1"}


def test_listing_loads_nothing_heavy(tmp_path: Path) -> None:
    create(RunStore(tmp_path), "r1")
    heavy = ["ray", "torch", "sklearn", "pandas", "pyarrow", "numpy", "rich"]
    code = (
        "import sys; from distml.runs.store import RunStore\n"
        f"store = RunStore({str(tmp_path)!r})\n"
        "print([record.run_id for record in store.list()], list(store.events('r1')))\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['r1'] []\n[]\n"
