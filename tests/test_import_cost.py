"""What importing and reading costs: which libraries are loaded, not how long it takes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TINY = Path(__file__).parent / "launch" / "tiny.py"
HEAVY = ("numpy", "pandas", "pyarrow", "ray", "rich", "sklearn", "torch", "xgboost")

PROBE = f"""
import sys
{{code}}
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""


def loaded(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.splitlines()[-1].split()[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("cost")
    shutil.copy(TINY, made)
    command = [sys.executable, "-m", "distml", "run", "tiny.py", "--run-id", "one"]
    subprocess.run(command, cwd=made, capture_output=True, check=True)
    return made


@pytest.mark.parametrize("verb", ["import distml", "from distml import Job, UserError"])
def test_importing_distml_loads_no_library(verb, folder):
    assert loaded(verb, folder) == []


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "one"], ["logs", "one"], ["run", "--help"], ["stop", "one"], []],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_commands_that_read_load_no_library(arguments, folder):
    assert loaded(f"from distml.cli import main; main({arguments!r})", folder) == []


@pytest.mark.parametrize("name", ["debug", "local"])
def test_a_launcher_loads_what_the_job_does_and_no_more(name, folder):
    code = f"from distml.cli import main; main(['run', 'tiny.py', '--on', '{name}'])"

    assert set(loaded(code, folder)) <= {"numpy"}
