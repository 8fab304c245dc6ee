"""RayJobs of one namespace, through the Kubernetes API.

One decision: few rights are asked for: create, get and delete on `rayjobs`; and, only to say why a
job waits, list on `events`. Each request is made once and waits five seconds; what is refused comes
out as one line that says what to do.
"""

import json
from collections.abc import Mapping
from typing import Any

from distml.errors import LaunchError, UserError
from distml.launch.kube.kubeconfig import KubeContext, library, log_in

__all__ = ["RUN", "KubeApi"]

RUN = "distml/run"
"""Annotation of a RayJob with the name of its run."""

_TIMEOUT_S = 5.0
_RAYJOBS = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
_EVENTS = {"group": "events.k8s.io", "version": "v1", "plural": "events"}


class KubeApi:
    """The API server of one context. May be used by one thread at a time."""

    def __init__(self, context: KubeContext) -> None:
        """Log in, if the kubeconfig says how.

        Raises:
            UserError: the Kubernetes client is not installed, or the login fails.
        """
        self.context = context
        """Which cluster, and where in it."""
        self._api: Any = library("kubernetes.client").CustomObjectsApi(log_in(context.name))

    def create(self, rayjob: Mapping[str, Any], *, dry_run: bool = False) -> None:
        """Hand over a RayJob.

        Args:
            rayjob: The manifest. A field that this cluster's KubeRay does not know is refused, so
                that nothing is left out silently.
            dry_run: Only ask whether it would be taken.

        Raises:
            UserError: it is not taken: no rights, no KubeRay, no such namespace, or there is one
                of that name.
            LaunchError: the server cannot.
        """
        options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        try:
            self._ask("create", _RAYJOBS, body=dict(rayjob), field_validation="Strict", **options)
        except _NoAnswerError:
            # The reply may be lost and the job there: asked by its own name, it cannot run twice.
            there = None if dry_run else self.read(rayjob["metadata"]["name"])
            if there is None or not _same(there, rayjob):
                raise
        except _ExistsError:
            run_id = rayjob["metadata"].get("annotations", {}).get(RUN, "?")
            raise UserError(
                f"run {run_id} was submitted to {self.context} before; choose another name, or "
                f"look at it: distml logs {run_id}"
            ) from None

    def read(self, name: str) -> dict[str, Any] | None:
        """A RayJob as it stands, `None` if there is none.

        Raises:
            UserError: nothing answers, or we may not.
        """
        found: dict[str, Any] | None = self._ask("get", _RAYJOBS, none_on=404, name=name)
        return found

    def read_all(self) -> list[dict[str, Any]]:
        """All RayJobs of the namespace.

        Raises:
            UserError: nothing answers, or we may not.
        """
        listed: dict[str, Any] = self._ask("list", _RAYJOBS)
        return [*listed["items"]]

    def delete(self, name: str) -> None:
        """Ask for a RayJob's end, with its pods; what is gone already is no error.

        Until the pods are gone, the RayJob itself stays and can be read.

        Raises:
            UserError: nothing answers, or we may not.
        """
        self._ask("delete", _RAYJOBS, none_on=404, name=name, propagation_policy="Foreground")

    def warnings(self, *names: str) -> list[str]:
        """What Kubernetes warns of about objects whose name begins with one of these.

        Returns:
            The texts, the latest last; none where we may not read them.
        """
        try:
            listed = self._ask("list", _EVENTS)
        except (UserError, LaunchError):
            return []
        events = [event for event in listed["items"] if event.get("type") == "Warning"]
        about = [e for e in events if e.get("regarding", {}).get("name", "").startswith(names)]
        return [_text_of(event) for event in sorted(about, key=_time_of)]

    def _ask(
        self,
        verb: str,
        kind: Mapping[str, str],
        *,
        none_on: int | None = None,
        **options: Any,
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        call = getattr(self._api, f"{verb}_namespaced_custom_object")
        try:
            return call(
                **kind,
                namespace=self.context.namespace,
                _request_timeout=(_TIMEOUT_S, _TIMEOUT_S),
                **options,
            )
        except ApiException as error:
            if error.status == none_on and _is_of_object(error):
                return None
            raise self._refusal(verb, error) from None
        except (HTTPError, OSError) as error:
            host = self._api.api_client.configuration.host
            raise _NoAnswerError(
                f"the Kubernetes API server {host} of context {self.context.name} does not answer "
                f"({_cause(error)}); is the cluster up, and does its network let you in?"
            ) from None

    def _refusal(self, verb: str, error: Any) -> UserError | LaunchError:
        said, name, namespace = _said(error), self.context.name, self.context.namespace
        if not error.status:  # the client's way of saying that TLS fails
            return UserError(
                f"the Kubernetes API server of context {name} does not prove to be it ({said}); "
                "the kubeconfig's certificate-authority is that of another"
            )
        if error.status == 401:
            return UserError(
                f"context {name}: Kubernetes does not know you; log in again, so that "
                f"kubectl --context {name} get rayjobs works"
            )
        if error.status == 403:
            return UserError(
                f"context {name}: Kubernetes does not let you {verb} RayJobs in {namespace}; "
                f"distml needs create, get and delete on rayjobs.ray.io there ({said})"
            )
        if error.status == 404 and _details(error).get("kind") == "namespaces":
            return UserError(
                f"context {name} has no namespace {namespace!r}; say "
                f"--on kubernetes:{name}/NAMESPACE, or make it: kubectl create namespace"
            )
        if error.status == 404:
            return UserError(
                f"context {name} has no RayJobs: KubeRay is not installed there; "
                "cluster/README.md says how"
            )
        if error.status == 409 and _details(error).get("kind") == "rayjobs":
            return _ExistsError(f"context {name}: {said}")
        if error.status in (400, 422):
            return UserError(f"context {name}: Kubernetes does not take the RayJob: {said}")
        return LaunchError(f"context {name}: Kubernetes refuses: {said or f'HTTP {error.status}'}")


class _ExistsError(UserError):
    """There is one of that name."""


class _NoAnswerError(UserError):
    """Whether the server has done what was asked is not known."""


def _same(there: Mapping[str, Any], rayjob: Mapping[str, Any]) -> bool:
    """Whether what is there is what was sent; KubeRay adds annotations of its own."""
    ours = rayjob["metadata"].get("annotations", {})
    theirs = there["metadata"].get("annotations") or {}
    return bool(ours) and ours.items() <= theirs.items()


def _details(error: Any) -> dict[str, Any]:
    try:
        return json.loads(error.body).get("details") or {}
    except (TypeError, ValueError, AttributeError):
        return {}


def _is_of_object(error: Any) -> bool:
    """Whether an object is not there, rather than all objects of its kind."""
    return _details(error).get("kind") == "rayjobs"


def _said(error: Any) -> str:
    try:
        return _one_line(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return _one_line(error.reason or "")


def _text_of(event: Mapping[str, Any]) -> str:
    about = event["regarding"].get("name", "")
    return f"{about}: {event.get('reason', '')}: {_one_line(event.get('note') or '')}"


def _time_of(event: Mapping[str, Any]) -> str:
    # RFC 3339 in UTC, so that texts sort as times do.
    series = (event.get("series") or {}).get("lastObservedTime")
    written = event.get("metadata", {}).get("creationTimestamp")
    return str(series or event.get("deprecatedLastTimestamp") or event.get("eventTime") or written)


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    text = _one_line(reason)
    # urllib3 puts the object before its words: `<... at 0x7f...>: words`.
    return text.rpartition(">: ")[2].rpartition("): ")[2] or text


def _one_line(words: object) -> str:
    return " ".join(str(words).split())[:300]
