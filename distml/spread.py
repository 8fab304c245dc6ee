"""Pieces of work spread over processes: this one, one after another, or Ray's workers.

The one decision: a piece is a Ray task, and only as many are handed out as can run, so that a
thousand pieces wait here and not in Ray. A worker that dies, most often for want of memory, has its
piece done again by another, twice at the most; what it had finished stays. Work that would be over
before Ray has started is done here.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
from threadpoolctl import threadpool_limits

from distml import session
from distml.errors import DistmlError

__all__ = ["BRIEF_S", "Work", "connecting_s", "networks_in", "spread", "workers_of"]

BRIEF_S = 10.0
"""Less than this on one process is over by the time Ray and its workers are there."""

_RETRIES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is done with each piece."""

    do: Callable[[Any, Any, int | None], Any]
    """`do(shared, piece, cpus)`, a function of a module. `cpus` is what it may use; `None`: it runs
    in this process, as it is."""
    shared: Any
    """What all pieces need; it is sent once."""
    name: Callable[[Any], str]
    """What is being done with a piece, for an error: `part-7: predicting`."""
    most_cpus: float = 1
    """CPUs that a piece can use, where there are fewer pieces than CPUs."""


def spread(
    work: Work,
    pieces: Sequence[Any],
    started: Callable[[Any], None],
    *,
    seconds: float | None = math.inf,
) -> Iterator[tuple[Any, Any]]:
    """Do the work.

    Args:
        work: What is done.
        pieces: With what.
        started: Is told of each piece when it begins.
        seconds: What all of it is expected to take one after another; `None`: unknown, so the first
            piece is done here and tells.

    Yields:
        Each piece that is done and what came of it, in the order in which they end.

    Raises:
        DistmlError: a piece failed in a worker; what runs beside it is stopped.
        Exception: what `do` raises in this process.
    """
    left = 0.0 if seconds is None else seconds
    for count, piece in enumerate(pieces):
        if left >= BRIEF_S and not session.is_inline():
            yield from _over_ray(work, pieces[count:], started)
            return
        started(piece)
        begun = time.perf_counter()
        value = work.do(work.shared, piece, None)
        left = (time.perf_counter() - begun) * (len(pieces) - count - 1)
        yield piece, value


def attempt(do: Callable[..., Any], shared: Any, piece: Any, cpus: int, name: str) -> Any:
    """Do a piece in a worker; an error comes back as a value that survives the journey."""
    try:
        with (
            threadpool_limits(cpus),
            joblib.parallel_config(backend="threading", n_jobs=cpus),
        ):
            return do(shared, piece, cpus)
    except DistmlError as error:
        return error
    except Exception as error:
        said = " ".join(str(error).split())
        return DistmlError(f"{name} failed ({type(error).__name__}: {said})")


def connecting_s() -> float:
    """Seconds that this process has waited for Ray to start."""
    return session.connecting_s()


def _over_ray(
    work: Work, pieces: Sequence[Any], started: Callable[[Any], None]
) -> Iterator[tuple[Any, Any]]:
    session.connect()
    import ray

    most, cpus = _room(work, len(pieces))
    remote = ray.remote(attempt).options(num_cpus=cpus, max_retries=_RETRIES)
    shared, waiting = ray.put(work.shared), deque(pieces)
    running: dict[Any, Any] = {}
    try:
        while waiting or running:
            while waiting and len(running) < most:
                piece = waiting.popleft()
                started(piece)
                task = remote.remote(work.do, shared, piece, cpus, work.name(piece))
                running[task] = piece
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            piece = running.pop(done)
            yield piece, _opened(ray, done, work.name(piece))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _room(work: Work, num_pieces: int) -> tuple[int, int]:
    """How many pieces run at once, and the CPUs of each."""
    nodes = [node.get("CPU", 0) for node in session.nodes()]
    num_cpus = max(1, int(min(sum(nodes), session.limits().num_cpus or math.inf)))
    cpus = max(1, int(min(num_cpus // num_pieces, max(nodes), work.most_cpus)))
    return num_cpus // cpus, cpus


def _opened(ray: Any, reference: Any, name: str) -> Any:
    """What a worker gave back.

    Raises:
        DistmlError: it failed, or died again and again.
    """
    try:
        outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[0]
        raise DistmlError(
            f"{name} failed, its worker died ({said}); fewer CPUs leave more memory for each"
        ) from error
    if isinstance(outcome, DistmlError):
        raise outcome
    return outcome


def networks_in(params: Mapping[str, Any]) -> Iterator[tuple[int, int, float, bool]]:
    """The networks in an estimator's parameters.

    Args:
        params: see `workers_of`.

    Yields:
        Of each the workers it needs at least, CPUs and GPUs of a worker, whether it has several.
    """
    for name, value in params.items():
        if name.split("__")[-1] == "num_workers" and isinstance(value, int | tuple):
            least, most = value if isinstance(value, tuple) else (value, value)
            prefix = name.removesuffix("num_workers")
            cpus = params.get(f"{prefix}cpus_per_worker") or 1
            gpus = params.get(f"{prefix}gpus_per_worker") or 0
            yield max(1, least), cpus, gpus, most > 1


def workers_of(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a fit needs beside the one CPU that others need.

    Args:
        params: Of the estimator, with those of estimators in it: `get_params()`.

    Returns:
        `num_workers` (the least that will do), `cpus_per_worker` and `gpus_per_worker` of the
        widest network in it; `None` where none has several workers or asks for a GPU.
    """
    found = [
        (num, cpus, gpus) for num, cpus, gpus, several in networks_in(params) if several or gpus
    ]
    if not found:
        return None
    num, cpus, gpus = max(found, key=lambda each: (each[0] * each[2], each[0] * each[1]))
    return {"num_workers": num, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
