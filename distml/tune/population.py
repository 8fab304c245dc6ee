"""Checkpoints of the trials of a population, for others to go on from.

One decision: what a trial has at its turn is copied out of its run, which goes on changing; another
trial's run begins with a copy of that. A population decides by what stood at each trial's last
turn, so one copy a trial is enough.

Refuses jobs whose training leaves no checkpoint after an epoch, as nothing can go on from them.
"""

from distml.errors import DistmlError, UserError
from distml.runs.paths import RunPaths
from distml.runs.storage import Storage
from distml.tune.children import TRIALS, Child
from distml.tune.outcome import copy_all
from distml.tune.reports import Count

__all__ = ["Population"]

_FOLDER = "population"


class Population:
    """The checkpoints of one search.

    Args:
        storage: Of the search's run.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def settle(self, child: Child, at: Count) -> None:
        """Let a trial that was paused go on, later, from exactly where it was paused.

        Workers that were told to pause have trained on until they heard of it.

        Raises:
            UserError: its training leaves no checkpoints, or not this one.
            StorageError: the storage is full or refuses.
        """
        place, wanted = _checkpoints(child), _file_name(at)
        names = [entry.name for entry in self._storage.list(place)]
        if not any(name <= wanted for name in names):
            raise UserError(_missing(child, at, gone=bool(names)))
        for name in names:
            if name > wanted:
                self._storage.delete(f"{place}/{name}")

    def keep(self, child: Child, at: Count) -> None:
        """Keep what a trial has at its turn, instead of what it had at the one before.

        A search that is resumed plays former turns again: what is gone by then has been handed on.

        Raises:
            StorageError: the storage is full or refuses.
        """
        own, kept = f"{_checkpoints(child)}/{_file_name(at)}", self._kept(child.number)
        name = f"{at.epochs:06d}-{_file_name(at)}"
        if max(kept, default="") >= name or self._storage.stat(own) is None:
            return
        copy_all(self._storage, own, f"{_folder(child.number)}/{name}")
        for former in kept:
            self._storage.delete(f"{_folder(child.number)}/{former}")

    def hand_on(self, donor: int, epochs: int, heir: Child) -> None:
        """Let the run of a trial begin with what another trial had, unless it has begun already.

        Raises:
            DistmlError: it is not there any more.
            StorageError: the storage is full or refuses.
        """
        if self._storage.stat(f"{TRIALS}/{RunPaths(heir.run_id).record}") is not None:
            return
        begins = f"{epochs:06d}-"
        found = [name for name in self._kept(donor) if name.startswith(begins)]
        if not found:
            raise DistmlError(
                f"trial {heir.number + 1}: there is no checkpoint of trial {donor + 1} after "
                f"{epochs} epochs; let its task keep more of the last ones"
            )
        target = f"{_checkpoints(heir)}/{found[0].removeprefix(begins)}"
        copy_all(self._storage, f"{_folder(donor)}/{found[0]}", target)

    def clear(self) -> None:
        """Delete what is kept: the search is over."""
        for folder in self._storage.list(_FOLDER):
            for entry in self._storage.list(f"{_FOLDER}/{folder.name}"):
                self._storage.delete(f"{_FOLDER}/{folder.name}/{entry.name}")

    def _kept(self, number: int) -> list[str]:
        return [entry.name for entry in self._storage.list(_folder(number))]


def _missing(child: Child, at: Count, *, gone: bool) -> str:
    trial = f"trial {child.number + 1}"
    if gone:
        return (
            f"scheduler: the workers of {trial} had trained on and dropped the checkpoint of epoch "
            f"{at.epochs} before they heard that they pause; give the Loop a larger num_to_keep"
        )
    return (
        f"scheduler: trials go on from each other's training, and {trial} left no checkpoint after "
        f"{at.epochs} epochs; search a job whose task is a distml.Loop that calls resume and "
        "report, or give 'asha'"
    )


def _folder(number: int) -> str:
    return f"{_FOLDER}/{number:04d}"


def _checkpoints(child: Child) -> str:
    return f"{TRIALS}/{RunPaths(child.run_id).checkpoints}"


def _file_name(at: Count) -> str:
    """As `distml.train` names the checkpoint of an optimizer's step."""
    return f"step-{at.step or 0:012d}.safetensors"
