"""What every launcher does alike, through Kubernetes: each RayJob is handed to a real Ray."""

import contextlib
import json
import os
import secrets
import shlex
import shutil
from pathlib import Path

import pytest

from distml.launch.jobs_api import JobsApi
from distml.launch.kube import kuberay_handle
from distml.launch.launcher import launcher
from distml.runs.storage import join_uri
from distml.runs.store import RunStore
from tests.launch import test_contract
from tests.launch.api_server import Kubernetes
from tests.launch.head import TOKEN
from tests.launch.pods import fill
from tests.launch.rays import PodsOfRay

pytestmark = pytest.mark.slow

_OF_THE_DRIVER = {
    "test_a_job_that_fails_says_why_in_one_line",
    "test_a_mistake_found_before_the_start_leaves_no_run",
    "test_a_resumed_run_uses_its_own_copy_of_the_job_file",
    "test_a_run_that_has_succeeded_cannot_be_resumed",
    "test_modules_beside_the_job_file_can_be_imported_also_on_resume",
}
"""What is the driver's doing wherever it runs, and is shown on a cluster by the same tests."""
_OTHERWISE = {
    "test_planning_has_no_effect_and_prints_the_drivers_command_line": "the tree is fetched first",
    "test_a_storage_that_cannot_be_written_is_refused": "of a folder of this machine",
    "test_the_record_is_the_same_wherever_the_job_ran": "compares within one folder",
}
globals().update(
    {
        name: test
        for name, test in vars(test_contract).items()
        if name.startswith("test_") and name not in _OTHERWISE
    }
)


def pytest_generate_tests(metafunc):
    marks = [pytest.mark.long] if metafunc.function.__name__ in _OF_THE_DRIVER else []
    metafunc.parametrize("name", [pytest.param("kubernetes", marks=marks)])


class Bucket(str):
    """A storage that the suite takes for a folder."""

    def exists(self):
        return RunStore(self).storage.list() != []

    def __truediv__(self, name):
        return Bucket(join_uri(self, name))


class Pods(test_contract.Place):
    """Runs of tiny jobs in one bucket, on pods."""

    def __init__(self, folder, storage):
        self.name, self.kind, self.is_remote = "kubernetes:test/jobs", "kubernetes", True
        self.folder = folder
        # Ray, which other tests use too, knows each name once.
        self.one = f"one-{secrets.token_hex(4)}"
        self.storage = Bucket(storage)
        self.store = RunStore(storage)
        self.job_file = Path(shutil.copy(test_contract.TINY, folder))
        self.launcher = launcher(self.name)


@pytest.fixture
def place(name, tmp_path, tmp_path_factory, monkeypatch, ray_head, s3_uri):
    work = tmp_path / "work"
    fill(work)
    monkeypatch.chdir(work)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setattr(kuberay_handle, "_POLL_S", 0.3)
    private = tmp_path_factory.mktemp("private")
    (private / "token").write_text(TOKEN)
    account = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    api = JobsApi(ray_head, token_file=private / "token")
    with Kubernetes(PodsOfRay(api, account)) as kube:
        kube.period_s = 0.3
        monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig(private / "kubeconfig")))
        place = Pods(work, s3_uri)
        place.kube = kube
        yield place
        for _, name in list(kube.objects):
            with contextlib.suppress(Exception):
                place.attach(name).stop()


def test_planning_has_no_effect_and_prints_the_manifest(place):
    plan = place.launcher.plan(place.request("--rows", "7"))

    driver = shlex.join(["tiny.py", "--storage", place.storage, "--run-id", place.one])
    assert f" distml.launch.keeper --folder . -- {driver} " in shlex.join(plan.command)
    assert shlex.join(plan.command).endswith(" -- --rows 7")
    assert json.loads(str(plan).partition("\n\n")[2])["kind"] == "RayJob"
    assert not place.storage.exists()
    assert place.kube.requests == []


def test_a_storage_that_pods_do_not_see_is_refused(place):
    place.storage = place.folder / "runs"

    code, words = place.run()

    assert (code, words.count("\n")) == (2, 1)
    assert f"storage {place.storage} is a folder of this machine" in words


def test_the_record_is_the_same_as_on_this_machine(place):
    other = test_contract.Place("local", place.folder)
    place.run("--rows", "7")
    other.run("--rows", "7")

    one = json.loads(place.store.load(place.one).to_json())
    two = json.loads(other.store.load(other.one).to_json())
    # Which nodes there were, which a run on one machine does not note.
    one["details"].pop("nodes")
    own = {"run_id", "launcher", "created_at", "started_at", "finished_at", "attempts"}
    own |= {"job_file", "folder"}
    assert {k: v for k, v in one.items() if k not in own} == {
        k: v for k, v in two.items() if k not in own
    }
