"""A run handed to Kubernetes: what is sent, what is refused before, and that it begins once."""

import json
import shlex
import shutil
import time
from pathlib import Path

import pytest
import yaml

from distml.errors import UserError
from distml.runs.store import RunStore
from distml.runs.submissions import load_submission
from tests.launch.api_server import TOKEN
from tests.launch.pods import begun, request, submit, until
from tests.launch.rayjob_schema import check_rayjob


def test_what_is_printed_is_what_is_sent(kube, pods, s3_uri):
    plan = pods.plan(request(s3_uri, "--rows", "7", max_hours=2))
    assert kube.requests == []

    pods.submit(plan)

    sent = kube.rayjob()
    assert sent["spec"] == plan.submission["spec"]
    assert sent["metadata"].items() >= {**plan.submission["metadata"]}.items()
    assert str(plan).splitlines()[0].startswith("working tree ")
    assert yaml.safe_load(str(plan).partition("\n\n")[2]) == plan.submission
    check_rayjob(plan.submission)


def test_ray_is_given_the_command_word_for_word_under_the_name_of_the_run(kube, pods, s3_uri):
    plan = pods.plan(request(s3_uri, "--signs", "a b'$HOME`ls`"))

    pods.submit(plan)
    begun(kube)

    job = kube.ray.jobs["one"]
    assert shlex.split(job["entrypoint"]) == list(plan.command)
    assert job["runtime_env"]["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"] == "40"
    assert job["metadata"] == {"distml_run": "one", "distml_storage": s3_uri}
    assert load_submission(RunStore(s3_uri).storage, "one").launcher == "kubernetes:test/jobs"


def test_jobs_of_the_namespace_are_listed_whoever_made_them(kube, pods, s3_uri):
    pods.submit(pods.plan(request(s3_uri)))
    begun(kube)
    other = {"metadata": {"name": "other"}, "spec": {"entrypoint": "true"}}
    kube.objects["jobs", "other"] = other
    kube.objects["elsewhere", "third"] = other

    one, two = sorted(pods.jobs(), key=lambda job: job.job_id)

    assert (one.job_id, one.run_id, one.status) == ("one", "one", "RUNNING")
    assert one.storage == s3_uri
    assert abs(one.started_at - time.time()) < 60
    assert (two.job_id, two.run_id, two.status, two.started_at) == ("other", None, "PENDING", None)


@pytest.mark.parametrize("end", ["SUCCEEDED", "STOPPED", "FAILED"])
def test_job_that_has_ended_is_listed_with_its_end(kube, pods, end):
    status = {
        "jobStatus": end,
        "jobDeploymentStatus": "Complete",
        "endTime": "2026-11-27T12:00:00Z",
    }
    kube.objects["jobs", "one"] = {"metadata": {"name": "one"}, "spec": {}, "status": status}

    (one,) = pods.jobs()

    assert (one.status, one.ended_at) == (end, 1795780800.0)


def test_the_tree_goes_through_the_storage(kube, pods, s3_uri):
    plan = pods.plan(request(s3_uri))

    pods.submit(plan)

    assert RunStore(s3_uri).storage.read(f"packages/{plan.shipment.name}.zip")


def test_the_manifest_is_found_from_a_folder_below(kube, pods, s3_uri, monkeypatch):
    Path("deep").mkdir()
    shutil.copy("tiny.py", "deep")
    monkeypatch.chdir("deep")

    assert pods.plan(request(s3_uri)).submission["metadata"]["name"] == "one"


def test_no_key_of_this_machine_is_sent_or_kept(kube, pods, s3_uri, monkeypatch):
    canary = "canary-0815"
    for name in ("AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, canary)
    plan = pods.plan(request(s3_uri))
    monkeypatch.delenv("AWS_SESSION_TOKEN")  # moto would ask what it is

    pods.submit(plan)
    begun(kube)

    store = RunStore(s3_uri).storage
    kept = store.read("submitted/one.json").decode()
    for text in (str(plan), kept, str(kube.rayjob()), str(kube.ray.jobs)):
        assert canary not in text
        assert TOKEN not in text


@pytest.mark.parametrize(
    ("storage", "options", "message"),
    [
        ("runs", {}, "folder of this machine"),
        ("file:///tmp/runs", {}, "folder of this machine"),
        ("s3://key:secret@bucket/runs", {}, "storage s3://bucket/runs has a key in it"),
        ("s3://bucket/runs", {"max_cost": 3.0}, "say --max-hours"),
        ("s3://bucket/runs", {"down": False}, "always goes with its job"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(kube, pods, storage, options, message):
    with pytest.raises(UserError, match=message) as error:
        pods.plan(request(storage, **options))

    assert "secret" not in str(error.value)
    assert kube.requests == []


def test_without_a_manifest_it_says_what_to_do(kube, pods, s3_uri):
    Path("cluster", "kuberay.yaml").unlink()

    with pytest.raises(UserError, match=r"cluster/kuberay\.yaml"):
        pods.plan(request(s3_uri))


def test_a_run_is_submitted_once(kube, pods, s3_uri):
    submit(pods, s3_uri)
    begun(kube)

    with pytest.raises(UserError, match="run one is already being driven by job one in test/jobs"):
        submit(pods, s3_uri)

    kube.ray.jobs["one"]["status"] = "SUCCEEDED"
    until(lambda: kube.rayjob()["status"]["jobStatus"] == "SUCCEEDED")
    with pytest.raises(UserError, match="run one was submitted to test/jobs before; choose") as e:
        submit(pods, s3_uri)
    assert e.value.exit_code == 2


def test_a_job_knows_which_pods_it_may_get(kube, pods, s3_uri):
    plan = pods.plan(request(s3_uri))
    pods.submit(plan)

    variables = yaml.safe_load(plan.submission["spec"]["runtimeEnvYAML"])["env_vars"]
    assert [worker["CPU"] for worker in json.loads(variables["DISTML_MAY_START"])] == [7.0] * 8 + [
        6.0
    ] * 4
    noted = load_submission(RunStore(s3_uri).storage, "one")
    assert (noted.details["has"]["cpus"], noted.details["has"]["gpus"]) == (7 * 8 + 4 * 6, 4)
