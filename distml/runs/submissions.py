"""Runs that were handed to a place which is not this machine: where they went, and with what.

The one decision: the note is written into the storage before the place is asked. Whoever looks for
a run that has no record yet finds where it waits; and a driver that does not find it knows that its
storage is not the one of who submitted.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from distml.errors import StorageError
from distml.runs.storage import Storage
from distml.runs.strict_json import dumps

__all__ = ["Submission", "load_submission", "save_submission"]

_FOLDER = "submitted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """One handing over of a run."""

    run_id: str
    """The run."""
    submission_id: str
    """Its name over there; a resumed run has another one each time."""
    launcher: str
    """The place, as `--on` names it."""
    submitted_at: float
    """Unix seconds."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library → version where it was submitted."""
    prices: Mapping[str, float] = field(default_factory=dict)
    """Node type → US dollars an hour, as far as known."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the place wants to remember."""


def save_submission(storage: Storage, submission: Submission) -> None:
    """Note that a run is handed over; replaces the note of its former submission.

    Args:
        storage: of the runs.
        submission: the note.

    Raises:
        StorageError: the storage refuses.
    """
    text = dumps(asdict(submission), indent=2) + "\n"
    storage.write(f"{_FOLDER}/{submission.run_id}.json", text.encode())


def load_submission(storage: Storage, run_id: str) -> Submission | None:
    """The last handing over of a run.

    Args:
        storage: of the runs.
        run_id: the whole name of the run.

    Returns:
        The note; `None` if the run was never handed over.

    Raises:
        StorageError: the storage refuses, or the note is damaged.
    """
    path = f"{_FOLDER}/{run_id}.json"
    try:
        values = json.loads(storage.read(path))
        names = {item.name for item in fields(Submission)}
        return Submission(**{name: value for name, value in values.items() if name in names})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} was changed or cut short ({error}); delete it") from error
