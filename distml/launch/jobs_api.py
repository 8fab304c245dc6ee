"""Ray's Jobs REST API, as the few requests that submitting needs.

One decision: plain HTTP by the standard library, because importing Ray's own client takes longer
than submitting a job. The token is sent to a server only after it has asked for one.
"""

import contextlib
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from distml.errors import LaunchError, UserError

__all__ = ["JobsApi", "find_token"]

_FIRST_TIMEOUT_S = 5.0
_TIMEOUT_S = 30.0
"""A dashboard that has answered is there, however busy."""
_UPLOAD_TIMEOUT_S = 120.0
_NODE_ITSELF = re.compile(r"node_?[0-9a-fA-F]{56}")


class JobsApi:
    """The dashboard of one Ray cluster. Keeps no connection; may be used from several threads."""

    def __init__(self, address: str, *, token_file: str | Path | None = None) -> None:
        self.address = address.rstrip("/")
        """`http://HOST:PORT`."""
        self._token_file = token_file
        self._token: str | None = None
        self._has_answered = False

    def version(self) -> str:
        """Ray's version over there.

        Raises:
            UserError: nothing answers, or it is no Ray, or it wants another token.
        """
        # Version is told to everybody: the list of jobs shows whether we may come in.
        told: Any = self._json("GET", "/api/version")
        if not isinstance(told, dict) or "ray_version" not in told:
            raise UserError(f"{self.address} is no dashboard of Ray; its port is usually 8265")
        self._json("GET", "/api/jobs/")
        return str(told["ray_version"])

    def submit(self, submission: Mapping[str, Any]) -> None:
        """Start a job.

        Args:
            submission: `entrypoint`, `submission_id`, `runtime_env`, `metadata`.

        Raises:
            UserError: there is a job of that id.
            LaunchError: it is refused.
        """
        submission_id = str(submission["submission_id"])
        try:
            self._json("POST", "/api/jobs/", submission)
        except LaunchError as error:
            if "already exists" in str(error):
                raise UserError(
                    f"run {submission_id} was submitted to {self.address} before; choose another "
                    f"name, or look at it: distml logs {submission_id}"
                ) from None
            raise
        except UserError:
            # The reply may be lost and the job there: asked by its own name, it cannot run twice.
            if self.info(submission_id) is None:
                raise

    def info(self, submission_id: str) -> dict[str, Any] | None:
        """What is known of a job: `status`, `message`, `driver_exit_code`; `None` if nothing.

        Raises:
            UserError: nothing answers.
            LaunchError: it is refused.
        """
        found: dict[str, Any] | None = self._json("GET", _job(submission_id), none_on=404)
        return found

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that the cluster knows.

        Raises:
            UserError: nothing answers.
        """
        listed: list[dict[str, Any]] = self._json("GET", "/api/jobs/")
        return listed

    def stop(self, submission_id: str) -> None:
        """Ask a job to end; returns at once.

        Raises:
            UserError: nothing answers.
        """
        self._json("POST", f"{_job(submission_id)}/stop", none_on=404)

    def delete(self, submission_id: str) -> None:
        """Forget a job that has ended.

        Raises:
            LaunchError: it has not.
        """
        self._json("DELETE", _job(submission_id), none_on=404)

    def output(self, submission_id: str) -> str:
        """What a job's entrypoint has printed.

        Raises:
            UserError: nothing answers.
        """
        told: Any = self._json("GET", f"{_job(submission_id)}/logs", none_on=404)
        return "" if told is None else str(told.get("logs", ""))

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes as Ray's state API gives them, dead ones included.

        Raises:
            UserError: nothing answers.
        """
        told: Any = self._json("GET", "/api/v0/nodes?detail=1&limit=10000")
        result: list[dict[str, Any]] = told["data"]["result"]["result"]
        return result

    def may_grow(self) -> bool:
        """Whether an autoscaler adds nodes; Ray names its types, and without one each node itself.

        Raises:
            UserError: nothing answers.
        """
        told: Any = self._json("GET", "/api/cluster_status")
        status = told["data"]["clusterStatus"] or {}
        active = (status.get("autoscalerReport") or {}).get("activeNodes") or {}
        return any(_NODE_ITSELF.fullmatch(name) is None for name in active)

    def upload(self, name: str, package: bytes) -> str:
        """Hand over a package, unless it is there.

        Args:
            name: What determines its content.
            package: A zip file.

        Returns:
            The URI by which a runtime environment names it.

        Raises:
            UserError: nothing answers.
            LaunchError: it is refused.
        """
        path = f"/api/packages/gcs/_ray_pkg_{name}.zip"
        if self._request("GET", path, none_on=404) is None:
            self._request("PUT", path, body=package, timeout_s=_UPLOAD_TIMEOUT_S)
        return f"gcs://_ray_pkg_{name}.zip"

    def _json(
        self, method: str, path: str, value: object = None, *, none_on: int | None = None
    ) -> Any:
        body = None if value is None else json.dumps(value).encode()
        reply = self._request(method, path, body=body, none_on=none_on)
        try:
            return None if reply is None else json.loads(reply)
        except ValueError:
            raise UserError(
                f"{self.address} is no dashboard of Ray; its port is usually 8265"
            ) from None

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        none_on: int | None = None,
        timeout_s: float | None = None,
    ) -> bytes | None:
        request = urllib.request.Request(self.address + path, body, method=method)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token:
            # Wherever a redirect may lead, the token does not go there.
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            usual_s = _TIMEOUT_S if self._has_answered else _FIRST_TIMEOUT_S
            with _OPENER.open(request, timeout=timeout_s or usual_s) as reply:
                content: bytes = reply.read()
                self._has_answered = True
                return content
        except urllib.error.HTTPError as error:
            said = _said(error)
            if error.code == 401 and self._token is None:
                self._token = find_token(self._token_file)
                if self._token:
                    return self._request(
                        method, path, body=body, none_on=none_on, timeout_s=timeout_s
                    )
            if error.code == none_on:
                return None
            raise self._refusal(error.code, said) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{self.address} does not answer ({reason}); is it the address of Ray's dashboard, "
                "and does its network let you in?"
            ) from None

    def _refusal(self, code: int, said: str) -> UserError | LaunchError:
        if code == 401:
            return UserError(
                f"{self.address} wants a token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or put "
                "it into ~/.ray/auth_token"
            )
        if code == 403:
            return UserError(
                f"{self.address} refuses the token: it is another cluster's; set RAY_AUTH_TOKEN or "
                "RAY_AUTH_TOKEN_PATH to the one it was started with"
            )
        return LaunchError(f"{self.address} refuses: {said or f'HTTP {code}'}")


def find_token(token_file: str | Path | None = None) -> str | None:
    """The token of a cluster, from where Ray's own client takes it.

    Args:
        token_file: Where it is instead, if anywhere.

    Returns:
        The token; `None` if there is none.
    """
    if token_file is None and (token := os.environ.get("RAY_AUTH_TOKEN")):
        return token.strip()
    named = token_file or os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or None
    return None


def _job(submission_id: str) -> str:
    return f"/api/jobs/{urllib.parse.quote(submission_id, safe='')}"


def _said(error: urllib.error.HTTPError) -> str:
    """The words of an error page in one line; of a traceback, which Ray sends, the error."""
    with contextlib.suppress(OSError, HTTPException):
        lines = error.read().decode(errors="replace").strip().splitlines()
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
        return " ".join((errors or lines)[-1:])
    return ""


# A proxy of the environment would see the token, and is not asked for a cluster's address.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
