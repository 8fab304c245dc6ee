"""`--on cloud:FILE` and `distml cluster` as far as no machine is needed: plans and refusals."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from distml.cli import main
from distml.errors import LaunchError, UserError
from distml.launch import cloud, cluster
from distml.launch.cloud import CloudHandle, CloudLauncher
from distml.launch.clouds.known import KnownCluster, remember
from distml.launch.clouds.machines import Machine
from distml.launch.clouds.standing import Seen, table
from distml.launch.launcher import LaunchLimits, LaunchRequest
from distml.runs.record import DRIVER_DIED, RunRecord, RunStatus

CLUSTERS = Path(__file__).parents[2] / "cluster"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A user's folder with cluster files whose every file is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(CLUSTERS, tmp_path / "cluster")
    for name in (".ray/auth_token", ".ssh/id_ed25519", "job.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")
    return tmp_path


def request(storage="s3://bucket/runs?region=us-east-1", **limits):
    return LaunchRequest(
        storage=storage, run_id="r1", job_file="job.py", limits=LaunchLimits(**limits)
    )


def test_plan_says_what_is_sent_which_cluster_and_what_it_may_take(folder):
    plan = CloudLauncher("cluster/aws.yaml").plan(request(max_hours=2, max_cost=3))

    assert plan.launcher == f"cloud:{folder}/cluster/aws.yaml"
    assert plan.submission["submission_id"] == "r1"
    assert "--max-hours 2" in plan.submission["entrypoint"]
    cluster = plan.submission["cluster"]
    assert (cluster["name"], cluster["provider"], cluster["region"]) == (
        "distml-aws", "aws", "us-east-1",
    )  # fmt: skip
    assert set(cluster["usd_per_hour"]) >= {"head", "cpu-spot"}
    assert (cluster["max_hours"], cluster["max_cost"]) == (2, 3)
    variables = plan.submission["runtime_env"]["env_vars"]
    assert variables["DISTML_CLUSTER"] == "distml-aws"
    assert len(json.loads(variables["DISTML_MAY_START"])) == 8
    assert "secret" not in str(plan)


def test_target_that_is_missing_or_wrong_is_refused_in_one_line(folder):
    manifest = folder / "cluster/kuberay.yaml"
    manifest.write_text(manifest.read_text().replace("YOUR-", "my-"))
    with pytest.raises(UserError, match="which cluster"):
        CloudLauncher()
    with pytest.raises(UserError, match=r"nosuch\.yaml"):
        CloudLauncher("cluster/nosuch.yaml").plan(request())
    with pytest.raises(UserError, match="unknown cluster 'distml-asw'"):
        CloudLauncher("distml-asw")
    with pytest.raises(UserError, match="say --on kubernetes"):
        CloudLauncher("cluster/kuberay.yaml").plan(request())


def test_runs_that_a_cloud_cannot_reach_are_refused(folder):
    with pytest.raises(UserError, match="cannot reach runs: keep runs in s3://"):
        CloudLauncher("cluster/aws.yaml").plan(request("runs"))


def test_limit_in_money_needs_prices(folder):
    (folder / "cluster/prices.csv").unlink()

    with pytest.raises(UserError, match=r"--max-cost needs the price of m6i\.xlarge"):
        CloudLauncher("cluster/aws.yaml").plan(request(max_cost=1))
    CloudLauncher("cluster/aws.yaml").plan(request(max_hours=1))


def test_known_cluster_is_named_by_its_name(folder):
    remember(KnownCluster(name="mine", file=f"{folder}/cluster/aws.yaml", provider="aws"))

    assert CloudLauncher("mine").plan(request()).launcher == f"cloud:{folder}/cluster/aws.yaml"


def test_run_whose_cluster_file_has_gone_can_still_be_read(folder):
    handle = CloudLauncher("cluster/gone.yaml").attach("runs", "r1")

    assert handle.record() is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cluster dwn x", "unknown command 'dwn' of cluster; did you mean down?"),
        ("cluster down mien", "unknown cluster 'mien': did you mean mine?"),
        ("cluster ssh cluster/no.yaml", "no.yaml"),
        ("cluster up cluster/typo.yaml", "regoin"),
        ("cluster up mine --max-cost 1", "--max-cost needs the price of m6i.xlarge"),
        ("cluster up mine --max-hours 0", "--max-hours"),
    ],
    ids=["command", "name", "file", "typo", "price", "value"],
)
def test_mistakes_are_one_line_and_exit_code_2(folder, capsys, line, said):
    config = yaml.safe_load((folder / "cluster/aws.yaml").read_text())
    (folder / "cluster/prices.csv").unlink()
    remember(KnownCluster(name="mine", file=f"{folder}/cluster/aws.yaml", provider="aws"))
    config["provider"]["regoin"] = config["provider"].pop("region")
    (folder / "cluster/typo.yaml").write_text(yaml.safe_dump(config))

    assert main(line.split()) == 2

    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1


def test_nothing_is_listed_where_nothing_was_started(capsys):
    assert main(["cluster", "list"]) == 0
    assert capsys.readouterr().out == "no cluster was started from here\n"


def test_cluster_whose_provider_cannot_be_asked_is_listed_with_the_reason(
    folder, capsys, monkeypatch
):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    remember(KnownCluster(name="mine", file=f"{folder}/cluster/aws.yaml", provider="aws"))

    assert main(["cluster", "list"]) == 0

    told = capsys.readouterr()
    assert told.out.splitlines()[1].split()[:2] == ["mine", "unknown"]
    assert "warning: mine: no credentials for AWS" in told.err
    assert main(["cluster", "status", "mine"]) == 2
    assert main(["cluster", "up", "mine"]) == 2
    assert "no credentials for AWS: run aws configure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no cluster was started from here"),
        (["a", "b"], "which cluster? a, b were started from here"),
        (["a"], "no credentials for AWS"),
    ],
    ids=["none", "two", "one"],
)
@pytest.mark.parametrize("verb", ["status", "dashboard"])
def test_cluster_is_named_only_where_there_are_several(
    verb, names, said, folder, capsys, monkeypatch
):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in names:
        remember(KnownCluster(name=name, file=f"{folder}/cluster/aws.yaml", provider="aws"))

    assert main(["cluster", verb]) == 2
    assert said in capsys.readouterr().err


def test_idle_cluster_and_one_without_a_warden_are_warned_of():
    idle = Seen(name="a", file="a.yaml", state="up", idle_s=3600, plan={"max_hours": 1})
    bare = Seen(name="b", file="b.yaml", state="up", nodes={"head": 1}, cost=1.5, rate=0.25)
    gone = Seen(name="c", file="c.yaml", state="gone", ended="it was idle")

    assert "no job for 60 minutes" in idle.warnings()[0]
    assert "nothing on the head of b ends it" in bare.warnings()[0]
    assert (gone.warnings(), gone.details()) == ([], ["ended: it was idle"])
    lines = table([idle, bare, gone]).splitlines()
    assert lines[2].split() == ["b", "up", "1", "head", "-", "1.50", "0.25", "b.yaml"]


class Jobs:
    """The dashboard of a cluster: one job, as long as it answers."""

    def __init__(self, status):
        self.status, self.stopped = status, []

    def info(self, job):
        if self.status is None:
            raise UserError("10.0.0.1 cannot be reached")
        return {"status": self.status, "message": "no node has 8 CPUs"}

    def jobs(self):
        return [{"submission_id": "r1", **self.info("r1")}]

    def stop(self, job):
        self.stopped.append(job)
        self.status = "STOPPED"


class Cluster:
    """A cluster of a head and a worker, as far as they run."""

    name = "x"

    def __init__(self, *kinds, is_up=True):
        self.kinds, self.is_up = kinds, is_up

    def machines(self):
        facts = {"cluster": "x", "node_type": "t", "address": None}
        return [Machine(machine_id=kind, is_head=kind == "head", **facts) for kind in self.kinds]

    def stand(self):
        return "standing" if self.is_up else None


@pytest.mark.parametrize(
    ("status", "place", "said", "ends"),
    [
        (None, Cluster("worker", is_up=False), "10.0.0.1 cannot be reached; run r1 had not", True),
        (None, Cluster("head", "worker", is_up=False), "10.0.0.1 cannot be reached", False),
        (None, Cluster(is_up=False), "10.0.0.1 cannot be reached", False),
        ("PENDING", Cluster("head"), "is withdrawn: no node has 8 CPUs", True),
    ],
    ids=["head lost", "way lost", "all gone", "never began"],
)
def test_cluster_on_which_nothing_goes_on_is_taken_down(
    tmp_path, monkeypatch, status, place, said, ends
):
    ended = []
    monkeypatch.setattr(cloud, "open_cluster", lambda path: place)
    monkeypatch.setattr(cloud, "take_down", lambda which, why, say: ended.append(which.name))
    monkeypatch.setattr(cluster, "_PENDING_LIMIT_S", 0.1)
    monkeypatch.setattr(CloudHandle, "_gone_limit_s", 0.1)
    # All that its record tells is that nobody writes it any more.
    record = RunRecord(run_id="r1", job_file="job.py", status=RunStatus.FAILED, reason=DRIVER_DIED)
    monkeypatch.setattr(CloudHandle, "record", lambda handle: record)
    handle = CloudHandle(str(tmp_path / "runs"), "r1", "x.yaml", Jobs(status), down=True)

    with pytest.raises(LaunchError, match=said):
        handle.wait()

    assert ended == (["x"] if ends else [])
