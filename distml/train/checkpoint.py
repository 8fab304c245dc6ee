"""Where the checkpoints of one training are kept, and the thread that writes them.

The one decision: a checkpoint is one file named by its step, put in one go like every file of a
run, so that there is no half of one to resume from, on any storage. Each knows the best step so
far; the last few and the best are kept. While one is written, training goes on.
"""

import copy
import re
import threading
from collections.abc import Callable
from typing import Any

from distml.errors import DataError
from distml.runs.storage import absolute_uri, join_uri, open_storage
from distml.train.state import pack, to_cpu, unpack

__all__ = ["Checkpoints", "Writer"]

_NAME = re.compile(r"step-(\d{12})\.safetensors")


class Checkpoints:
    """The checkpoints of one training under one URI. Picklable; holds nothing but its address.

    Args:
        uri: a folder of their own, local or on any storage that runs can be kept on.
        keep: how many of the last ones to keep, beside the best.
    """

    def __init__(self, uri: str, *, keep: int = 2) -> None:
        self.uri, self.keep = absolute_uri(uri), keep
        self._storage = open_storage(self.uri)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self.uri, self.keep))

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, ascending."""
        found = (_NAME.fullmatch(entry.name) for entry in self._storage.list())
        return sorted(int(match[1]) for match in found if match)

    @staticmethod
    def file_name(step: int) -> str:
        """Name of the file that the checkpoint of a step is."""
        return _name(step)

    def path(self, step: int) -> str:
        """Where the checkpoint of a step is: the storage's URI and the file's name."""
        return join_uri(self.uri, _name(step))

    def write(self, step: int, state: Any, facts: dict[str, Any]) -> None:
        """Put a checkpoint in its place and drop those no longer wanted.

        Args:
            step: optimizer steps that were done.
            state: see `pack`.
            facts: see `pack`; `facts["best_step"]` names the one to keep beside the last.

        Raises:
            StorageError: the storage is full or refuses.
        """
        self._storage.write(_name(step), pack(state, {**facts, "step": step}))
        last = [*(other for other in self.steps() if other <= step)][-self.keep :]
        for other in self.steps():
            if other < step and other not in (*last, facts.get("best_step")):
                self._storage.delete(_name(other))

    def read(self, step: int) -> tuple[Any, dict[str, Any]]:
        """State and facts of one checkpoint.

        Raises:
            DataError: it is damaged or not there.
        """
        try:
            return unpack(self._storage.read(_name(step)))
        except FileNotFoundError as error:
            raise DataError(f"{self.path(step)}: no such checkpoint") from error
        except DataError as error:
            raise DataError(f"{self.path(step)}: {error}") from error

    def latest(self) -> tuple[Any, dict[str, Any]] | None:
        """State and facts of the last checkpoint that can be read; `None` if there is none."""
        for step in reversed(self.steps()):
            try:
                return self.read(step)
            except DataError:
                continue
        return None

    def clear(self) -> None:
        """Delete all of them: the training is done and its result kept elsewhere."""
        for step in self.steps():
            self._storage.delete(_name(step))


class Writer:
    """Does one thing after another in a thread of its own; at most one is under way.

    An error of the thread is raised by the next call.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def write(self, place: Checkpoints, step: int, state: Any, facts: dict[str, Any]) -> None:
        """Write a checkpoint once the one before is written; all of it is copied at once.

        Raises:
            StorageError: the one before could not be written.
        """
        then, said = to_cpu(state), copy.deepcopy(facts)
        self.wait()
        self._begin(lambda: place.write(step, then, said))

    def wait(self) -> None:
        """Wait until nothing is under way.

        Raises:
            StorageError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="distml-checkpoint", daemon=True)
        self._thread.start()


def _name(step: int) -> str:
    return f"step-{step:012d}.safetensors"


def _reopen(uri: str, keep: int) -> Checkpoints:
    return Checkpoints(uri, keep=keep)
