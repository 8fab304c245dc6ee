"""A node that joins a cluster while a run goes on there, and is not like the others."""

import shutil
import time
from pathlib import Path

import pytest

from distml.cli import main
from distml.runs.store import RunStore
from tests.launch.head import TOKEN, running_head
from tests.launch.test_verified import joined

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def other_packages(tmp_path):
    """A folder that makes another environment of the one in whose path it is."""
    installed = tmp_path / "packages" / "odd-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    return str(installed.parent)


def test_it_is_named_while_the_run_goes_on(tmp_path, monkeypatch, other_packages, capfd):
    shutil.copy(Path(__file__).with_name("tiny.py"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    head, store = running_head(num_cpus=1), RunStore("runs")
    with head as address:
        line = f"run tiny.py --on cluster:{address} --run-id one --detach --end hang"
        assert main(line.split()) == 0
        head.environment = {**head.environment, "PYTHONPATH": other_packages}
        with joined(head):
            problem = first_problem(store)
            assert main(["stop", "one"]) == 0

    assert problem.startswith("packages installed ")
    assert main(["logs", "one"]) == 0
    assert f"joined that is not like the others: {problem}" in capfd.readouterr().out


def first_problem(store):
    end = time.monotonic() + 90
    while time.monotonic() < end:
        for event in store.events("one"):
            if event["kind"] == "node_problem":
                return event["words"]
        time.sleep(0.5)
    raise AssertionError("nobody has named it")
