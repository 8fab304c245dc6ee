"""What workers of a training tell their driver, and what it asks of them, by way of one Ray actor.

The one decision: a worker never waits for it. It sends and goes on; whether it shall stop it learns
from the answer to something it sent before.
"""

import time
from typing import Any

from distml.train.lean import train_functions

__all__ = ["Mailbox", "MailboxChannel"]

_HEAR_EVERY_S = 0.5


class Mailbox:
    """The actor. Its methods are called by one at a time."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, str, dict[str, Any]]] = []
        self._stop = False

    def post(self, rank: int, messages: list[tuple[str, dict[str, Any]]]) -> bool:
        """Leave messages of a worker; whether it shall stop."""
        self._messages += [(rank, kind, fields) for kind, fields in messages]
        return self._stop

    def drain(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Take what has come: rank, kind, fields."""
        messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        """Ask all workers to stop."""
        self._stop = True

    def reset(self) -> None:
        """Ask nobody any more."""
        self._stop = False


class MailboxChannel:
    """A worker's channel to its driver.

    Args:
        mailbox: handle of the actor.
        rank: number of the worker.
    """

    def __init__(self, mailbox: Any, rank: int) -> None:
        self._mailbox, self._rank = mailbox, rank
        self._answer: Any = None
        self._heard_at = 0.0
        self._stop = False

    def emit(self, kind: str, **fields: Any) -> None:
        """Say what happened."""
        self._answer = self._mailbox.post.remote(self._rank, [(kind, fields)])

    def must_stop(self) -> bool:
        """Whether the driver had asked it to when it last answered."""
        import ray

        now = time.monotonic()
        if self._answer is not None:
            done, _ = ray.wait([self._answer], timeout=0)
            if done:
                self._answer, self._heard_at = None, now
                self._stop = bool(ray.get(done[0]))
        # All look together and stop if one has heard that they shall.
        elif self._rank == 0 and now - self._heard_at > _HEAR_EVERY_S:
            self._answer = self._mailbox.post.remote(self._rank, [])
        return self._stop

    def must_save(self) -> bool:
        """Whether a node of this training will be taken away. All workers ask together."""
        return train_functions().get_preemption_info() is not None
