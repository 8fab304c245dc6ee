"""Runs of a tiny job, handed to the Kubernetes of the tests."""

import shutil
import time
from pathlib import Path

import pytest
import yaml

from distml.errors import LaunchError, UserError
from distml.launch.launcher import LaunchLimits, LaunchRequest
from distml.runs.store import RunStore

MANIFEST = Path(__file__).parents[2] / "cluster" / "kuberay.yaml"


def fill(folder):
    """Put a job and a manifest with an image into a folder."""
    (folder / "cluster").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("tiny.py"), folder)
    manifest = MANIFEST.read_text().replace("YOUR-REGISTRY", "registry.example.org/me")
    (folder / "cluster" / "kuberay.yaml").write_text(manifest)


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
