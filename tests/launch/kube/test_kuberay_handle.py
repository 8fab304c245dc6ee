"""A run on pods: how it ends, why it waits, and what stops it."""

import threading

import pytest

from distml.errors import LaunchError, UserError
from distml.launch.kube import kuberay_handle
from distml.runs.record import RunStatus
from tests.launch.pods import begun, edit, submit, until


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
def test_how_it_ended_is_told_as_on_this_machine(kube, pods, s3_uri, status, message, code, words):
    handle = submit(pods, s3_uri)
    begun(kube)
    kube.ray.jobs["one"].update(status=status, message=message)

    assert handle.wait() == code
    assert handle.wait() == code
    if words is not None:
        assert handle.last_words() == words


def test_stopping_takes_the_pods_away(kube, pods, s3_uri):
    handle = submit(pods, s3_uri)
    begun(kube)

    handle.stop()

    assert kube.rayjob() is None
    assert kube.ray.jobs["one"]["status"] == "STOPPED"
    assert handle.wait() == 130


def test_what_waits_can_be_stopped(kube, pods, s3_uri):
    kube.pods_start = False
    handle = submit(pods, s3_uri)

    handle.stop()

    assert (kube.objects, kube.ray.jobs, handle.wait()) == ({}, {}, 130)


def test_who_watches_sees_that_another_stops_it(kube, pods, s3_uri):
    handle = submit(pods, s3_uri)
    begun(kube)
    kube.ray.stopping_s = 0.5
    stopper = threading.Thread(target=pods.attach(s3_uri, "one").stop)
    stopper.start()

    assert handle.wait() == 130

    stopper.join()


@pytest.mark.parametrize(
    ("is_there", "what"), [(True, "at its end without having begun"), (False, "not known")]
)
def test_what_has_ended_cannot_be_stopped(kube, pods, s3_uri, is_there, what):
    if is_there:
        submit(pods, s3_uri)
        begun(kube)
        kube.ray.jobs["one"]["status"] = "SUCCEEDED"
        until(lambda: kube.rayjob()["status"]["jobStatus"] == "SUCCEEDED")

    with pytest.raises(UserError, match=f"run one is {what}: there is nothing to stop"):
        pods.attach(s3_uri, "one").stop()


def test_one_who_may_not_delete_is_told_so(kube, pods, s3_uri):
    handle = submit(pods, s3_uri)
    begun(kube)
    kube.forbidden.add("delete")

    with pytest.raises(UserError, match="does not let you delete RayJobs"):
        handle.stop()


def test_a_pending_run_says_what_it_waits_for(kube, pods, s3_uri):
    kube.has_operator = False
    handle = submit(pods, s3_uri)
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


def test_a_run_that_never_begins_is_given_up(kube, pods, s3_uri, monkeypatch):
    monkeypatch.setattr(kuberay_handle, "_PENDING_GRACE_S", 0.0)
    edit(lambda spec: spec.update(preRunningDeadlineSeconds=1))
    kube.has_operator = False
    handle = submit(pods, s3_uri)

    with pytest.raises(LaunchError, match="still waiting after 1 s and is withdrawn: KubeRay has"):
        handle.wait()

    assert kube.objects == {}


def test_pods_that_do_not_start_are_given_up_by_the_cluster(kube, pods, s3_uri):
    edit(lambda spec: spec.update(preRunningDeadlineSeconds=1))
    kube.pods_start = False
    handle = submit(pods, s3_uri)
    until(lambda: (kube.rayjob().get("status") or {}).get("rayClusterName"))
    kube.warn(f"{kube.rayjob()['status']['rayClusterName']}-head-1", "Failed", "no such image")

    assert handle.wait() == 1

    words = handle.last_words()
    assert words.startswith("distml: error: the job did not begin: PreRunningDeadlineExceeded: ")
    assert words.endswith("Failed: no such image\n")


def test_a_run_over_its_time_ends_as_one(kube, pods, s3_uri, monkeypatch):
    monkeypatch.setattr(kuberay_handle, "_SETTLE_S", 0.0)
    handle = submit(pods, s3_uri, max_hours=1 / 3600)

    assert handle.wait() == 124
    until(lambda: kube.ray.jobs["one"]["status"] == "STOPPED")


def test_what_the_storage_tells_needs_no_kubernetes(kube, pods, s3_uri, monkeypatch):
    submit(pods, s3_uri)
    monkeypatch.setenv("KUBECONFIG", "gone")

    handle = pods.attach(s3_uri, "one")

    assert (handle.status(), list(handle.logs())) == (RunStatus.PENDING, [])
    with pytest.raises(UserError, match="no Kubernetes cluster is known here"):
        handle.stop()


def test_a_job_that_somebody_deleted_is_missed(kube, pods, s3_uri, monkeypatch):
    monkeypatch.setattr(kuberay_handle, "_LOST_LIMIT_S", 0.1)
    handle = submit(pods, s3_uri)
    kube.objects.clear()

    with pytest.raises(LaunchError, match="deleted; run one had not begun when last seen"):
        handle.wait()


def test_a_cluster_that_is_away_for_a_moment_is_waited_for(kube, pods, s3_uri):
    handle = submit(pods, s3_uri)
    begun(kube)
    kube.forbidden.add("get")
    assert handle.wait(0.3) is None

    kube.forbidden.clear()
    kube.ray.jobs["one"]["status"] = "SUCCEEDED"

    assert handle.wait() == 0
