"""A plan for a place is found again by the driver that runs there."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distml.cli import main
from distml.launch.launcher import LaunchRequest, launcher
from distml.runs.store import RunStore
from distml.verbs.plan_place import driver_place
from tests.launch.head import TOKEN

CLUSTERS = Path(__file__).parents[2] / "cluster"

JOB = """
import distml
from sklearn.linear_model import LogisticRegression

def job(data: str) -> distml.Job:
    split = distml.Split({"test": distml.ByHash(0.3)})
    task = distml.Fit(
        data=data, label="y", estimator=LogisticRegression(), split=split, metrics=("roc_auc",)
    )
    return distml.Job(task=task, report=False)
"""

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder, with a job and the cluster files that are shipped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    shutil.copytree(CLUSTERS, tmp_path / "cluster")
    (tmp_path / "job.py").write_text(JOB)
    for name in (".ray/auth_token", ".ssh/id_ed25519"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")
    return tmp_path


@pytest.fixture
def line(folder):
    """The job and its data, as a command line has them."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=list("ab"))
    frame["y"] = (frame["a"] + random.normal(size=300) > 0).astype(int)
    frame.to_parquet(folder / "data.parquet")
    return ["job.py", "--data", str(folder / "data.parquet")]


def told_to_driver(place, job_file):
    """What the launcher gives the driver as its name."""
    storage = "s3://bucket/runs?region=us-east-1"
    request = LaunchRequest(storage=storage, run_id="one", job_file=job_file)
    return launcher(place).plan(request).launcher


@pytest.mark.parametrize(
    "place", ["cloud:cluster/aws.yaml", "cloud:./cluster/aws.yaml", "cluster", "cluster:http://h:1"]
)
def test_a_place_is_called_as_its_driver_will_call_it(folder, monkeypatch, place):
    monkeypatch.setenv("RAY_ADDRESS", "http://there:8265")

    assert driver_place(place) == told_to_driver(place, "job.py")


@pytest.mark.parametrize("place", ["kubernetes", "kubernetes:test", "kubernetes:test/jobs"])
def test_kubernetes_is_called_by_context_and_namespace(kube, place):
    assert driver_place(place) == told_to_driver(place, "tiny.py") == "kubernetes:test/jobs"


def test_kubernetes_can_be_planned_for_without_a_kubeconfig(folder, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(folder / "none"))

    assert driver_place("kubernetes:x") == "kubernetes:x"


def check_foreseen(capfd, run):
    details = RunStore("runs").load(run).details
    assert details["predicted"]["seconds"]["value"] > 0
    assert details["actual"]["seconds"] > 0
    assert main(["show", run]) == 0
    assert "foreseen" in capfd.readouterr().out


@pytest.mark.parametrize("on", [(), ("--on", "local")], ids=["here", "local"])
def test_a_run_here_has_beside_it_what_was_foreseen(line, capfd, on):
    assert main(["plan", *line, *on]) == 0
    assert main(["run", *line, "--on", "local", "--run-id", "one"]) == 0

    check_foreseen(capfd, "one")


@pytest.mark.slow
@pytest.mark.parametrize("by_environment", [False, True], ids=["address", "environment"])
def test_a_run_on_a_cluster_has_beside_it_what_was_foreseen(
    line, ray_head, monkeypatch, capfd, by_environment
):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    if by_environment:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", ray_head)
    place, run = ("cluster", "two") if by_environment else (f"cluster:{ray_head}", "one")

    assert main(["plan", *line, "--on", place]) == 0
    assert main(["run", *line, "--on", place, "--run-id", run]) == 0

    check_foreseen(capfd, run)
    assert RunStore("runs").load(run).details["predicted"]["place"] == place
