"""The notice of a spot machine: read from metadata of our own, told to a `ray` of our own."""

import importlib.util
import json
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "cluster" / "node" / "spot_notice.py"

AWS_TOKEN = ("PUT", "/latest/api/token")
AWS_ACTION = ("GET", "/latest/meta-data/spot/instance-action")
GCP = ("GET", "/computeMetadata/v1/instance/preempted")
AZURE = ("GET", "/metadata/scheduledevents?api-version=2020-07-01")
AZURE_NAME = ("GET", "/metadata/instance/compute/name?api-version=2021-02-01&format=text")


@pytest.fixture(scope="module")
def spot_notice() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spot_notice", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Metadata:
    """Answers as an instance's metadata do, and keeps what it was asked with."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], str] = {}
        self.status = 200
        self.headers: list[dict[str, str]] = []
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                metadata.headers.append({k.lower(): v for k, v in self.headers.items()})
                text = metadata.answers.get((self.command, self.path))
                self.send_response(404 if text is None else metadata.status)
                self.end_headers()
                self.wfile.write((text or "").encode())

            do_GET = do_PUT = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    served = Metadata()
    yield served
    served.server.shutdown()
    served.server.server_close()


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_aws_gives_two_minutes_and_is_asked_with_a_session_token(
    spot_notice: ModuleType, metadata: Metadata
) -> None:
    metadata.answers[AWS_TOKEN] = "secret"
    assert spot_notice.aws_notice(metadata.url) is None
    end = in_seconds(120).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata.answers[AWS_ACTION] = json.dumps({"action": "terminate", "time": end})
    assert spot_notice.aws_notice(metadata.url) == pytest.approx(120, abs=10)
    assert metadata.headers[-1]["x-aws-ec2-metadata-token"] == "secret"


def test_gcp_gives_half_a_minute(spot_notice: ModuleType, metadata: Metadata) -> None:
    metadata.answers[GCP] = "FALSE"
    assert spot_notice.gcp_notice(metadata.url) is None
    metadata.answers[GCP] = "TRUE"
    assert spot_notice.gcp_notice(metadata.url) == 30
    assert metadata.headers[-1]["metadata-flavor"] == "Google"


def test_azure_gives_until_the_event_of_this_machine(
    spot_notice: ModuleType, metadata: Metadata
) -> None:
    metadata.answers[AZURE_NAME] = "worker-0"
    metadata.answers[AZURE] = json.dumps({"Events": []})
    assert spot_notice.azure_notice(metadata.url) is None
    event = {
        "EventType": "Preempt",
        "Resources": ["worker-1"],
        "NotBefore": format_datetime(in_seconds(40), usegmt=True),
    }
    other = {**event, "EventType": "Reboot", "Resources": ["worker-0"]}
    metadata.answers[AZURE] = json.dumps({"Events": [event, other]})
    assert spot_notice.azure_notice(metadata.url) is None
    event["Resources"] = ["worker-0"]
    metadata.answers[AZURE] = json.dumps({"Events": [other, event]})
    assert spot_notice.azure_notice(metadata.url) == pytest.approx(40, abs=10)
    event["NotBefore"] = ""
    metadata.answers[AZURE] = json.dumps({"Events": [event]})
    assert spot_notice.azure_notice(metadata.url) == 30


def test_own_node_is_read_from_the_command_line_of_its_raylet(
    spot_notice: ModuleType, tmp_path: Path
) -> None:
    commands = {
        "10": "python\0--node_id=not-this\0",
        "11": "/x/ray/core/src/ray/raylet/raylet\0--raylet_socket_name=/tmp/s\0--node_id=ab12\0",
        "self": "raylet\0--node_id=nor-this\0",
    }
    for pid, command in commands.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_text(command)
    assert spot_notice.own_node_id(tmp_path) == "ab12"
    (tmp_path / "11" / "cmdline").write_text("")
    assert spot_notice.own_node_id(tmp_path) is None


def test_errors_of_the_metadata_and_of_ray_are_outlived(spot_notice: ModuleType) -> None:
    notices = iter([OSError("no route"), OSError("no route"), None, 120.0, 118.0])
    drained: list[float] = []

    def notice() -> float | None:
        told = next(notices)
        if isinstance(told, OSError):
            raise told
        return told

    def drain(seconds_left: float) -> bool:
        drained.append(seconds_left)
        return len(drained) > 1

    spot_notice.watch(notice, drain, 0.0)
    assert drained == [120.0, 118.0]


@pytest.fixture
def raylet() -> Iterator[str]:
    """A process that looks like a raylet, and the node that it says it is."""
    node_id = "f" * 56
    command = ["bash", "-c", f"exec -a raylet bash -c 'read -t 60 <> <(:)' x --node_id={node_id}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield node_id
        process.kill()


def fake_ray(folder: Path, body: str) -> Path:
    path = folder / "ray"
    path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_program_drains_its_node_with_the_time_that_is_left(
    spot_notice: ModuleType, metadata: Metadata, raylet: str, tmp_path: Path
) -> None:
    wait_for(lambda: spot_notice.own_node_id() is not None)
    told = tmp_path / "told"
    ray = fake_ray(tmp_path, f'echo "$@" >> {told}')
    metadata.answers[GCP] = "FALSE"
    common = ["--address", "10.0.0.1:6379", "--metadata", metadata.url, "--ray", str(ray)]
    options = [*common, "--interval", "0.02", "--lock", str(tmp_path / "lock")]
    command = [sys.executable, str(SCRIPT), "gcp", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(metadata.headers) > 2)
        # A second one leaves it to the first.
        assert spot_notice.main(["gcp", *options]) == 0
        assert not told.exists()
        metadata.answers[GCP] = "TRUE"
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "will be taken away in 30 s" in said
    (call,) = told.read_text("utf-8").splitlines()
    node_id = spot_notice.own_node_id()
    assert call == (
        f"drain-node --address 10.0.0.1:6379 --node-id {node_id} "
        "--reason DRAIN_NODE_REASON_PREEMPTION --reason-message spot notice "
        "--deadline-remaining-seconds 27"
    )


def test_drain_that_ray_refuses_is_said(
    spot_notice: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ray = fake_ray(tmp_path, "echo 'not accepted' >&2; exit 1")
    assert spot_notice.drain("h:1", "ab", 2.0, str(ray)) is False
    assert "not accepted" in caplog.text


def test_ray_knows_the_command_and_its_options() -> None:
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in ("--address", "--node-id", "--reason", "--deadline-remaining-seconds"):
        assert option in text
    assert "DRAIN_NODE_REASON_PREEMPTION" in text.replace("\n", "").replace(" ", "")
