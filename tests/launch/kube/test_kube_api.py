"""Which Kubernetes is meant, who we are there, and what it refuses."""

import base64
import shlex
import socket
import subprocess
import sys

import pytest
import yaml

from distml.errors import UserError
from distml.launch.kube import kube_api
from distml.launch.kubernetes import KubernetesLauncher
from tests.launch.api_server import TOKEN
from tests.launch.pods import begun, refusal, request, submit


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
def test_what_the_cluster_refuses_leaves_nothing_behind(kube, pods, s3_uri, change, message):
    change(kube)

    error = refusal(pods, s3_uri)

    assert message in str(error)
    assert error.exit_code == 2
    assert kube.objects == {}


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
    kube, pods, s3_uri, tmp_path, monkeypatch, content, message
):
    path = tmp_path / "other"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))

    assert message in str(refusal(pods, s3_uri))


def test_without_the_client_it_says_what_to_install(kube, pods, s3_uri, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes.config.kube_config", None)

    assert "pip install 'distml[kubernetes]'" in str(refusal(pods, s3_uri))


def test_a_server_that_is_not_there_is_said_so(kube, pods, s3_uri, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        kube.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        kube.kubeconfig(tmp_path / "kubeconfig")
        error = refusal(pods, s3_uri)

    assert f"server {kube.url} of context test does not answer (" in str(error)
    assert error.exit_code == 2


def test_a_server_that_is_silent_is_not_waited_for(kube, pods, s3_uri, tmp_path, monkeypatch):
    monkeypatch.setattr(kube_api, "_TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        kube.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        kube.kubeconfig(tmp_path / "kubeconfig")

        assert "does not answer (" in str(refusal(pods, s3_uri))


def test_who_is_not_known_is_told_to_log_in(kube, pods, s3_uri, tmp_path):
    kube.kubeconfig(tmp_path / "kubeconfig", user={"token": "another"})

    assert "kubectl --context test get rayjobs" in str(refusal(pods, s3_uri))


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


def test_a_server_that_proves_who_it_is_is_spoken_to(kube, pods, s3_uri, tmp_path):
    authority = certified(kube, tmp_path)
    kube.kubeconfig(tmp_path / "kubeconfig", **{"certificate-authority-data": authority})

    submit(pods, s3_uri)

    assert kube.rayjob() is not None


def test_a_server_that_proves_nothing_is_told_nothing(kube, pods, s3_uri, tmp_path):
    certified(kube, tmp_path)
    kube.kubeconfig(tmp_path / "kubeconfig")

    assert "context test does not prove to be it (" in str(refusal(pods, s3_uri))
    assert kube.requests == []


def login(command):
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": "sh", "args": ["-c", command]}}


def test_a_login_command_is_run(kube, pods, s3_uri, tmp_path):
    said = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        f'"status": {{"token": "{TOKEN}"}}}}'
    )
    kube.kubeconfig(tmp_path / "kubeconfig", user=login(f"echo {shlex.quote(said)}"))

    submit(pods, s3_uri)

    assert kube.rayjob() is not None


def test_a_login_command_that_fails_is_said_so(kube, pods, s3_uri, tmp_path, capfd):
    kube.kubeconfig(tmp_path / "kubeconfig", user=login("echo please log in >&2; exit 3"))

    error = refusal(pods, s3_uri)

    assert "context test: the login" in str(error)
    assert "please log in" in str(error)
    assert capfd.readouterr() == ("", "")


def test_a_lost_reply_starts_nothing_twice(kube, pods, s3_uri):
    kube.lose_replies = 1

    handle = submit(pods, s3_uri)
    begun(kube)

    assert list(kube.ray.jobs) == ["one"]
    assert handle.wait(0.05) is None
