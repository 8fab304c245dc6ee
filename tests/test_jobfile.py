import pickle
import subprocess
import sys
from textwrap import dedent

import cloudpickle
import pytest

from distml import jobfile
from distml.errors import DataError, UserError
from distml.job import Job

TINY = """
    '''A tiny job.'''
    from __future__ import annotations
    import dataclasses
    from typing import ClassVar, Literal
    from distml.job import Job

    @dataclasses.dataclass
    class Task:
        rows: int
        names: ClassVar[list[str]] = []
        def run(self, context):
            return helper(self.rows)

    def helper(rows):
        return rows + 1

    def job(rows: int = 10, cv: int = 5, voting: Literal["soft", "hard"] = "soft",
            shuffle: bool = True, tags: list[str] = []) -> Job:
        '''Job.

        Args:
            rows: How many rows.
        '''
        return Job(task=Task(rows), seed=cv)
"""


@pytest.fixture
def write(tmp_path):
    def _write(source, name="tiny.py"):
        path = tmp_path / name
        path.write_text(dedent(source))
        return path

    return _write


def test_a_job_is_built_from_its_command_line(write):
    loaded = jobfile.load(write(TINY))

    job = loaded.build(loaded.bind(["--rows", "50000", "--cv=3"]))

    assert isinstance(job, Job)
    assert (job.task.rows, job.seed) == (50000, 3)
    assert loaded.description == "A tiny job."
    assert loaded.parameters[0].help == "How many rows."


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--no-shuffle"], "shuffle", False),
        (["--shuffle"], "shuffle", True),
        (["--shuffle", "no"], "shuffle", False),
        (["--shuffle", "--cv", "3"], "shuffle", True),
        (["--rows=-3"], "rows", -3),
        (["--rows", "-3"], "rows", -3),
        (["--tags", "a,b", "--tags", "c"], "tags", ["a", "b", "c"]),
        (["--tags=--x"], "tags", ["--x"]),
        ([], "voting", "soft"),
    ],
)
def test_command_line_forms(write, arguments, name, value):
    assert jobfile.load(write(TINY)).bind(arguments)[name] == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--row", "5"], "tiny.py has no parameter --row; did you mean --rows?"),
        (["--no-shufle"], "tiny.py has no parameter --no-shufle; did you mean --no-shuffle?"),
        (["--detatch"], "tiny.py has no parameter --detatch; did you mean --detach?"),
        (
            ["--zzz", "5"],
            "tiny.py has no parameter --zzz; it takes --rows, --cv, --voting, --shuffle, --tags",
        ),
        (["--no-rows"], "tiny.py has no parameter --no-rows; did you mean --rows?"),
        (["--rows", "many"], "parameter --rows: many is not an integer"),
        (["--voting", "sfot"], "parameter --voting: sfot is not one of soft, hard"),
        (["--rows"], "parameter --rows needs a value: an integer"),
        (["--rows", "1", "--rows", "2"], "parameter --rows is given twice; give it once"),
        (
            ["5"],
            "unexpected argument '5': a job's parameters are given as --name value",
        ),
    ],
)
def test_a_wrong_command_line_is_answered_with_the_right_one(write, arguments, message):
    with pytest.raises(UserError) as caught:
        jobfile.load(write(TINY)).bind(arguments)

    assert str(caught.value) == message


def test_values_of_a_record_bind_to_the_same_values(write):
    loaded = jobfile.load(write(TINY))
    values = loaded.bind(["--rows", "7", "--tags", "a,b", "--no-shuffle"])

    assert loaded.bind(loaded.to_json(values)) == values


def test_values_of_a_record_bind_again_with_some_of_them_changed(write):
    loaded = jobfile.load(write(TINY))
    recorded = loaded.to_json(loaded.bind(["--rows", "7", "--tags", "a,b", "--cv", "3"]))

    values = loaded.rebind(recorded, ["--cv=4", "--no-shuffle"])

    assert values == loaded.bind(["--rows", "7", "--tags", "a,b", "--cv", "4", "--no-shuffle"])


def test_a_record_with_a_parameter_the_job_lost_is_refused(write):
    with pytest.raises(UserError, match="no parameter --colour"):
        jobfile.load(write(TINY)).bind({"colour": 1})


def test_a_missing_required_parameter_is_named(write):
    loaded = jobfile.load(write("def job(rows: int): ..."))

    with pytest.raises(UserError, match="parameter --rows is required: give an integer"):
        loaded.bind([])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "tiny.py:1: the job file raised ZeroDivisionError: division by zero"),
        ("import no_such_module", "tiny.py:1: the job file raised ModuleNotFoundError: No module"),
        ("x = 1\nx = = 2", "tiny.py:2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)", "tiny.py:2: the job file raised SystemExit: 3"),
        ("raise ValueError('a\\nb')", "tiny.py:1: the job file raised ValueError: a b"),
        ("rows = 3", "tiny.py: it has no job() function; define one that returns a Job"),
        ("job = 3", "tiny.py: it has no job() function"),
        ("def job(*rows): ...", "tiny.py: job(): *rows has no name on the command line"),
        ("def job(on: str = ''): ...", "tiny.py: --on is an option of `distml run` itself"),
    ],
)
def test_a_file_that_is_no_job_is_refused_in_one_line(write, source, message):
    with pytest.raises(UserError) as caught:
        jobfile.load(write(source))

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "tiny.py: job() returned int, not a Job; end it with `return Job(task=...)`"),
        ("pass", "tiny.py: job() returned NoneType, not a Job"),
        ("\n    raise KeyError('x')", "tiny.py:2: job() raised KeyError: 'x'"),
        ("\n    return int('x' * 2)", "tiny.py:2: job() raised ValueError: invalid literal"),
    ],
)
def test_a_job_function_that_makes_no_job_is_refused_in_one_line(write, body, message):
    loaded = jobfile.load(write(f"def job(): {body}"))

    with pytest.raises(UserError) as caught:
        loaded.build({})

    assert message in str(caught.value)


def test_distmls_own_errors_pass_through_job_unchanged(write):
    source = "from distml.errors import DataError\ndef job(): raise DataError('no files in data/')"
    loaded = jobfile.load(write(source))

    with pytest.raises(DataError, match=r"^no files in data/$"):
        loaded.build({})


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tinny.py", r"did you mean .*tiny\.py\?"), ("other/zzz.py", r"zzz\.py$")],
)
def test_a_missing_file_is_answered_with_the_nearest(write, name, hint):
    there = write(TINY)

    with pytest.raises(UserError, match="no such job file: .*" + hint):
        jobfile.load(there.parent / name)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder; name one job file in it"):
        jobfile.load(tmp_path)


def test_a_job_file_imports_modules_beside_it_also_as_a_copy(write, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    write("value = 4", "beside_jobfile_test.py")
    copy = tmp_path / "copy" / "tiny.py"
    copy.parent.mkdir()
    copy.write_text("from beside_jobfile_test import value\ndef job(rows: int = value): ...")

    loaded = jobfile.load(copy, folder=tmp_path)

    assert loaded.bind([]) == {"rows": 4}


def test_objects_of_a_job_file_reach_a_process_that_has_no_job_file(write):
    loaded = jobfile.load(write(TINY))
    task = loaded.build(loaded.bind([])).task
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).run(None))"

    done = subprocess.run(
        [sys.executable, "-c", code], input=cloudpickle.dumps(task), capture_output=True, check=True
    )

    assert done.stdout == b"11\n"


def test_plain_pickle_says_that_a_job_files_class_cannot_be_imported(write):
    loaded = jobfile.load(write(TINY))

    with pytest.raises(pickle.PicklingError, match="distml_job"):
        pickle.dumps(loaded.build(loaded.bind([])).task)


def test_the_objects_of_a_copy_have_the_same_names(write, tmp_path):
    (tmp_path / "copies").mkdir()
    one = jobfile.load(write(TINY)).module.Task
    other = jobfile.load(write(TINY, "copies/another_name.py")).module.Task

    assert one is not other
    assert (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
