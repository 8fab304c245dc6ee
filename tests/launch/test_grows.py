"""A job on a cluster whose autoscaler starts nodes for it, and ends them when it is done."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

from distml.cli import main
from distml.runs.store import RunStore
from tests.launch.head import TOKEN, running_head

JOB = """
    import time
    import distml
    from sklearn.tree import DecisionTreeClassifier

    class Slow(DecisionTreeClassifier):
        def fit(self, X, y, sample_weight=None):
            time.sleep(1)
            return super().fit(X, y, sample_weight=sample_weight)

    def job(data: str) -> distml.Job:
        bagging = distml.BaggingClassifier(Slow(max_depth=2), n_estimators=30, random_state=0)
        split = distml.Split({"test": distml.ByHash(0.3)})
        task = distml.Fit(
            data=data, label="y", estimator=bagging, split=split, metrics=("roc_auc",)
        )
        return distml.Job(task=task, report=False)
"""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def address() -> Iterator[str]:
    with running_head(num_cpus=0, grows_to=2) as address:
        yield address


def num_workers(address: str) -> int:
    request = urllib.request.Request(f"{address}/api/v0/nodes")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=10) as reply:
        nodes = json.loads(reply.read())["data"]["result"]["result"]
    return sum(node["state"] == "ALIVE" and not node["is_head_node"] for node in nodes)


def until(come_true: Callable[[], bool], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not come_true():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_nodes_come_for_a_job_and_go_when_it_is_done(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "grows.py").write_text(dedent(JOB))
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=list("ab"))
    frame["y"] = (frame["a"] > 0).astype(int)
    frame.to_parquet(tmp_path / "data.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "distml").mkdir()
    (tmp_path / "distml" / "clusters.toml").write_text(
        f'[grows]\naddress = "{address}"\n[[grows.workers]]\ncount = 2\nCPU = 1\n'
        "memory = 1073741824\n"
    )
    assert num_workers(address) == 0

    line = "run grows.py --on cluster:grows --storage runs --run-id one --data data.parquet"
    assert main(line.replace("runs", str(tmp_path / "runs")).split()) == 0

    record = RunStore(tmp_path / "runs").load("one")
    assert record.metrics["test"]["roc_auc"] > 0.9
    events = RunStore(tmp_path / "runs").events("one")
    workers = {event["worker"] for event in events if event["kind"] == "unit_done"}
    assert len(workers) >= 2
    until(lambda: num_workers(address) == 0)
