import json

import pytest

from distml.runs.paths import RunPaths
from distml.runs.provenance import new_record
from distml.runs.script import description, script_files
from distml.runs.store import RunStore


def test_the_script_is_the_runs_own_copy_with_its_parameters(any_uri):
    store = RunStore(any_uri)
    record = new_record(
        job_file="jobs/x.py", parameters={"rows": 5}, launcher="debug", seed=3, run_id="one"
    )
    store.create(record, "def job(rows): ...  # ü")
    files = script_files(store.paths("one").root)
    assert files["job.py"].decode() == "def job(rows): ...  # ü"
    told = json.loads(files["parameters.json"])
    assert (told["parameters"], told["seed"], told["job_file"]) == ({"rows": 5}, 3, "jobs/x.py")


def test_what_is_no_run_has_no_script(any_uri):
    assert script_files(RunPaths(any_uri).root) == {}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (b'"""Will it\nrain?\n\nTakes long."""', "Will it rain?"),
        (b"def job(): ...", None),
        (b'"""  """', None),
        (b"", None),
        (b"def job(", None),
        (b"\0", None),
    ],
    ids=["docstring", "none", "blank", "empty", "broken", "binary"],
)
def test_a_job_file_is_described_by_its_first_words(source, told):
    assert description(source) == told
