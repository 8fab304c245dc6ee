"""What networks say while they learn in units of Ray, on its way from their workers to the driver.

The one decision: nobody waits for it. A worker sends off what has come together now and then, and
the driver looks for it while it waits for units anyway. When a unit is done, all it said is there;
if the letterbox is lost, so are words, and nothing else.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from sklearn.base import BaseEstimator

from distml.ensemble.worker import Packed, run_unit
from distml.runs.events import active_events, emit, use_events

__all__ = ["Letterbox", "Letters", "Sender", "run_heard", "speaks"]

_KINDS = {"training_started", "workers", "step", "epoch", "training_done", "log"}
"""What is passed on; what an ensemble within a unit plans and fits is the unit's own affair."""
_EVERY_S = 0.5

Letter = tuple[str, dict[str, Any]]
"""Kind and fields of an event."""


class Letterbox:
    """The actor. Its methods are called one at a time."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []

    def post(self, letters: list[Letter]) -> None:
        """Leave letters."""
        self._letters += letters

    def drain(self) -> list[Letter]:
        """Take the letters that have come."""
        letters, self._letters = self._letters, []
        return letters


class Sender:
    """A worker's listener, to be given to `use_events`.

    Args:
        post: sends letters off.
        tag: fields that say whose they are.
    """

    def __init__(self, post: Callable[[list[Letter]], Any], tag: dict[str, Any]) -> None:
        self._post, self._tag = post, tag
        self._letters: list[Letter] = []
        self._sent_at = 0.0

    def __call__(self, kind: str, **fields: Any) -> None:
        """Take an event, and send off those that came together if it is time to."""
        if kind not in _KINDS:
            return
        self._letters.append((kind, {**fields, **self._tag}))
        if time.monotonic() - self._sent_at > _EVERY_S:
            self.send()

    def send(self) -> Any:
        """Send off what has come together; what `post` gives back."""
        letters, self._letters = self._letters, []
        self._sent_at = time.monotonic()
        return self._post(letters)


def speaks(estimator: BaseEstimator) -> bool:
    """Whether an estimator is, or has in it, one that tells of its epochs."""
    return any(name.split("__")[-1] == "epochs" for name in estimator.get_params(deep=True))


def run_heard(letterbox: Any, tag: dict[str, Any], *work: Any) -> Packed:
    """Carry out a unit in a worker, heard by the driver.

    Args:
        letterbox: handle of the actor.
        tag: fields that say whose events they are.
        *work: what `run_unit` is given.

    Returns:
        What `run_unit` gives back; all that was said meanwhile has arrived.
    """
    import ray

    sender = Sender(letterbox.post.remote, tag)
    with use_events(sender):
        packed = run_unit(*work)
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(sender.send())
    return packed


class Letters:
    """The driver's side: the actor is there once there is a unit that speaks, and one who listens.

    Args:
        ray: the module.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._letterbox: Any = None
        self._asked: Any = None

    def letterbox_for(self, estimator: BaseEstimator) -> Any:
        """Where a unit's words go; `None` if there are none, or nobody to hear them."""
        if active_events() is None or not speaks(estimator):
            return None
        if self._letterbox is None:
            self._letterbox = self._ray.remote(num_cpus=0)(Letterbox).remote()
        return self._letterbox

    def poll_s(self) -> float | None:
        """How long to wait before the next look; `None`: for ever, nobody speaks."""
        return None if self._letterbox is None else _EVERY_S

    def pass_on(self, *, wait: bool) -> None:
        """Tell the run what has come.

        Args:
            wait: until it is known what has; by default only what a former look has found.
        """
        for kind, fields in self._come(wait=wait):
            emit(kind, **fields)

    def close(self) -> None:
        """Let go of the actor."""
        if self._letterbox is not None:
            self._ray.kill(self._letterbox)
            self._letterbox = self._asked = None

    def _come(self, *, wait: bool) -> Iterator[Letter]:
        if self._letterbox is None:
            return
        try:
            if self._asked is None or wait:
                earlier, self._asked = self._asked, self._letterbox.drain.remote()
                yield from [] if earlier is None else self._ray.get(earlier)
            if wait or self._ray.wait([self._asked], timeout=0)[0]:
                asked, self._asked = self._asked, None
                yield from self._ray.get(asked)
        except self._ray.exceptions.RayError:
            # Units that are under way send to it in vain; new ones get another.
            self._letterbox = self._asked = None
