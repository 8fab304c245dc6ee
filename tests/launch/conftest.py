"""What the launchers' tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from distml.launch.kube import kuberay_handle
from distml.launch.kubernetes import KubernetesLauncher
from tests.launch.api_server import Kubernetes
from tests.launch.head import running_head
from tests.launch.pods import fill


@pytest.fixture(scope="session")
def ray_head() -> Iterator[str]:
    """`http://127.0.0.1:PORT` of a Ray head that asks for `TOKEN`."""
    with running_head() as address:
        yield address


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """A Kubernetes that the kubeconfig leads to, and a folder with a job and a manifest."""
    fill(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(kuberay_handle, "_POLL_S", 0.05)
    with Kubernetes() as kube:
        monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig(tmp_path / "kubeconfig")))
        yield kube


@pytest.fixture
def pods() -> KubernetesLauncher:
    """The launcher that leads there."""
    return KubernetesLauncher()
