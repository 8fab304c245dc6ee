"""A run as a RayJob: its name, its manifest, and what may not stand in it."""

import copy

import jsonschema
import pytest
import yaml

from distml.errors import UserError
from distml.launch.kube.kuberay_job import rayjob_name
from tests.launch.pods import edit, request
from tests.launch.rayjob_schema import check_rayjob


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


@pytest.mark.parametrize(
    ("max_hours", "deadline", "ttl"), [(None, 14400, 600), (0.5, 1800, 0), (1e9, 2**31 - 1, 0)]
)
def test_limits_are_kept_by_the_cluster(kube, pods, s3_uri, max_hours, deadline, ttl):
    spec = pods.plan(request(s3_uri, max_hours=max_hours)).submission["spec"]

    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (deadline, ttl)
    assert (spec["shutdownAfterJobFinishes"], spec["backoffLimit"]) == (True, 0)
    assert spec["preRunningDeadlineSeconds"] == 1200
    assert spec["submissionMode"] == "HTTPMode"
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_what_the_user_wrote_stays(kube, pods, s3_uri):
    edit(lambda spec: spec.update(runtimeEnvYAML="env_vars: {MINE: '1'}", suspend=True))

    spec = pods.plan(request(s3_uri)).submission["spec"]

    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["MINE"] == "1"
    assert "suspend" not in spec
    assert spec["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"] == 8


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
def test_the_server_of_these_tests_takes_no_wrong_manifest(kube, pods, s3_uri, change):
    rayjob = copy.deepcopy(dict(pods.plan(request(s3_uri)).submission))
    change(rayjob)

    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        check_rayjob(rayjob)


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
def test_a_wrong_manifest_is_refused(kube, pods, s3_uri, change, message):
    edit(change)

    with pytest.raises(UserError, match=message) as error:
        pods.plan(request(s3_uri))

    assert "kuberay.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_may_be_taken_from_a_secret_or_a_file(kube, pods, s3_uri):
    def change(spec):
        reference = {"secretKeyRef": {"name": "keys", "key": "aws"}}
        _pod(spec)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": reference})
        _env(spec, "AWS_WEB_IDENTITY_TOKEN_FILE")

    edit(change)

    check_rayjob(pods.plan(request(s3_uri)).submission)


def _pod(spec):
    return spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]


def _env(spec, name):
    _pod(spec)["env"].append({"name": name, "value": "x"})
