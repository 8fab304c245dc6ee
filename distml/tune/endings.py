"""How the record of a trial of a search over jobs says that it is over, or not yet."""

from distml.ensemble.parcel import WorkerLostError
from distml.runs.record import DRIVER_DIED, RunRecord, RunStatus

__all__ = ["LACKS", "PUT_OFF", "for_want_of_memory", "is_over", "is_put_off", "lacks_resources"]

LACKS = "lacks_resources"
"""In a record's details: whether the trial asked for more than there was."""
PUT_OFF = "to be tried again alone: "
"""How the reason begins of a trial that had too little memory beside others."""


def is_over(record: RunRecord) -> bool:
    """Whether a trial ended by itself or was ended; not one that was cut off."""
    if record.status is RunStatus.STOPPED:
        return "epochs" in record.details
    return record.status.is_final and record.reason != DRIVER_DIED


def lacks_resources(record: RunRecord) -> bool:
    """Whether a trial failed because it asked for more than there is."""
    return record.status is RunStatus.FAILED and bool(record.details.get(LACKS))


def is_put_off(record: RunRecord) -> bool:
    """Whether a trial had too little memory beside others, and is to be run again alone."""
    return record.status is RunStatus.STOPPED and (record.reason or "").startswith(PUT_OFF)


def for_want_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError | WorkerLostError):
            return True
        error = error.__cause__
    return False
