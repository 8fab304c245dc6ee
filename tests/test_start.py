"""Where a run comes from: a job file, a run that is resumed, or one that is done again."""

import contextlib
import json
from argparse import Namespace
from pathlib import Path
from textwrap import dedent

import pytest

from distml.errors import UserError
from distml.runs.plans import plan_key, save_plan
from distml.runs.store import RunStore
from distml.runs.submissions import Submission
from distml.start import prepare

SOURCE = """
    import os

    from distml.job import Job, Result

    class Task:
        folder = None

        def run(self, context):
            return Result(metrics={})

    def job(rows: int = 5, data: str = "january"):
        task = Task()
        task.folder = os.getcwd()
        return Job(task=task, seed=rows)
"""


@pytest.fixture
def start(tmp_path):
    """Prepares a run from the driver's options, with a job file of two parameters."""
    path = tmp_path / "task.py"
    path.write_text(dedent(SOURCE))

    def _start(run_id="one", *, create=False, submission=None, arguments=(), **options):
        given = {
            "job_file": None if {"again", "resume"} & options.keys() else str(path),
            "storage": str(tmp_path / "runs"),
            "run_id": run_id,
            "launcher": "debug",
            "arguments": list(arguments),
        }
        blank = {"resume": False, "again": None, "fresh": False, "against": None, "warm": False}
        blank |= {"search": [], "metric": None, "mode": "max", "num_samples": 10}
        blank |= {"searcher": None, "scheduler": None, "max_concurrent_trials": 1}
        with contextlib.ExitStack() as stack:
            made = prepare(Namespace(**{**blank, **given, **options}), stack, submission)
        if create:
            made.store.create(made.record, made.source)
        return made

    return _start


def test_a_run_of_a_job_file_is_new_and_has_no_parent(start):
    made = start()

    assert (made.is_new, made.former, made.units, made.notes) == (True, None, None, {})


def test_a_run_is_done_again_with_its_parameters_some_of_them_changed(start):
    start(create=True, arguments=["--rows", "7"])

    made = start("two", again="one", arguments=["--data", "february"])

    assert made.is_new
    assert made.record.run_id == "two"
    assert made.record.parameters == {"rows": 7, "data": "february"}
    assert made.job.seed == 7
    assert made.record.job_name == "task"
    assert made.record.details["parent"]["run"] == "one"


@pytest.mark.parametrize("options", [{"again": "one"}, {"resume": True}], ids=["again", "resume"])
def test_a_run_works_where_it_has_worked_and_the_caller_is_back_afterwards(
    start, tmp_path, monkeypatch, options
):
    monkeypatch.chdir(tmp_path)
    start(create=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    made = start("two" if "again" in options else "one", **options)

    assert made.job.task.folder == made.record.folder == str(tmp_path)
    assert Path.cwd() == elsewhere


def test_a_folder_that_is_gone_is_named_and_the_run_works_where_it_is_called(
    start, tmp_path, monkeypatch, capsys
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    start(create=True)
    monkeypatch.chdir(tmp_path)
    gone.rmdir()

    made = start("two", again="one")

    said = capsys.readouterr().err
    assert said.startswith(f"distml: run one ran in {gone}, which is not here")
    assert said.count("\n") == 1
    assert made.job.task.folder == str(tmp_path)


def test_a_run_in_a_tree_that_was_sent_keeps_no_folder_and_goes_to_none(
    start, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    start(create=True)
    tree = tmp_path / "tree"
    tree.mkdir()
    monkeypatch.chdir(tree)
    sent = Submission(run_id="two", submission_id="two", launcher="cluster", submitted_at=0.0)

    made = start("two", again="one", submission=sent)

    assert (made.record.folder, made.job.task.folder) == (None, str(tree))


def test_a_fresh_run_keeps_its_units_to_itself_also_when_it_is_resumed(start):
    start(create=True)
    made = start("two", again="one", fresh=True, create=True)
    resumed = start("two", resume=True)

    assert made.units.uri == resumed.units.uri == made.store.paths("two").units
    assert resumed.notes == made.notes


def test_a_retraining_knows_the_former_model_also_when_it_is_resumed(start):
    start(create=True)
    made = start("two", again="one", against=0.01, warm=True, create=True)

    assert (made.former.run_id, made.former.warm) == ("one", True)
    assert made.former.bundle == made.store.paths("one").bundle
    resumed = start("two", resume=True)
    assert resumed.former == made.former
    assert resumed.record.details["parent"]["margin"] == 0.01


def test_what_began_with_a_former_model_does_so_again_when_it_is_reproduced(start):
    start(create=True)
    made = start("two", again="one", against=0.01, warm=True, create=True)

    again = start("three", again="two", fresh=True)

    assert again.former == made.former
    assert again.record.details["parent"]["run"] == "two"
    assert again.record.details["parent"]["margin"] is None


def test_what_was_predicted_of_a_job_is_noted_for_the_same_parameters_only(start, tmp_path):
    made = start()
    plan = {"seconds": {"value": 3.0}, "memory": {"peak_bytes": {"value": 9.0}}}
    save_plan(made.store.storage, plan_key(made.source, made.record.parameters), plan)

    assert start().notes["predicted"] == {"seconds": {"value": 3.0}, "peak_bytes": {"value": 9.0}}
    assert start(arguments=["--rows", "6"]).notes == {}


def test_a_damaged_plan_is_no_plan(start, tmp_path):
    made = start()
    key = plan_key(made.source, made.record.parameters)
    for content in (b"{", b"[]", json.dumps({"seconds": 1}).encode()):
        made.store.storage.write(f"plans/{key}.json", content)
        assert start().notes == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"again": "nowhere"}, "no run"),
        ({"again": "one", "arguments": ["--row", "3"]}, "did you mean --rows?"),
    ],
    ids=["run", "parameter"],
)
def test_what_cannot_be_done_again_is_refused(start, options, message):
    start(create=True)

    with pytest.raises(UserError, match=message):
        start("two", **options)

    assert [run.run_id for run in RunStore(start().store.uri).list()] == ["one"]
