"""Which process predicts which shard: this one, one after another, or Ray's workers.

The one decision: a shard is a Ray task of one CPU, and only as many are handed out as can run, so
that a thousand shards wait here and not in Ray. A worker that dies, most often for want of memory,
has its shard predicted again by another, twice at the most; what it had finished stays.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from distml import session
from distml.errors import DistmlError
from distml.predict.shard import Predicted, Work, attempt_shard, predict_shard

__all__ = ["predict_shards"]

_RETRIES = 2


def predict_shards(
    work: Work, indices: Sequence[int], started: Callable[[int], None]
) -> Iterator[Predicted]:
    """Predict shards.

    Args:
        work: model, rows, folder.
        indices: which shards.
        started: is told of each when it begins.

    Yields:
        Each shard that is done, in the order in which they end.

    Raises:
        DistmlError: a shard cannot be predicted; the files of others stay.
    """
    if not indices:
        return
    if not session.is_inline():
        yield from _over_ray(work, indices, started)
        return
    for index in indices:
        started(index)
        yield predict_shard(work, index)


def _over_ray(
    work: Work, indices: Sequence[int], started: Callable[[int], None]
) -> Iterator[Predicted]:
    session.connect()
    import ray

    remote = ray.remote(attempt_shard).options(num_cpus=1, max_retries=_RETRIES)
    shared, waiting = ray.put(work), deque(indices)
    running: dict[Any, int] = {}
    most = _num_cpus(ray)
    try:
        while waiting or running:
            while waiting and len(running) < most:
                index = waiting.popleft()
                started(index)
                running[remote.remote(shared, index)] = index
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            yield _opened(ray, done, work.data.shards[running.pop(done)].path)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _num_cpus(ray: Any) -> int:
    limit = session.limits().num_cpus or math.inf
    return max(1, int(min(ray.cluster_resources().get("CPU", 1), limit)))


def _opened(ray: Any, reference: Any, path: str) -> Predicted:
    """What a worker gave back.

    Raises:
        DistmlError: it could not predict, or died again and again.
    """
    try:
        outcome: Predicted | DistmlError = ray.get(reference)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[0]
        raise DistmlError(
            f"{path}: the worker that predicted it died ({said}); fewer CPUs leave more memory "
            "for each"
        ) from error
    if isinstance(outcome, DistmlError):
        raise outcome
    return outcome
