"""`distml verify` over real clusters: one head, and two nodes that joined."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

from distml.cli import main
from distml.runs.store import RunStore
from tests.launch.head import TOKEN, running_head

STACK = """
    import os
    import distml
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    def job(data: str, strange: bool = False) -> distml.Job:
        there = strange and "RAY_ADDRESS" in os.environ  # as in all that a cluster runs
        trees = [
            ("tree", DecisionTreeClassifier(max_depth=2 if there else 3)),
            ("line", LogisticRegression()),
        ]
        return distml.Job(
            task=distml.Fit(
                data=data,
                label="y",
                estimator=distml.StackingClassifier(trees, cv=2),
                split=distml.Split({"test": distml.ByHash(0.3)}),
                metrics=("roc_auc",),
            ),
            report=False,
        )
"""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """The command line of a stack on data that all nodes read."""
    (tmp_path / "stack.py").write_text(dedent(STACK))
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=list("ab"))
    frame["y"] = (frame["a"] + random.normal(size=300) > 0).astype(int)
    frame.to_parquet(tmp_path / "data.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    return ["verify", "stack.py", "--data", str(tmp_path / "data.parquet")]


@contextlib.contextmanager
def joined(head: running_head) -> Iterator[None]:
    """A second node of two CPUs, which leaves when the block ends."""
    folder = tempfile.mkdtemp(prefix="dmn")
    arguments = list(head.process.args)
    address = f"127.0.0.1:{arguments[arguments.index('--port') + 1]}"
    command = [f"{Path(sys.executable).parent}/ray", "start", "--address", address, "--block"]
    command += ["--node-ip-address", "127.0.0.1", "--num-cpus", "2"]
    # Another node on this host: none of the head's ports.
    command += ["--dashboard-agent-listen-port", "0", "--temp-dir", folder]
    with Path(folder, "node.log").open("wb") as log:
        node = subprocess.Popen(
            command, env=head.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_comes_to_the_same_as_this_machine(ray_head, stack, capfd):
    place = f"cluster:{ray_head}"

    code = main([*stack, "--on", "debug", "--on", "local", "--on", place])

    output = capfd.readouterr().out
    assert (code, output.splitlines()[-1]) == (0, "the same in all 3 places")
    assert [record.launcher for record in RunStore("runs").list()] == [place, "local", "debug"]


@pytest.mark.long
def test_a_cluster_of_two_nodes_comes_to_the_same(stack, capfd):
    head = running_head(num_cpus=1)
    with head as address, joined(head):
        code = main([*stack, "--on", "debug", "--on", f"cluster:{address}"])

    output, errors = capfd.readouterr()
    assert (code, output.splitlines()[-1]) == (0, "the same in all 2 places"), output + errors


def test_a_job_that_is_another_on_the_cluster_is_found_out(ray_head, stack, capfd):
    place = f"cluster:{ray_head}"

    code = main([*stack, "--strange", "--on", "debug", "--on", place])

    output = capfd.readouterr().out
    assert code == 1
    assert f"{place} differs in units: " in output
    assert "tree" in output.partition("differs in units: ")[2].splitlines()[0]
