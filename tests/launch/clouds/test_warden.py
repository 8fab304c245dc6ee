"""The warden of a cluster's head, with a dashboard and a provider that are made up."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from distml.launch.clouds import stopping
from distml.launch.clouds import warden as module
from distml.launch.clouds.machines import Machine
from distml.launch.clouds.stopping import stop_command
from distml.launch.clouds.warden import Warden, merged


class Dashboard:
    """Jobs of a cluster; a stop takes them at once."""

    def __init__(self):
        self.jobs, self.tokens = {}, []
        handler = type("Handler", (BaseHTTPRequestHandler,), {"board": self, **_METHODS})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def _get(handler):
    handler.board.tokens.append(handler.headers["Authorization"])
    listed = [{"submission_id": k, "status": v} for k, v in handler.board.jobs.items()]
    _reply(handler, [*listed, {"submission_id": None, "status": "RUNNING"}])


def _post(handler):
    job = handler.path.split("/")[3]
    handler.board.jobs[job] = "STOPPED"
    _reply(handler, {"stopped": True})


def _reply(handler, value):
    body = json.dumps(value).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


_METHODS = {"do_GET": _get, "do_POST": _post, "log_message": lambda *words: None}


class Provider:
    """Machines that end when they are told, a moment later; the head takes its warden with it."""

    def __init__(self):
        self.here = {"h": True, "w1": False, "w2": False}
        self.asked = []

    def machines(self, config):
        return [
            Machine(machine_id=one, cluster="x", node_type="t", is_head=head, address=None)
            for one, head in self.here.items()
        ]

    def terminate(self, config, ids):
        self.asked.append(sorted(ids))
        for one in ids:
            del self.here[one]


@pytest.fixture
def dashboard():
    board = Dashboard()
    yield board
    board.server.shutdown()
    board.server.server_close()


@pytest.fixture
def provider(tmp_path, monkeypatch):
    made = Provider()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret\n")
    config = {"cluster_name": "x", "provider": {"type": "aws"}}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(config))
    monkeypatch.setattr(module, "machines", made.machines)
    monkeypatch.setattr(module, "terminate", made.terminate)
    monkeypatch.setattr(stopping, "stop_command", lambda cluster: "true")
    monkeypatch.setattr(module, "kill_autoscaler", lambda cluster: None)
    monkeypatch.setattr(module, "_SETTLE_S", 0.01)
    return made


@pytest.fixture
def warden(tmp_path, dashboard, provider):
    folder = tmp_path / "x"
    folder.mkdir()
    return Warden(folder, api=dashboard.address)


def test_over_time_jobs_are_stopped_workers_ended_and_the_head_last(warden, dashboard, provider):
    dashboard.jobs["a"] = "RUNNING"
    warden.set({"cluster": "x", "fresh": True, "max_hours": 1e-5, "poll_s": 0.01})

    warden.watch()

    assert dashboard.jobs == {"a": "STOPPED"}
    assert provider.asked == [["w1", "w2"], ["h"]]
    assert set(dashboard.tokens) == {"Bearer secret"}
    assert warden.status()["state"]["ended"].startswith("it has been up for")


def test_cluster_ends_with_the_run_it_was_started_for(warden, dashboard, provider):
    dashboard.jobs["a"] = "RUNNING"
    warden.set({"cluster": "x", "fresh": True, "down_after": ["a"], "down_s": 0.05, "poll_s": 0.01})
    watching = threading.Thread(target=warden.watch)
    watching.start()
    time.sleep(0.2)
    assert provider.asked == []

    dashboard.jobs["a"] = "SUCCEEDED"
    watching.join(30)

    assert provider.asked == [["w1", "w2"], ["h"]]


def test_head_that_cannot_list_its_machines_still_counts_what_it_saw(warden, provider, monkeypatch):
    warden.set({"cluster": "x", "fresh": True, "prices": {"t": 1.0}})
    warden._step()

    def refuse(config):
        raise module.DistmlError("no such region")

    monkeypatch.setattr(module, "machines", refuse)
    warden._step()

    assert warden.status()["state"]["rate"] == 3.0
    assert warden.status()["state"]["nodes"] == {"t": 3}


def test_only_one_warden_watches(warden, dashboard, provider):
    warden.set({"cluster": "x", "fresh": True, "poll_s": 0.02})
    first = threading.Thread(target=warden.watch)
    first.start()
    time.sleep(0.1)

    warden.watch()  # returns at once

    warden.set({"cluster": "x", "max_hours": 1e-6})
    first.join(30)
    assert provider.asked == [["w1", "w2"], ["h"]]


def test_what_somebody_else_began_to_end_is_ended(warden, dashboard, provider, monkeypatch):
    monkeypatch.setattr(module, "_GONE_S", 0.3)
    warden.set({"cluster": "x", "fresh": True, "poll_s": 0.01})
    warden.halt("somebody said so")  # and is never heard of again
    began = time.monotonic()

    warden.watch()

    assert time.monotonic() - began >= 0.3
    assert provider.asked == [["w1", "w2"], ["h"]]
    assert warden.status()["state"]["ended"] == "somebody said so"


def test_a_warden_that_comes_back_leaves_alone_what_has_ended_or_begun_anew(
    warden, dashboard, provider
):
    warden.set({"cluster": "x", "fresh": True, "poll_s": 0.01})
    warden.end("somebody said so")
    provider.asked.clear()
    provider.here = {"h": True}  # of a cluster that came later
    warden.watch()
    assert provider.asked == []

    warden.set({"cluster": "x", "fresh": True, "poll_s": 0.01})
    warden.halt("somebody said so")
    watching = threading.Thread(target=warden.watch)
    watching.start()
    time.sleep(0.1)
    warden.set({"cluster": "x", "fresh": True, "poll_s": 0.01, "down_after": ["a"], "down_s": 0})
    time.sleep(0.1)
    assert (provider.asked, watching.is_alive()) == ([], True)
    dashboard.jobs["a"] = "SUCCEEDED"
    watching.join(30)
    assert warden.status()["state"]["ended"] == "the run it was started for has ended: a"


def test_nothing_watches_a_cluster_that_has_ended(tmp_path):
    again = ["sh", "-c", "sleep 60; : python -m distml.launch.clouds.warden watch"]
    folders = [tmp_path / name for name in ("ended", "other")]
    for folder in folders:
        folder.mkdir()
    begun = [subprocess.Popen(again, cwd=each, start_new_session=True) for each in folders]
    try:
        stopping.dismiss_wardens(folders[0])

        assert begun[0].wait(30) == -signal.SIGKILL
        assert begun[1].poll() is None
    finally:
        for process in begun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_what_is_told_later_is_added_to_what_was(warden):
    warden.set({"cluster": "x", "fresh": True, "max_hours": 2, "down_after": ["a"]})
    before = warden.status()["state"]
    warden.set({"cluster": "x", "down_after": ["b"], "job_costs": {"b": 3}})

    plan = warden.status()["plan"]
    assert (plan["max_hours"], plan["down_after"], plan["job_costs"]) == (2, ["a", "b"], {"b": 3})
    assert warden.status()["state"] == before
    warden.set({"cluster": "x", "fresh": True})
    assert warden.status()["plan"]["down_after"] == []


def test_merging_keeps_jobs_once():
    assert merged({"down_after": ["a"]}, {"down_after": ["a", "b"], "idle_s": 1}) == {
        "down_after": ["a", "b"],
        "job_costs": {},
        "idle_s": 1,
    }


def test_stop_command_names_the_cluster_safely():
    assert "'DISTML_CLUSTER=a b'" in stop_command("a b")
