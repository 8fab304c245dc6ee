"""What is seen of a run on a cluster while it goes and afterwards: words, nodes, jobs."""

import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

from distml.cli import main
from distml.runs.store import RunStore
from tests.launch.head import TOKEN

LOUD = """
    import os
    import sys
    import warnings
    import distml
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    class Loud(DecisionTreeClassifier):
        def fit(self, X, y):
            print("printed by a fit")
            sys.stderr.write("said on stderr\\n")
            os.write(2, b"straight to the descriptor\\n")
            warnings.warn("warned by a fit", stacklevel=1)
            return super().fit(X, y)

    def job(data: str) -> distml.Job:
        members = [("loud", Loud(max_depth=3)), ("line", LogisticRegression())]
        return distml.Job(
            task=distml.Fit(
                data=data,
                label="y",
                estimator=distml.StackingClassifier(members, cv=2),
                split=distml.Split({"test": distml.ByHash(0.3)}),
                metrics=("accuracy",),
            ),
            report=False,
        )
"""
TALKS = """
    import distml

    def train_loop(train, lr):
        import torch

        train.prepare(torch.nn.Linear(2, 1))
        print("printed by a worker")
        for epoch in train.epochs(1):
            train.report({"val_x": 1.0})

    def job(data: str) -> distml.Job:
        return distml.Job(
            task=distml.Loop(
                train_loop, data=data, label="y", task="classification", num_workers=2,
                split=distml.Split({"test": distml.ByHash(0.3)}), params={"lr": 0.1},
                metric="val_x", mode="max",
            ),
            report=False,
        )
"""
WORDS = ("printed by a fit", "said on stderr", "straight to the descriptor", "warned by a fit")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A working directory with a loud job; the path of its data."""
    (tmp_path / "loud.py").write_text(dedent(LOUD))
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=list("ab"))
    frame["y"] = (frame["a"] + random.normal(size=300) > 0).astype(int)
    frame.to_parquet(tmp_path / "data.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    return str(tmp_path / "data.parquet")


@pytest.mark.parametrize("kind", ["local", "cluster"])
def test_all_that_a_unit_says_is_in_the_log_with_its_name(request, data, capfd, kind):
    place = "local" if kind == "local" else f"cluster:{request.getfixturevalue('ray_head')}"
    run = f"loud-{kind}-{request.node.callspec.id}-{data[-40:-13].replace('/', '-').strip('-')}"
    assert main(["run", "loud.py", "--data", data, "--on", place, "--run-id", run]) == 0
    capfd.readouterr()

    log = (RunStore("runs").storage.read(f"{run}/log.txt")).decode()
    for words in WORDS:
        said = [line for line in log.splitlines() if words in line and "warnings.warn" not in line]
        units = {re.search(r"\[unit (.+?)\] ", line)[1] for line in said}
        assert units == {"loud, all rows", "loud, fold 1 of 2", "loud, fold 2 of 2"}, log
    assert not re.search(r"INFO \w+\.py:\d+ --|core_worker|Autoscaler status", log)

    assert main(["logs", run, "--unit", "loud, fold 2 of 2"]) == 0
    filtered = capfd.readouterr().out
    assert all(words in filtered for words in WORDS)
    assert "fold 1 of 2" not in filtered


def test_what_workers_of_a_training_print_has_their_host_and_process(data):
    Path("talks.py").write_text(dedent(TALKS))

    assert main(["run", "talks.py", "--data", data, "--on", "local", "--run-id", "one"]) == 0

    log = RunStore("runs").storage.read("one/log.txt").decode()
    said = re.findall(r"^\[worker (\S+) (\d+)\] printed by a worker$", log, re.MULTILINE)
    assert len(said) == len(set(said)) == 2, log
    # Beside these, which process drives, and nothing of Ray's.
    assert [" distml.driver: " in line for line in log.splitlines()] == [True, False, False], log


def test_nodes_and_jobs_of_a_cluster_are_told(ray_head, data, capfd):
    place = f"cluster:{ray_head}"
    run = f"seen-{data[-40:-13].replace('/', '-').strip('-')}"
    assert main(["run", "loud.py", "--data", data, "--on", place, "--run-id", run]) == 0
    capfd.readouterr()

    record = RunStore("runs").load(run)
    nodes = record.details["nodes"]
    assert (nodes["most"], nodes["cost"]) == ({"head": 1}, None)
    assert 0 < nodes["seconds"]["head"] <= record.seconds

    assert main(["status", run]) == 0
    status = capfd.readouterr().out
    assert re.search(r"units +7 of 7 done", status)
    assert re.search(r"nodes +1 head at most", status)
    assert re.search(r"cost +not known: no price of head", status)

    assert main(["list", "--on", place]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith(run)]
    assert line.split()[:3] == [run, run, "SUCCEEDED"]
