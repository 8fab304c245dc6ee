"""A run as a RayJob: what is sent, what is refused, and what is made of what Kubernetes says."""

import base64
import copy
import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

from distml.errors import LaunchError, UserError
from distml.launch import kube_api, kuberay_handle
from distml.launch.kuberay_job import rayjob_name
from distml.launch.kubernetes import KubernetesLauncher
from distml.launch.launcher import LaunchLimits, LaunchRequest
from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from distml.runs.submissions import load_submission
from tests.launch.kube import TOKEN, Kubernetes
from tests.launch.rayjob_schema import check_rayjob

HERE = Path(__file__).parent
MANIFEST = HERE.parents[1] / "cluster" / "kuberay.yaml"


@pytest.fixture
def kube(tmp_path, monkeypatch):
    """A cluster that the kubeconfig leads to, and a folder with a job and a manifest."""
    work = tmp_path / "work"
    (work / "cluster").mkdir(parents=True)
    shutil.copy(HERE / "tiny.py", work)
    manifest = MANIFEST.read_text().replace("YOUR-REGISTRY", "registry.example.org/me")
    (work / "cluster" / "kuberay.yaml").write_text(manifest)
    monkeypatch.chdir(work)
    monkeypatch.setattr(kuberay_handle, "_POLL_S", 0.05)
    with Kubernetes() as kube:
        monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig(tmp_path / "kubeconfig")))
        yield kube


@pytest.fixture
def place():
    return KubernetesLauncher()


def request(storage, *arguments, run_id="one", **limits):
    return LaunchRequest(
        storage=storage,
        run_id=run_id,
        job_file="tiny.py",
        arguments=arguments,
        limits=LaunchLimits(**limits),
    )


def submit(place, storage, *arguments, **options):
    return place.submit(place.plan(request(storage, *arguments, **options)))


def edit(change):
    """Change the manifest of this folder."""
    path = Path("cluster", "kuberay.yaml")
    value = yaml.safe_load(path.read_text())
    change(value["spec"])
    path.write_text(yaml.safe_dump(value))


def until(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.02)


def begun(kube, name="one"):
    until(lambda: (kube.rayjob(name) or {}).get("status", {}).get("jobStatus") == "RUNNING")


def refusal(place, storage, **options):
    """What is said in one line; nothing may be left behind."""
    with pytest.raises((UserError, LaunchError)) as error:
        submit(place, storage, **options)
    assert "\n" not in str(error.value)
    if "://" in storage:
        assert list(RunStore(storage).storage.list("")) == []
    return error.value


# What is sent.


def test_what_is_printed_is_what_is_sent(kube, place, s3_uri):
    plan = place.plan(request(s3_uri, "--rows", "7", max_hours=2))
    assert kube.requests == []

    place.submit(plan)

    sent = kube.rayjob()
    assert sent["spec"] == plan.submission["spec"]
    assert sent["metadata"].items() >= {**plan.submission["metadata"]}.items()
    assert str(plan).splitlines()[0].startswith("working tree ")
    assert yaml.safe_load(str(plan).partition("\n\n")[2]) == plan.submission
    check_rayjob(plan.submission)


def test_ray_is_given_the_command_word_for_word_under_the_name_of_the_run(kube, place, s3_uri):
    plan = place.plan(request(s3_uri, "--signs", "a b'$HOME`ls`"))

    place.submit(plan)
    begun(kube)

    job = kube.ray.jobs["one"]
    assert shlex.split(job["entrypoint"]) == list(plan.command)
    assert job["runtime_env"]["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"] == "40"
    assert job["metadata"] == {"distml_run": "one", "distml_storage": s3_uri}
    assert load_submission(RunStore(s3_uri).storage, "one").launcher == "kubernetes:test/jobs"


def test_the_tree_goes_through_the_storage(kube, place, s3_uri):
    plan = place.plan(request(s3_uri))

    place.submit(plan)

    assert RunStore(s3_uri).storage.read(f"packages/{plan.shipment.name}.zip")


@pytest.mark.parametrize(
    ("max_hours", "deadline", "ttl"), [(None, 14400, 600), (0.5, 1800, 0), (1e9, 2**31 - 1, 0)]
)
def test_limits_are_kept_by_the_cluster(kube, place, s3_uri, max_hours, deadline, ttl):
    spec = place.plan(request(s3_uri, max_hours=max_hours)).submission["spec"]

    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (deadline, ttl)
    assert (spec["shutdownAfterJobFinishes"], spec["backoffLimit"]) == (True, 0)
    assert spec["preRunningDeadlineSeconds"] == 1200
    assert spec["submissionMode"] == "HTTPMode"
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_what_the_user_wrote_stays(kube, place, s3_uri):
    edit(lambda spec: spec.update(runtimeEnvYAML="env_vars: {MINE: '1'}", suspend=True))

    spec = place.plan(request(s3_uri)).submission["spec"]

    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["MINE"] == "1"
    assert "suspend" not in spec
    assert spec["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"] == 8


def test_the_manifest_is_found_from_a_folder_below(kube, place, s3_uri, monkeypatch):
    Path("deep").mkdir()
    shutil.copy("tiny.py", "deep")
    monkeypatch.chdir("deep")

    assert place.plan(request(s3_uri)).submission["metadata"]["name"] == "one"


@pytest.mark.parametrize(
    ("submission_id", "name"),
    [
        ("one", "one"),
        ("one-2", "one-2"),
        ("20261127-113012-tiny-3f2a", "run-20261127-113012-tiny-3f2a-ef8a0d4c"),
        ("Big_Name", "run-big-name-"),
        ("x" * 60, "run-" + "x" * 34),
    ],
)
def test_a_run_has_one_name_that_kubernetes_takes(submission_id, name):
    made = rayjob_name(submission_id)

    assert made.startswith(name[:20])
    assert made == rayjob_name(submission_id)
    assert len(made) <= 47


def test_runs_of_like_names_do_not_meet():
    ids = ["a-b", "a_b", "A-b", "a.b", "x" * 60, "x" * 61, "1a", "-a", "a-", "é"]

    assert len({rayjob_name(one) for one in ids}) == len(ids)


def test_no_key_of_this_machine_is_sent_or_kept(kube, place, s3_uri, monkeypatch):
    canary = "canary-0815"
    for name in ("AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, canary)
    plan = place.plan(request(s3_uri))
    monkeypatch.delenv("AWS_SESSION_TOKEN")  # moto would ask what it is

    place.submit(plan)
    begun(kube)

    store = RunStore(s3_uri).storage
    kept = store.read("submitted/one.json").decode()
    for text in (str(plan), kept, str(kube.rayjob()), str(kube.ray.jobs)):
        assert canary not in text
        assert TOKEN not in text


# What is refused.


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["spec"].update(entryPoint="x"),
        lambda job: job["spec"].update(submissionMode="HttpMode"),
        lambda job: job["spec"].update(clusterSelector={"a": "b"}),
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"].update(
            rayStartParams={"num-cpus": 0}
        ),
        lambda job: _pod(job["spec"]).update(images="x"),
        lambda job: _pod(job["spec"]).pop("name"),
        lambda job: job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].update(minReplicas=99),
        lambda job: job["metadata"].update(name="One"),
    ],
    ids=["typo", "mode", "two clusters", "a number", "in a pod", "no name", "min > max", "capital"],
)
def test_the_server_of_these_tests_takes_no_wrong_manifest(kube, place, s3_uri, change):
    rayjob = copy.deepcopy(dict(place.plan(request(s3_uri)).submission))
    change(rayjob)

    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        check_rayjob(rayjob)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k: k.forbidden.add("create"), "does not let you create RayJobs in jobs"),
        (lambda k: setattr(k, "has_kuberay", False), "KubeRay is not installed there"),
        (lambda k: k.namespaces.remove("jobs"), "context test has no namespace 'jobs'"),
        (lambda k: k.unknown_fields.add("preRunningDeadlineSeconds"), "unknown field"),
        (lambda k: k.namespaces.clear(), "kubectl create namespace"),
    ],
    ids=["no rights", "no KubeRay", "no namespace", "old KubeRay", "no namespaces"],
)
def test_what_the_cluster_refuses_leaves_nothing_behind(kube, place, s3_uri, change, message):
    change(kube)

    error = refusal(place, s3_uri)

    assert message in str(error)
    assert error.exit_code == 2
    assert kube.objects == {}


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
def test_what_cannot_be_is_refused_before_anybody_is_asked(kube, place, storage, options, message):
    with pytest.raises(UserError, match=message) as error:
        place.plan(request(storage, **options))

    assert "secret" not in str(error.value)
    assert kube.requests == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: _pod(spec).update(image="YOUR-REGISTRY/distml"), "placeholder"),
        (lambda spec: _env(spec, "AWS_SECRET_ACCESS_KEY"), "secretKeyRef"),
        (lambda spec: _env(spec, "WANDB_API_KEY"), "WANDB_API_KEY has its value written down"),
        (lambda spec: spec["rayClusterSpec"].update(rayVersion="2.59.0"), "rayVersion is 2.59.0"),
        (lambda spec: spec["rayClusterSpec"].update(authOptions={"mode": "disabled"}), "token"),
        (lambda spec: spec.pop("rayClusterSpec"), "rayClusterSpec"),
    ],
    ids=["no image", "key", "another key", "Ray", "open", "no pods"],
)
def test_a_wrong_manifest_is_refused(kube, place, s3_uri, change, message):
    edit(change)

    with pytest.raises(UserError, match=message) as error:
        place.plan(request(s3_uri))

    assert "kuberay.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_may_be_taken_from_a_secret_or_a_file(kube, place, s3_uri):
    def change(spec):
        reference = {"secretKeyRef": {"name": "keys", "key": "aws"}}
        _pod(spec)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": reference})
        _env(spec, "AWS_WEB_IDENTITY_TOKEN_FILE")

    edit(change)

    check_rayjob(place.plan(request(s3_uri)).submission)


def _pod(spec):
    return spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]


def _env(spec, name):
    _pod(spec)["env"].append({"name": name, "value": "x"})


def test_without_a_manifest_it_says_what_to_do(kube, place, s3_uri):
    Path("cluster", "kuberay.yaml").unlink()

    with pytest.raises(UserError, match=r"cluster/kuberay\.yaml"):
        place.plan(request(s3_uri))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tset", "unknown Kubernetes context 'tset': did you mean test?"),
        ("tset/jobs", "unknown Kubernetes context 'tset'"),
    ],
)
def test_an_unknown_context_is_refused_with_the_nearest(kube, s3_uri, target, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        KubernetesLauncher(target).plan(request(s3_uri))


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (None, "kubernetes:test/jobs"),
        ("test", "kubernetes:test/jobs"),
        ("test/default", "kubernetes:test/default"),
        ("/default", "kubernetes:test/default"),
        ("arn:aws:eks:eu-west-1:1:cluster/mine", "kubernetes:arn:aws:eks:eu-west-1:1:cluster/mine"),
    ],
)
def test_a_place_is_kept_whole(kube, s3_uri, tmp_path, target, place):
    path = tmp_path / "kubeconfig"
    config = yaml.safe_load(path.read_text())
    context = {"cluster": "c", "user": "u"}
    config["contexts"].append({"name": "arn:aws:eks:eu-west-1:1:cluster/mine", "context": context})
    path.write_text(yaml.safe_dump(config))

    plan = KubernetesLauncher(target).plan(request(s3_uri))

    expected = place if place.count("/") == 1 and "arn" not in place else f"{place}/default"
    assert plan.launcher == expected
    assert KubernetesLauncher(plan.launcher.partition(":")[2]).plan(request(s3_uri)) == plan


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no Kubernetes cluster is known here"),
        ("", "is no kubeconfig"),
        ("contexts: [", "is no kubeconfig"),
        ("[1, 2]", "is no kubeconfig"),
        ("contexts: [{name: a, context: {cluster: c}}]", "has no current context"),
    ],
    ids=["missing", "empty", "no YAML", "a list", "no current one"],
)
def test_a_kubeconfig_that_leads_nowhere_is_refused(
    kube, place, s3_uri, tmp_path, monkeypatch, content, message
):
    path = tmp_path / "other"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))

    assert message in str(refusal(place, s3_uri))


def test_without_the_client_it_says_what_to_install(kube, place, s3_uri, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes.config.kube_config", None)

    assert "pip install 'distml[kubernetes]'" in str(refusal(place, s3_uri))


def test_a_server_that_is_not_there_is_said_so(kube, place, s3_uri, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        kube.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        kube.kubeconfig(tmp_path / "kubeconfig")
        error = refusal(place, s3_uri)

    assert f"server {kube.url} of context test does not answer (" in str(error)
    assert error.exit_code == 2


def test_a_server_that_is_silent_is_not_waited_for(kube, place, s3_uri, tmp_path, monkeypatch):
    monkeypatch.setattr(kube_api, "_TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        kube.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        kube.kubeconfig(tmp_path / "kubeconfig")

        assert "does not answer (" in str(refusal(place, s3_uri))


def test_who_is_not_known_is_told_to_log_in(kube, place, s3_uri, tmp_path):
    kube.kubeconfig(tmp_path / "kubeconfig", user={"token": "another"})

    assert "kubectl --context test get rayjobs" in str(refusal(place, s3_uri))


def certified(kube, folder):
    """A server with a certificate of its own making, and that."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    where = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    try:
        subprocess.run([*shlex.split(make), *where], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("making a certificate needs openssl")
    kube.secure(certificate, key)
    return base64.b64encode(certificate.read_bytes()).decode()


def test_a_server_that_proves_who_it_is_is_spoken_to(kube, place, s3_uri, tmp_path):
    authority = certified(kube, tmp_path)
    kube.kubeconfig(tmp_path / "kubeconfig", **{"certificate-authority-data": authority})

    submit(place, s3_uri)

    assert kube.rayjob() is not None


def test_a_server_that_proves_nothing_is_told_nothing(kube, place, s3_uri, tmp_path):
    certified(kube, tmp_path)
    kube.kubeconfig(tmp_path / "kubeconfig")

    assert "context test does not prove to be it (" in str(refusal(place, s3_uri))
    assert kube.requests == []


def login(command):
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": "sh", "args": ["-c", command]}}


def test_a_login_command_is_run(kube, place, s3_uri, tmp_path):
    said = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        f'"status": {{"token": "{TOKEN}"}}}}'
    )
    kube.kubeconfig(tmp_path / "kubeconfig", user=login(f"echo {shlex.quote(said)}"))

    submit(place, s3_uri)

    assert kube.rayjob() is not None


def test_a_login_command_that_fails_is_said_so(kube, place, s3_uri, tmp_path, capfd):
    kube.kubeconfig(tmp_path / "kubeconfig", user=login("echo please log in >&2; exit 3"))

    error = refusal(place, s3_uri)

    assert "context test: the login" in str(error)
    assert "please log in" in str(error)
    assert capfd.readouterr() == ("", "")


# Twice.


def test_a_lost_reply_starts_nothing_twice(kube, place, s3_uri):
    kube.lose_replies = 1

    handle = submit(place, s3_uri)
    begun(kube)

    assert list(kube.ray.jobs) == ["one"]
    assert handle.wait(0.05) is None


def test_a_run_is_submitted_once(kube, place, s3_uri):
    submit(place, s3_uri)
    begun(kube)

    with pytest.raises(UserError, match="run one is already being driven by job one in test/jobs"):
        submit(place, s3_uri)

    kube.ray.jobs["one"]["status"] = "SUCCEEDED"
    until(lambda: kube.rayjob()["status"]["jobStatus"] == "SUCCEEDED")
    with pytest.raises(UserError, match="run one was submitted to test/jobs before; choose") as e:
        submit(place, s3_uri)
    assert e.value.exit_code == 2


def test_a_job_knows_which_pods_it_may_get(kube, place, s3_uri):
    plan = place.plan(request(s3_uri))
    place.submit(plan)

    variables = yaml.safe_load(plan.submission["spec"]["runtimeEnvYAML"])["env_vars"]
    assert [worker["CPU"] for worker in json.loads(variables["DISTML_MAY_START"])] == [8.0] * 8 + [
        6.0
    ] * 4
    noted = load_submission(RunStore(s3_uri).storage, "one")
    assert (noted.details["has"]["cpus"], noted.details["has"]["gpus"]) == (8 * 8 + 4 * 6, 4)


# How it goes.


@pytest.mark.parametrize(
    ("status", "message", "code", "words"),
    [
        ("SUCCEEDED", "Job finished successfully.", 0, ""),
        ("STOPPED", "Job was intentionally stopped.", 130, ""),
        (
            "FAILED",
            "Job entrypoint command failed with exit code 2, last available logs (truncated to "
            "20,000 chars):\n2026 INFO something\ndistml: error: no such data\n",
            2,
            "distml: error: no such data\n",
        ),
        (
            "FAILED",
            "Job entrypoint command failed with exit code 127, last available logs (truncated to "
            "20,000 chars):\n/bin/sh: 1: python: not found\n",
            127,
            "distml: error: the job did not begin: AppFailed: /bin/sh: 1: python: not found\n",
        ),
        ("FAILED", "Job entrypoint command failed with exit code -9. No logs", 137, None),
        ("FAILED", "runtime_env setup failed: no disk", 1, None),
    ],
    ids=["well", "stopped", "wrong", "no python", "killed", "not set up"],
)
def test_how_it_ended_is_told_as_on_this_machine(kube, place, s3_uri, status, message, code, words):
    handle = submit(place, s3_uri)
    begun(kube)
    kube.ray.jobs["one"].update(status=status, message=message)

    assert handle.wait() == code
    assert handle.wait() == code
    if words is not None:
        assert handle.last_words() == words


def test_stopping_takes_the_pods_away(kube, place, s3_uri):
    handle = submit(place, s3_uri)
    begun(kube)

    handle.stop()

    assert kube.rayjob() is None
    assert kube.ray.jobs["one"]["status"] == "STOPPED"
    assert handle.wait() == 130


def test_what_waits_can_be_stopped(kube, place, s3_uri):
    kube.pods_start = False
    handle = submit(place, s3_uri)

    handle.stop()

    assert (kube.objects, kube.ray.jobs, handle.wait()) == ({}, {}, 130)


@pytest.mark.parametrize("is_there", [True, False])
def test_what_has_ended_cannot_be_stopped(kube, place, s3_uri, is_there):
    if is_there:
        submit(place, s3_uri)
        begun(kube)
        kube.ray.jobs["one"]["status"] = "SUCCEEDED"
        until(lambda: kube.rayjob()["status"]["jobStatus"] == "SUCCEEDED")

    with pytest.raises(UserError, match="there is nothing to stop"):
        place.attach(s3_uri, "one").stop()


def test_one_who_may_not_delete_is_told_so(kube, place, s3_uri):
    handle = submit(place, s3_uri)
    begun(kube)
    kube.forbidden.add("delete")

    with pytest.raises(UserError, match="does not let you delete RayJobs"):
        handle.stop()


def test_a_pending_run_says_what_it_waits_for(kube, place, s3_uri):
    kube.has_operator = False
    handle = submit(place, s3_uri)
    assert "does its operator run" in handle.why_pending()
    assert handle.status() is RunStatus.PENDING

    kube.pods_start = False
    kube.has_operator = True
    until(lambda: "Initializing" in (handle.why_pending() or ""))

    pod = f"{kube.rayjob()['status']['rayClusterName']}-head-x7k2p"
    kube.warn("another-pod", "FailedMount", "not of this job")
    kube.warn(pod, "FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu.")
    said = f"{pod}: FailedScheduling: 0/3 nodes are available: 3 Insufficient cpu."
    assert handle.why_pending() == said

    kube.forbidden.add("list")
    assert "Initializing" in handle.why_pending()

    kube.pods_start = True
    until(lambda: handle.why_pending() is None)


def test_a_run_that_never_begins_is_given_up(kube, place, s3_uri, monkeypatch):
    monkeypatch.setattr(kuberay_handle, "_PENDING_GRACE_S", 0.0)
    edit(lambda spec: spec.update(preRunningDeadlineSeconds=1))
    kube.has_operator = False
    handle = submit(place, s3_uri)

    with pytest.raises(LaunchError, match="still waiting after 1 s and is withdrawn: KubeRay has"):
        handle.wait()

    assert kube.objects == {}


def test_pods_that_do_not_start_are_given_up_by_the_cluster(kube, place, s3_uri):
    edit(lambda spec: spec.update(preRunningDeadlineSeconds=1))
    kube.pods_start = False
    handle = submit(place, s3_uri)
    until(lambda: (kube.rayjob().get("status") or {}).get("rayClusterName"))
    kube.warn(f"{kube.rayjob()['status']['rayClusterName']}-head-1", "Failed", "no such image")

    assert handle.wait() == 1

    words = handle.last_words()
    assert words.startswith("distml: error: the job did not begin: PreRunningDeadlineExceeded: ")
    assert words.endswith("Failed: no such image\n")


def test_a_run_over_its_time_ends_as_one(kube, place, s3_uri, monkeypatch):
    monkeypatch.setattr(kuberay_handle, "_SETTLE_S", 0.0)
    handle = submit(place, s3_uri, max_hours=1 / 3600)

    assert handle.wait() == 124
    assert kube.ray.jobs["one"]["status"] == "STOPPED"


def test_what_the_storage_tells_needs_no_kubernetes(kube, place, s3_uri, monkeypatch):
    submit(place, s3_uri)
    monkeypatch.setenv("KUBECONFIG", "gone")

    handle = place.attach(s3_uri, "one")

    assert (handle.status(), list(handle.logs())) == (RunStatus.PENDING, [])
    with pytest.raises(UserError, match="no Kubernetes cluster is known here"):
        handle.stop()


def test_a_job_that_somebody_deleted_is_missed(kube, place, s3_uri, monkeypatch):
    monkeypatch.setattr(kuberay_handle, "_LOST_LIMIT_S", 0.1)
    handle = submit(place, s3_uri)
    kube.objects.clear()

    with pytest.raises(LaunchError, match=r"deleted; run one had not ended .* distml resume one"):
        handle.wait()


def test_a_cluster_that_is_away_for_a_moment_is_waited_for(kube, place, s3_uri):
    handle = submit(place, s3_uri)
    begun(kube)
    kube.forbidden.add("get")
    assert handle.wait(0.3) is None

    kube.forbidden.clear()
    kube.ray.jobs["one"]["status"] = "SUCCEEDED"

    assert handle.wait() == 0
