"""What tests share: one Ray for the session, an S3 that really answers, a disk that fills up."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distml import session

NUM_CPUS = 4
"""Logical CPUs of the shared Ray: enough to run with 1, 2 and 4 workers, on two cores as well."""


HOSTS = "tests/hosts/"
"""Tests of which one process at a time may have the hosts."""
LONGEST = (HOSTS, "tests/train/", "tests/tune/", "tests/judges/")
"""What takes longest: it begins first, or one process would wait for the other at the end."""

# pytest-xdist sets it for its own lines; tables would be laid out for that width.
os.environ.pop("COLUMNS", None)

_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A running Ray with `NUM_CPUS` CPUs, its files in a folder that goes away with it."""
    # The path is short because Ray puts sockets under it, whose names may have 107 characters.
    folder = tempfile.mkdtemp(prefix="dml")
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    session.connect(num_cpus=NUM_CPUS)
    yield
    session.disconnect()
    if before is None:
        del os.environ["RAY_TMPDIR"]
    else:
        os.environ["RAY_TMPDIR"] = before
    shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Two processes share the tests by files; all that needs hosts is one process's.

    Groups of pytest-xdist's own are none with this pytest, which takes no other name for a test.
    """
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByFiles(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "hosts" if path.startswith(HOSTS) else path

    return ByFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by `LONGEST`, each file as it is."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(autouse=True)
def _ray_for_marked_tests(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray") is not None:
        request.getfixturevalue("ray_session")


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Python's own handlers: Ray, which other tests start, leaves one for SIGTERM that exits."""
    own = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {signum: signal.signal(signum, handler) for signum, handler in own.items()}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """`host:port` of a moto server of our own, in its own process."""
    pytest.importorskip("moto.server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(server, port)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def s3_uri(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket's folder."""
    from pyarrow.fs import S3FileSystem

    for name, value in {**_KEYS, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    bucket = f"b{secrets.token_hex(6)}"
    client = S3FileSystem(
        endpoint_override=s3_endpoint, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    client.create_dir(bucket)
    query = f"endpoint_override={s3_endpoint}&scheme=http&region=us-east-1"
    return f"s3://{bucket}/my/runs?{query}"


@pytest.fixture(params=["local", "s3"])
def any_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh storage of each kind."""
    if request.param == "local":
        return str(tmp_path / "runs")
    return str(request.getfixturevalue("s3_uri"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "distml-test", str(folder)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the moto server did not start")
