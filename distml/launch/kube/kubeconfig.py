"""Which Kubernetes cluster is meant, and who we are there: what the user's kubeconfig says.

One decision: reading it, running its login commands and checking certificates is left to the
official client; this says in one line what is wrong with it.
"""

import difflib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from distml.errors import UserError

__all__ = ["KubeContext", "find_context", "library", "log_in"]


@dataclass(frozen=True, kw_only=True, slots=True)
class KubeContext:
    """Which cluster, as whom, and where in it."""

    name: str
    """A context of the kubeconfig."""
    namespace: str
    """Where the job's pods are."""

    def __str__(self) -> str:
        return f"{self.name}/{self.namespace}"


def find_context(target: str | None) -> KubeContext:
    """Which cluster and namespace are meant.

    Args:
        target: `CONTEXT`, `CONTEXT/NAMESPACE`, `/NAMESPACE` of the current context, or `None` for
            the current context and its namespace. A context's name may have slashes in it.

    Raises:
        UserError: there is no kubeconfig, or no such context in it.
    """
    known, current = _contexts()
    name, namespace = target or "", ""
    if name not in known and "/" in name:
        name, _, namespace = name.rpartition("/")
    name = name or current
    if not name:
        raise UserError(
            f"which Kubernetes cluster? {_path()} has no current context; say "
            f"--on kubernetes:CONTEXT: there are {', '.join(known)}"
        )
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(
            f"unknown Kubernetes context {name!r}: {hint}{_path()} has {', '.join(known) or 'none'}"
        )
    return KubeContext(name=name, namespace=namespace or known[name] or "default")


def _contexts() -> tuple[dict[str, str | None], str]:
    """Context → its namespace, and the current context."""
    merger = library("kubernetes.config.kube_config").KubeConfigMerger
    try:
        merged = merger(_path()).config
        value = {} if merged is None else _plain(merged)
        contexts = value.get("contexts") or []
        known = {c["name"]: (c.get("context") or {}).get("namespace") for c in contexts}
    except Exception as error:  # the client's own, YAML's, or that of a missing key
        raise UserError(f"{_path()} is no kubeconfig: {_one_line(error)}") from error
    if not known:
        raise UserError(
            f"no Kubernetes cluster is known here: {_path()} has no contexts; your provider's "
            "tool writes them, or set KUBECONFIG to a file that has"
        )
    return known, value.get("current-context") or ""


def _plain(node: Any) -> Any:
    """What the client's `ConfigNode` holds, which remembers of which file each part is."""
    value = getattr(node, "value", node)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _path() -> str:
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def library(module: str) -> Any:
    """A module of the Kubernetes client, which is loaded by those who need it.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise UserError(
            "--on kubernetes needs the Kubernetes client: pip install 'distml[kubernetes]'"
        ) from None


def log_in(context: str) -> Any:
    """The client's `ApiClient`, which asks each thing once.

    Raises:
        UserError: the kubeconfig is wrong, or its login command fails.
    """
    client, config = library("kubernetes.client"), library("kubernetes.config")
    settings = client.Configuration()
    settings.retries = False
    try:
        with _reported() as said:
            made = config.new_client_from_config(
                config_file=_path(), context=context, client_configuration=settings
            )
    except Exception as error:  # the client's own, YAML's, or that of a login command
        raise UserError(f"context {context} of {_path()}: {_one_line(error)}") from error
    # The client goes on as nobody when a login command fails, and says so in its log alone.
    if said and not (settings.api_key or settings.cert_file):
        raise UserError(f"context {context}: the login of {_path()} fails: {said[-1]}")
    return made


@contextmanager
def _reported() -> Iterator[list[str]]:
    """What is logged as an error meanwhile, by whoever knows no better than the root logger."""
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(_one_line(record.getMessage()))  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield said
    finally:
        root.removeHandler(handler)


def _one_line(words: object) -> str:
    return " ".join(str(words).split())[:300]
