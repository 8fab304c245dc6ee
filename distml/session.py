"""The Ray this process uses: started or joined in one place, or not at all.

Whoever needs Ray calls `connect()` just before the first remote call, so a job that fits one model
never starts it. Two places have no Ray to start: the debug launcher, which wants every fit in its
own process (`with inline():`), and a Ray worker, where asking for further workers could wait for
ever on CPUs that its own caller holds.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distml.errors import DistmlError, UserError

__all__ = [
    "MAY_START",
    "Limits",
    "connect",
    "disconnect",
    "heard",
    "inline",
    "is_in_process",
    "is_inline",
    "is_joined",
    "limited",
    "limits",
    "nodes",
    "resources",
]

MAY_START = "DISTML_MAY_START"
"""Environment variable of drivers on a cluster that grows: the workers it may start, as JSON."""

# Ray reads these when it is imported. A token is asked for because Ray's ports listen on all
# interfaces.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers do the user's work: at Ray's 15 they would yield to anything else on the machine.
    "RAY_worker_niceness": "0",
}
_inline: ContextVar[bool] = ContextVar("inline", default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What may be used of Ray at one time. `None` means all there is."""

    num_cpus: int | None = None
    """CPUs over all nodes."""
    memory_bytes: int | None = None
    """Memory over all nodes."""


_limits: ContextVar[Limits | None] = ContextVar("limits", default=None)
_listener: ContextVar[Callable[[Mapping[str, Any]], None] | None] = ContextVar(
    "listener", default=None
)
_LISTENER = "distml"
_TOO_SLOW = "timed out during startup"
_LOG = logging.getLogger(__name__)
_connecting: list[float] = []


def connect(num_cpus: int | None = None) -> None:
    """Join the Ray of `RAY_ADDRESS`, or start one on this machine; does nothing where there is one.

    Args:
        num_cpus: Logical CPUs of a Ray started here. `None`: what `limited` allows, else all of
            the machine.

    Raises:
        UserError: `RAY_ADDRESS` names no Ray that answers.
    """
    begun = time.perf_counter()
    address = os.environ.get("RAY_ADDRESS", "local")
    imported_before = "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ
    for name, value in _ENVIRONMENT.items():
        # One that is joined may want no token; where there is one, it is meant to be used.
        if name != "RAY_AUTH_MODE" or address == "local" or _has_token():
            os.environ.setdefault(name, value)
    import ray

    if imported_before and not ray.is_initialized():
        # A job that uses ray.tune imports Ray first; Ray has to read what it asks for again.
        from ray._raylet import Config  # type: ignore[attr-defined]

        Config.initialize("")
    if ray.is_initialized():
        return
    num_cpus = num_cpus or limits().num_cpus
    # The dashboard costs two seconds and 200 MB, and a run's own record shows more of it.
    options: dict[str, Any] = (
        {"num_cpus": num_cpus, "include_dashboard": False} if address == "local" else {}
    )
    if folder := os.environ.get("DISTML_WORKING_DIR"):
        options["runtime_env"] = {"working_dir": folder}
    listener = _listener.get()
    options |= {"log_to_driver": listener is not None, "logging_level": logging.ERROR}
    try:
        with _own_sigterm():
            _begin(lambda: ray.init(address=address, **options))
    except ConnectionError as error:
        raise UserError(
            f"RAY_ADDRESS={address}: no Ray answers there; start one or unset it ({error})"
        ) from error
    if listener is not None:
        _listen(listener)
    _connecting.append(time.perf_counter() - begun)


def connecting_s() -> float:
    """Seconds that this process has waited in `connect` for Ray to be there."""
    return sum(_connecting)


def disconnect() -> None:
    """Leave Ray, and stop it if it was started here."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
        _listen(None)


def nodes() -> list[dict[str, float]]:
    """The resources of each node that Ray has, and of those that it may yet start.

    A cluster that grows has few nodes when a run begins: whoever asked for no more than those can
    do would never make it grow.
    """
    import ray

    seen: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive: list[dict[str, float]] = [node["Resources"] for node in seen if node["Alive"]]
    workers = sum("node:__internal_head__" not in node for node in alive)
    least = min((node.get("memory", 0.0) for node in alive), default=0.0)
    told: list[dict[str, float]] = json.loads(os.environ.get(MAY_START, "[]"))
    return [*alive, *({"memory": least, **node} for node in told[workers:])]


def resources() -> dict[str, float]:
    """The same of all nodes together."""
    total = Counter[str]()
    for node in nodes():
        total.update(node)
    return dict(total)


@contextmanager
def inline() -> Iterator[None]:
    """Fit in this process, one after another: breakpoints work and nothing is started."""
    token = _inline.set(True)
    try:
        yield
    finally:
        _inline.reset(token)


def is_inline() -> bool:
    """Whether fits run in this process: inside `inline()`, or in a Ray worker."""
    return _inline.get() or _is_worker()


def is_in_process() -> bool:
    """Whether nothing may be started: inside `inline()`."""
    return _inline.get()


def is_joined() -> bool:
    """Whether there is a Ray already, or one to join: this process need not do all by itself."""
    ray = sys.modules.get("ray")
    return "RAY_ADDRESS" in os.environ or (ray is not None and bool(ray.is_initialized()))


@contextmanager
def heard(listener: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """Give what workers print to a listener, if Ray is started or joined while the block runs.

    Args:
        listener: Is called from another thread with `lines`, `pid`, `ip`, `task_name`.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def limited(*, num_cpus: int | None = None, memory_bytes: int | None = None) -> Iterator[None]:
    """Use no more than this of Ray, its own or one that is joined, while the block runs."""
    token = _limits.set(Limits(num_cpus=num_cpus, memory_bytes=memory_bytes))
    try:
        yield
    finally:
        _limits.reset(token)


def limits() -> Limits:
    """What the innermost `limited` block allows."""
    return _limits.get() or Limits()


def _begin(init: Callable[[], Any]) -> None:
    """Start Ray, a second time if it gave up on its own agent.

    Its raylet allows the agent 15 s to load, which on a busy machine it does not always do
    (ray-project/ray#65983); the second time its files are in memory. What the first start has left
    behind ends with this process.
    """
    for is_last in (False, True):
        try:
            init()
            return
        except Exception as error:
            if _TOO_SLOW not in str(error):
                raise
            if is_last:
                raise DistmlError(
                    "Ray did not start, twice: this machine is too busy; run again when less runs"
                ) from error
            _LOG.warning("Ray was too slow to start and is started again: %s", error)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Put back the handler of SIGTERM that Ray replaces.

    Ray's, which is written in C, also sets an alarm that aborts the process three seconds later:
    too soon for a driver that has yet to write down how its run ended.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _listen(listener: Callable[[Mapping[str, Any]], None] | None) -> None:
    """Put a listener in the place of Ray's own, which prints in colours; `None`: nobody's."""
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as words

    for name in ("ray_print_logs", _LISTENER):
        words.remove_handler(name)
    if listener is not None:
        words.add_handler(_LISTENER, listener)


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named or Path.home() / ".ray" / "auth_token").is_file()


def _is_worker() -> bool:
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray.get_runtime_context().worker.mode == ray.WORKER_MODE)
