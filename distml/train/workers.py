"""A training on several workers, by Ray Train.

The one decision: one call is one attempt. Ray Train starts the workers, places them and tells when
one is lost; what is to be done about it is decided by `recovery`, because only there it is known
whether a user's mistake, a lost node or too little memory ended it. Checkpoints go to the run's own
storage, not through `ray.train.report`, which waits for its controller at each call.
"""

import importlib
import logging
import os
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distml import session
from distml.errors import DistmlError
from distml.runs.events import emit
from distml.signals import Held, held
from distml.train.batch import Part
from distml.train.context import StoppedError, Train
from distml.train.lean import lean_trainer
from distml.train.mailbox import Mailbox
from distml.train.setup import Setup
from distml.train.worker import Order, run_worker

__all__ = ["NodeTakenError", "WorkersLostError", "misses_a_peer", "run_on_workers"]

_ENVIRONMENT = {
    # Two seconds by default, which every start and end waits for.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # It would set up logging anew for all of this process.
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    # What a worker prints would come twice: as it is, and logged.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_LOOK_EVERY_S = 0.1
"""Whether it is over, or a signal has come: no other process is asked."""
_LISTEN_EVERY_S = 0.5
"""What workers told: each time takes a millisecond of CPUs that they may be using themselves."""
_RESIZE_EVERY_S = 5.0


class WorkersLostError(DistmlError):
    """Workers died, or the node they were on."""


class NodeTakenError(WorkersLostError):
    """A node was taken away with notice, as clouds do with their cheaper machines."""


def run_on_workers(
    body: Callable[[Train, Any], Any], work: Any, setup: Setup, parts: Mapping[str, Part]
) -> Any:
    """Run a training loop on workers of their own, once.

    Args:
        body: the loop: `body(train, work)`.
        work: what it is given.
        setup: how it is carried out.
        parts: rows by name; put into the object store once.

    Returns:
        What the loop of worker 0 returns.

    Raises:
        UserError: this Ray has not what the workers need.
        WorkersLostError: some died on the way.
        KeyboardInterrupt: a signal came; there is a checkpoint if they are kept.
        Exception: what the loop raised in a worker.
        BaseException: what whoever is told of the training raised to end it.
    """
    session.connect()
    ray: Any = importlib.import_module("ray")
    setup.workers.check_within(session.resources())
    # Beside the driver: any other node may go away while training goes on.
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    mailbox = ray.remote(num_cpus=0, label_selector=here)(Mailbox).remote()
    order = Order(body=body, work=work, setup=setup, parts=ray.put(dict(parts)), mailbox=mailbox)
    attempt = _Attempt(order)
    with _environment(), _without_warnings(), held() as signals:
        try:
            return attempt.run(signals)
        finally:
            ray.kill(mailbox)


class _Attempt:
    """One fit of Ray Train, in a thread, while this one listens to the workers."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._result: Any = None
        self._error: BaseException | None = None
        self._told: Exception | None = None
        self._enough: BaseException | None = None
        """Why whoever is told of the training wants no more of it."""

    def run(self, signals: Held) -> Any:
        thread = threading.Thread(target=self._fit, name="distml-train", daemon=True)
        thread.start()
        asked = False
        listened_at = time.monotonic()
        while thread.is_alive():
            thread.join(_LOOK_EVERY_S)
            if time.monotonic() - listened_at >= _LISTEN_EVERY_S:
                self._listen()
                listened_at = time.monotonic()
            if (signals.has_come or self._enough is not None) and not asked:
                asked = True
                self._order.mailbox.stop.remote()
        self._listen()
        if self._enough is not None:
            raise self._enough
        if self._told is not None:
            if isinstance(self._told, StoppedError):
                raise KeyboardInterrupt(str(self._told)) from self._told
            raise self._told
        if self._error is not None:
            raise _lost(self._error) from self._error
        return self._result

    def _listen(self) -> None:
        import ray

        for rank, kind, fields in ray.get(self._order.mailbox.drain.remote()):
            if kind == "error":
                # The first to fail knows why; the others miss it.
                error = fields["error"]
                if self._told is None and not misses_a_peer(error):
                    self._told = error
            elif self._enough is None:
                self._tell(kind, **({"rank": rank} if rank else {}), **fields)

    def _tell(self, kind: str, **fields: Any) -> None:
        """Report an event; where that raises, the workers end first and leave their CPUs free."""
        try:
            emit(kind, **fields)
        except BaseException as error:
            self._enough = error

    def _fit(self) -> None:
        try:
            self._result = _trainer(self._order).fit().return_value
        except BaseException as error:
            self._error = error


def _trainer(order: Order) -> Any:

    workers = order.setup.workers
    resources = {"CPU": float(workers.cpus_per_worker or 1)}
    if workers.gpus_per_worker:
        resources["GPU"] = float(workers.gpus_per_worker)
    # The types of Ray are those of its former version.
    ray_train: Any = importlib.import_module("ray.train")
    return lean_trainer(order.mailbox)(
        run_worker,
        train_loop_config={"order": order},
        scaling_config=ray_train.ScalingConfig(
            num_workers=workers.num_workers,
            use_gpu=bool(workers.gpus_per_worker),
            resources_per_worker=resources,
            elastic_resize_monitor_interval_s=_RESIZE_EVERY_S,
        ),
        run_config=ray_train.RunConfig(
            # The same name would take up what another run has left there.
            name=f"distml-{uuid.uuid4().hex[:12]}",
            storage_path=str(Path(tempfile.gettempdir(), "distml-ray-train")),
            failure_config=ray_train.FailureConfig(max_failures=0, max_preemption_failures=0),
        ),
    )


def misses_a_peer(error: Exception) -> bool:
    """Whether it says only that another worker is not there any more."""
    text = str(error)
    signs = ("onnection closed by peer", "onnection reset", "Broken pipe", "NCCL", "timed out")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def _lost(error: BaseException) -> DistmlError:
    from ray.train.v2.api.exceptions import PreemptionError

    said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    if isinstance(error, PreemptionError):
        return NodeTakenError(f"a node was taken away: {said}")
    return WorkersLostError(f"workers were lost: {said}")


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Do not pass on what Ray warns of in itself, nor each of its steps."""
    logger = logging.getLogger("ray.train")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _environment() -> Iterator[None]:
    added = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
