"""The dashboard's answers, from a small server of our own that speaks as Ray 2.60 does."""

import json
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from distml.cli import main
from distml.errors import LaunchError, UserError
from distml.launch.jobs_api import JobsApi, find_token

TOKEN = "right-token"


class Dashboard(ThreadingHTTPServer):
    """Jobs by their ids; `token` is asked for if there is one."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.token, self.jobs, self.packages, self.seen = None, {}, {}, []
        self.lose_replies, self.ray_version = False, "2.60.0"

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def say(self, code, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        server = self.server
        told = self.headers.get("Authorization")
        server.seen.append((self.command, self.path, told))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/version":
            return self.say(200, {"version": "4", "ray_version": server.ray_version})
        if server.token and told is None:
            return self.say(401, b"Unauthorized: Missing authentication token")
        if server.token and told != f"Bearer {server.token}":
            return self.say(403, b"Forbidden: Invalid authentication token")
        if self.path == "/api/jobs/" and self.command == "POST":
            return self.submit(json.loads(body))
        if self.path == "/api/jobs/":
            return self.say(200, list(server.jobs.values()))
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith("/api/packages"):
            if self.command == "PUT":
                server.packages[name] = body
            return self.say(200 if name in server.packages else 404, b"")
        return self.say(200, server.jobs[name]) if name in server.jobs else self.say(404, b"none")

    def submit(self, job):
        name = job["submission_id"]
        if name in self.server.jobs:
            said = f"ValueError: Job with submission_id {name} already exists. Please use another."
            return self.say(400, f"Traceback (most recent call last):\n  ...\n{said}\n.".encode())
        if "bad" in job["entrypoint"]:
            return self.say(
                500, b"Traceback (most recent call last):\nRuntimeError: disk is full\n."
            )
        self.server.jobs[name] = {"submission_id": name, "status": "PENDING"}
        if self.server.lose_replies:
            self.close_connection = True
            return None
        return self.say(200, {"submission_id": name})

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - http.server's names


@pytest.fixture
def dashboard(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    server = Dashboard()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def job(name="one", entrypoint="python x.py"):
    return {"submission_id": name, "entrypoint": entrypoint, "runtime_env": {}, "metadata": {}}


def test_a_job_is_submitted_and_known_by_its_own_name(dashboard):
    api = JobsApi(dashboard.address)

    api.submit(job())

    assert api.version() == "2.60.0"
    assert api.info("one")["status"] == "PENDING"
    assert api.info("two") is None
    assert [each["submission_id"] for each in api.jobs()] == ["one"]


def test_a_second_submission_of_a_run_is_refused(dashboard):
    api = JobsApi(dashboard.address)
    api.submit(job())

    with pytest.raises(UserError, match=r"run one was submitted to .* before; choose another name"):
        api.submit(job())


def test_a_lost_reply_is_no_failure_when_the_job_is_there(dashboard):
    dashboard.lose_replies = True

    JobsApi(dashboard.address).submit(job())

    assert list(dashboard.jobs) == ["one"]


def test_a_refusal_is_told_without_its_traceback(dashboard):
    with pytest.raises(LaunchError) as caught:
        JobsApi(dashboard.address).submit(job(entrypoint="bad"))

    assert str(caught.value) == f"{dashboard.address} refuses: RuntimeError: disk is full"


def test_the_token_is_sent_to_those_only_who_ask_for_one(dashboard, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    JobsApi(dashboard.address).jobs()
    assert [told for _, _, told in dashboard.seen] == [None]

    dashboard.token = TOKEN
    assert JobsApi(dashboard.address).jobs() == []
    assert [told for _, _, told in dashboard.seen] == [None, None, f"Bearer {TOKEN}"]


@pytest.mark.parametrize("where", ["variable", "file", "home", "named"])
def test_the_token_is_found_where_rays_own_client_looks(where, dashboard, monkeypatch, tmp_path):
    dashboard.token, file, token_file = TOKEN, tmp_path / "token", None
    if where == "variable":
        monkeypatch.setenv("RAY_AUTH_TOKEN", f"{TOKEN}\n")
    elif where == "file":
        file.write_text(TOKEN)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    elif where == "home":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(f"{TOKEN}\n")
    else:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
        file.write_text(TOKEN)
        token_file = str(file)

    assert JobsApi(dashboard.address, token_file=token_file).jobs() == []


def test_there_may_be_no_token(dashboard):
    assert find_token() is None


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "wants a token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"),
        ("wrong", "refuses the token: it is another cluster's"),
    ],
    ids=["missing", "wrong"],
)
def test_a_cluster_that_does_not_let_us_in_says_how_to_come_in(
    token, message, dashboard, monkeypatch
):
    dashboard.token = TOKEN
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)

    with pytest.raises(UserError, match=message):
        JobsApi(dashboard.address).version()


def test_nobody_there_is_told_at_once(dashboard):
    dashboard.shutdown()
    dashboard.server_close()

    with pytest.raises(UserError, match=r"does not answer \(.*refused.*\); is it the address"):
        JobsApi(dashboard.address).version()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://no host", "http://x.invalid:1"])
def test_an_address_that_leads_nowhere_is_one_line(address):
    with pytest.raises(UserError, match="does not answer"):
        JobsApi(address).version()


@pytest.mark.timeout(20)  # half a minute is what connections are given that have answered once
def test_an_address_that_is_silent_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = JobsApi(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match=r"does not answer \(timed out\)"):
            api.version()


def test_a_cluster_with_another_ray_gets_no_job(dashboard, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("tiny.py"), tmp_path)
    dashboard.ray_version = "2.9.3"

    place, storage = f"cluster:{dashboard.address}", str(tmp_path / "runs")
    assert main(["run", "tiny.py", "--on", place, "--storage", storage]) == 2

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"runs Ray 2.9.3, here is Ray {metadata.version('ray')}; install ray==2.9.3" in said
    assert (dashboard.jobs, dashboard.packages) == ({}, {})
    assert not (tmp_path / "runs").exists()


def test_a_package_is_sent_once(dashboard):
    api = JobsApi(dashboard.address)

    assert api.upload("abc", b"zip") == "gcs://_ray_pkg_abc.zip"
    assert api.upload("abc", b"zip") == "gcs://_ray_pkg_abc.zip"

    assert dashboard.packages == {"_ray_pkg_abc.zip": b"zip"}
    assert [verb for verb, path, _ in dashboard.seen if "packages" in path] == ["GET", "PUT", "GET"]
