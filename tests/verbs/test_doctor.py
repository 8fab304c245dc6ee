import re
import sys

import pytest

from distml.cli import main
from distml.verbs import doctor
from distml.verbs.health import Check

NAMES = [
    "python", "packages", "cpus", "memory", "shared memory", "open files", "ray's folder",
    "ray's disk", "storage's disk", "storage", "clock", "gpu", "ray",
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


@pytest.fixture
def no_ray(monkeypatch):
    """The doctor without its slowest check."""
    well = Check(name="ray", state="ok", found="started")
    monkeypatch.setattr(doctor, "_ray", lambda: well)


def test_every_need_is_checked_and_nothing_is_left_behind(here, no_ray, capfd):
    code = main(["doctor"])

    lines = capfd.readouterr().out.splitlines()
    names = [
        line[9:24].strip() for line in lines if line[:9].strip() in ("ok", "warning", "problem")
    ]
    assert names == NAMES
    assert code == ("problem" in "".join(line[:9] for line in lines[:-1]))
    assert list(here.iterdir()) == []


def test_a_problem_is_told_with_its_mend_and_ends_with_1(here, no_ray, capfd, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 80)

    assert main(["doctor"]) == 1

    output = capfd.readouterr().out
    assert "problem  ray's folder" in output
    assert "mend: name a shorter one: export RAY_TMPDIR=/tmp" in output
    assert "1 problem, " in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("storage", "words"),
    [("file.txt/runs", "file.txt/runs"), ("zzz://bucket", "zzz://bucket")],
    ids=["below a file", "unknown scheme"],
)
def test_a_storage_that_cannot_be_used_is_a_problem_and_the_rest_is_checked(
    here, no_ray, capfd, storage, words
):
    (here / "file.txt").write_text("in the way")

    assert main(["doctor", "--storage", storage]) == 1

    output = capfd.readouterr().out
    assert re.search(f"problem  storage        storage .*{words}", output)
    assert "ok       ray" in output


def test_a_check_that_fails_itself_is_a_problem(here, no_ray, capfd, monkeypatch):
    monkeypatch.setattr(doctor, "_memory", lambda: 1 / 0)

    assert main(["doctor"]) == 1

    assert "problem  memory         cannot be checked (ZeroDivisionError" in capfd.readouterr().out


@pytest.mark.slow
def test_ray_is_started_and_runs_a_task(here):
    assert doctor._ray().state == "ok"


def test_ray_that_hangs_is_ended(here, monkeypatch):
    monkeypatch.setattr(doctor, "_RAY_PROBE", "import time; time.sleep(600)")
    monkeypatch.setattr(doctor, "_RAY_TIMEOUT_S", 0.5)

    check = doctor._ray()

    assert (check.state, check.found[:9]) == ("problem", "no answer")


def test_a_cluster_that_does_not_answer_is_named(here, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(doctor, "_RAY_TIMEOUT_S", 0.5)

    assert doctor._ray().found.endswith("from RAY_ADDRESS=127.0.0.1:1")


def test_ray_that_breaks_down_is_told_in_its_last_words(here, monkeypatch):
    monkeypatch.setattr(doctor, "_RAY_PROBE", "raise RuntimeError('no room')")

    assert doctor._ray().found == "RuntimeError: no room"


def test_a_command_that_fails_says_nothing():
    assert doctor._said([sys.executable, "-c", "raise SystemExit(1)"]) == ""
    assert doctor._said(["no such command"]) == ""
    assert doctor._said([sys.executable, "-c", "print('well')"]) == "well"
