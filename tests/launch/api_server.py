"""A Kubernetes to test against: an API server over HTTP that knows RayJobs, and KubeRay's operator.

What it takes is held against KubeRay's own schema and the operator's rules. Its operator goes
through KubeRay's states, faster; jobs it hands to a real Ray head, or to one that only pretends.
"""

import contextlib
import copy
import json
import re
import secrets
import ssl
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jsonschema
import yaml

from tests.launch.rayjob_schema import check_rayjob
from tests.launch.rays import PretendedRay

TOKEN = "kubernetes-bearer-" + "k" * 20
FINALIZER = "ray.io/rayjob-finalizer"
FINAL = ("STOPPED", "SUCCEEDED", "FAILED")


class Kubernetes:
    """One cluster. Tests turn its attributes to make it refuse."""

    def __init__(self, ray=None):
        self.ray = ray or PretendedRay()
        self.namespaces = {"default", "jobs"}
        self.objects = {}
        self.events = []
        self.forbidden = set()
        self.requests = []
        self.has_kuberay = True
        self.has_operator = True
        self.pods_start = True
        self.lose_replies = 0
        self.period_s = 0.05
        self.unknown_fields = set()
        self.lock = threading.RLock()

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.ended = threading.Event()
        self.threads = [
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True),
            threading.Thread(target=self.operate, daemon=True),
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
        for thread in self.threads:
            thread.join()

    def secure(self, certificate, key):
        """From now on, speak TLS alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def kubeconfig(self, path, *, user=None, namespace="jobs", **cluster):
        """Write a kubeconfig with one context, `test`."""
        settings = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.url, **cluster}}],
            "users": [{"name": "u", "user": user or {"token": TOKEN}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "c", "user": "u", "namespace": namespace}}
            ],
        }
        path.write_text(yaml.safe_dump(settings))
        return path

    def rayjob(self, name="one", namespace="jobs"):
        with self.lock:
            return copy.deepcopy(self.objects.get((namespace, name)))

    def warn(self, name, reason, note):
        """An event as kubelet, scheduler or operator write it."""
        with self.lock:
            now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            self.events.append(
                {
                    "metadata": {"name": secrets.token_hex(4), "creationTimestamp": now},
                    "regarding": {"name": name},
                    "type": "Warning",
                    "reason": reason,
                    "note": note,
                    "eventTime": now,
                }
            )

    # What the API server does.

    def create(self, namespace, rayjob, dry_run, strict):
        name = rayjob["metadata"]["name"]
        if namespace not in self.namespaces:
            return _status(404, f'namespaces "{namespace}" not found', "namespaces", namespace)
        if (namespace, name) in self.objects:
            return _status(409, f'rayjobs.ray.io "{name}" already exists', "rayjobs", name)
        assert strict == "Strict", "fields unknown to this KubeRay would be dropped silently"
        if unknown := self.unknown_fields & set(rayjob["spec"]):
            field = unknown.pop()
            said = f'strict decoding error: unknown field "spec.{field}"'
            return _status(400, f"RayJob in version v1 cannot be handled: {said}")
        try:
            check_rayjob(rayjob)
        except (jsonschema.ValidationError, AssertionError) as error:
            return _status(422, f"RayJob is invalid: {str(error).splitlines()[0]}", "rayjobs", name)
        made = copy.deepcopy(rayjob)
        made["metadata"].update(uid=secrets.token_hex(8), creationTimestamp=_now())
        if not dry_run:
            self.objects[namespace, name] = made
        return 201, made

    def delete(self, namespace, name):
        rayjob = self.objects.get((namespace, name))
        if rayjob is None:
            return _status(404, f'rayjobs.ray.io "{name}" not found', "rayjobs", name)
        rayjob["metadata"].setdefault("deletionTimestamp", _now())
        if not rayjob["metadata"].get("finalizers"):
            del self.objects[namespace, name]
        return 200, rayjob

    # What KubeRay's operator does.

    def operate(self):
        while not self.ended.wait(self.period_s):
            with self.lock:
                known = list(self.objects.items()) if self.has_operator else []
            for key, rayjob in known:
                with contextlib.suppress(Exception):  # it logs, and comes again
                    self.reconcile(key, rayjob)

    def reconcile(self, key, rayjob):
        status, metadata = rayjob.setdefault("status", {}), rayjob["metadata"]
        deployment = status.get("jobDeploymentStatus", "")
        if "deletionTimestamp" in metadata:
            self.take_down(key, rayjob)
        elif not deployment:
            metadata["finalizers"] = [FINALIZER]
            status.update(
                jobDeploymentStatus="Initializing",
                jobId=rayjob["spec"].get("jobId") or f"{key[1]}-{secrets.token_hex(2)}",
                rayClusterName=f"{key[1]}-{secrets.token_hex(2)}",
                startTime=_now(),
            )
        elif deployment == "Initializing":
            if self.pods_start:
                status["jobDeploymentStatus"] = "Running"
            elif _age_s(status) > rayjob["spec"]["preRunningDeadlineSeconds"]:
                _fail(status, "PreRunningDeadlineExceeded", "The RayJob has not begun in time.")
        elif deployment == "Running":
            self.run(rayjob["spec"], status)

    def run(self, spec, status):
        if _age_s(status) > spec.get("activeDeadlineSeconds", 1e9):
            _fail(status, "DeadlineExceeded", "The RayJob has passed the activeDeadlineSeconds.")
            self.ray.stop(status["jobId"])  # its cluster is deleted
            return
        info = self.ray.info(status["jobId"])
        if info is None:
            environment = yaml.safe_load(spec.get("runtimeEnvYAML", "{}"))
            self.ray.submit(
                {
                    "entrypoint": spec["entrypoint"],
                    "submission_id": status["jobId"],
                    "metadata": spec.get("metadata", {}),
                    "runtime_env": environment,
                }
            )
            return
        status.update(jobStatus=info["status"], message=info.get("message") or "")
        if info["status"] in FINAL:
            failed = info["status"] == "FAILED"
            status.update(
                jobDeploymentStatus="Failed" if failed else "Complete",
                reason="AppFailed" if failed else "",
                endTime=_now(),
            )

    def take_down(self, key, rayjob):
        """Stop the job; what is owned goes first, and its pods wait for what runs in them."""
        info = self.ray.info(rayjob["status"].get("jobId", ""))
        if info is None or info["status"] in FINAL:
            with self.lock:
                self.objects.pop(key, None)
        elif not rayjob["metadata"].get("stopped"):
            rayjob["metadata"]["stopped"] = True
            self.ray.stop(rayjob["status"]["jobId"])


def _handler(kube):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            with kube.lock:
                code, value = self.decide(urlsplit(self.path), body)
                kube.requests.append((self.command, self.path, code))
                lost = kube.lose_replies and code == 201 and "dryRun" not in self.path
                if lost:
                    kube.lose_replies -= 1
                    self.close_connection = True
                    return
                content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(code)
            kind = "text/plain" if isinstance(value, bytes) else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def decide(self, url, body):
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return _status(401, "Unauthorized")
            found = re.fullmatch(r"/apis/([^/]+)/v1/namespaces/([^/]+)/(\w+)(?:/(.+))?", url.path)
            if not found or (found[1] == "ray.io" and not kube.has_kuberay):
                return 404, b"404 page not found\n"
            group, namespace, plural, name = found.groups()
            verb = {"GET": "get" if name else "list", "POST": "create", "DELETE": "delete"}
            if verb[self.command] in kube.forbidden:
                said = f'{plural}.{group} is forbidden: User "u" cannot {verb[self.command]}'
                return _status(403, f"{said} resource in the namespace {namespace!r}", plural)
            options = {key: value[0] for key, value in parse_qs(url.query).items()}
            if plural == "events":
                return 200, {"items": kube.events}
            if self.command == "POST":
                dry_run = options.get("dryRun") == "All"
                return kube.create(namespace, body, dry_run, options.get("fieldValidation"))
            if name is None:
                mine = [one for (where, _), one in kube.objects.items() if where == namespace]
                return 200, {"items": mine}
            if self.command == "DELETE":
                assert options["propagationPolicy"] == "Foreground"
                return kube.delete(namespace, name)
            rayjob = kube.objects.get((namespace, name))
            if rayjob is None:
                return _status(404, f'rayjobs.ray.io "{name}" not found', "rayjobs", name)
            return 200, rayjob

        def log_message(self, *words):
            pass

    return Handler


def _status(code, message, kind=None, name=None):
    details = {k: v for k, v in (("kind", kind), ("name", name), ("group", "ray.io")) if v and kind}
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "details": details,
        "code": code,
    }


def _fail(status, reason, message):
    status.update(jobDeploymentStatus="Failed", reason=reason, message=message, endTime=_now())


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _age_s(status):
    return time.time() - datetime.fromisoformat(status["startTime"]).timestamp()
