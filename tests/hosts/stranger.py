"""Tries all it can on ports of other machines without the token; a program that prints JSON.

    python stranger.py ADDRESS:PORT... < wrong token, or nothing

One decision: it knows every call that this Ray has, from Ray's own descriptions of them, and says
what came of each; what is an intrusion is for the test to judge.
"""

import importlib
import json
import pkgutil
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import ray.core.generated

MARK = "/tmp/stranger-was-here"
"""A file that is made on a host if a command of ours runs there."""

READS = (
    "/metrics", "/api/version", "/api/jobs/", "/api/v0/tasks", "/api/v0/actors", "/api/v0/nodes",
    "/api/v0/logs", "/api/v0/logs/file?node_ip=10.77.0.11&filename=gcs_server.out",
    "/nodes?view=summary", "/api/cluster_status", "/api/prometheus_health", "/events", "/logs/",
    "/api/serve/applications/", "/api/component_activities", "/api/data/datasets/all",
    "/api/authentication_mode",
    "/worker/traceback?pid=1&ip=10.77.0.11", "/memory_profile?pid=1&ip=10.77.0.11",
)  # fmt: skip
_JOB = {"entrypoint": f"touch {MARK}", "submission_id": "stranger"}
_HOOK = {"runtime_env": {"env_vars": {"A": "b"}, "worker_process_setup_hook": "os.getpid"}}
WRITES = {
    "/api/jobs/": json.dumps(_JOB | _HOOK),
    "/api/job_agent/jobs/": json.dumps(_JOB),
    "/api/packages/gcs/_ray_pkg_stranger.zip": "PK",
    "/api/actors/kill": json.dumps({"actor_id": "0", "force_kill": True}),
    "/get_or_create_runtime_env": "",
    "/delete_runtime_env_if_possible": "",
    "/report_events": "[]",
    "/api/serve/applications/": "{}",
}
# Raylets speak it among themselves; Ray's Python part has no description of it.
_UNDESCRIBED = ("Push", "Pull", "FreeObjects")
_WAIT_S = 10.0


def methods() -> list[tuple[str, bool, bool]]:
    """All remote calls of Ray: path, whether requests stream, whether answers do."""
    found = [(f"/ray.rpc.ObjectManagerService/{name}", False, False) for name in _UNDESCRIBED]
    for module in pkgutil.iter_modules(ray.core.generated.__path__):
        if module.name.endswith("_pb2"):
            described = importlib.import_module(f"ray.core.generated.{module.name}").DESCRIPTOR
            for service in described.services_by_name.values():
                found += [
                    (f"/{service.full_name}/{m.name}", m.client_streaming, m.server_streaming)
                    for m in service.methods
                ]
    return found


def call_all(target: str, token: str | None) -> dict[str, str]:
    """Every remote call at a port, with an empty request; what each came to."""
    with grpc.insecure_channel(target) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=2)
        except grpc.FutureTimeoutError:
            return {}
        return {path: call(channel, path, token, asks, tells) for path, asks, tells in methods()}


def call(
    channel: grpc.Channel, path: str, token: str | None, asks: bool = False, tells: bool = False
) -> str:
    """One remote call with an empty request; the name of its status and what was said."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    kind = f"{'stream' if asks else 'unary'}_{'stream' if tells else 'unary'}"
    method = getattr(channel, kind)(path)
    request = iter([b""]) if asks else b""
    try:
        answer = method(request, timeout=_WAIT_S, metadata=metadata)
        return f"OK {list(answer) if tells else answer!r}"
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"


def ask(target: str, path: str, body: str | None, token: str | None) -> str:
    """One HTTP request; its status and what was said."""
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    data = None if body is None else body.encode()
    request = urllib.request.Request(f"http://{target}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:
            return f"{answer.status} {answer.read(2000)!r}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(2000)!r}"
    except (OSError, ValueError) as error:
        return f"none {type(error).__name__}"
    except Exception as error:  # what is not HTTP is answered with all sorts of things
        return f"none {type(error).__name__}"


def ask_all(target: str, token: str | None) -> dict[str, str]:
    """Every request at a port; nothing if it does not speak HTTP."""
    if ask(target, "/", None, token).startswith("none"):
        return {}
    reads = {path: ask(target, path, None, token) for path in ("/", *READS)}
    return reads | {f"POST {path}": ask(target, path, body, token) for path, body in WRITES.items()}


if __name__ == "__main__":
    wrong = sys.stdin.read().strip() or None
    with ThreadPoolExecutor(4) as pool:
        http = pool.map(lambda target: ask_all(target, wrong), sys.argv[1:])
        rpc = pool.map(lambda target: call_all(target, wrong), sys.argv[1:])
        both = {t: h | r for t, h, r in zip(sys.argv[1:], http, rpc, strict=True)}
        sys.stdout.write(json.dumps(both))
