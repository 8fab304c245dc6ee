"""What comes back from a worker: the outcome of a unit, and what was said on the way.

One decision: what a fit printed and warned of is said again in the driver's process, as if the fit
had run there, with the unit's name before it. An error that does not survive the journey is
replaced by one that says the same.
"""

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle

from distml.errors import DistmlError
from distml.runs.units import active_units
from distml.runs.voices import marked, speaking

__all__ = ["Outcome", "Packed", "WorkerLostError", "pack"]


class WorkerLostError(DistmlError):
    """The process of a unit died, most often for want of memory, or cannot carry anything out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a unit."""

    value: Any = None
    """Fitted estimator or prediction."""
    error: Exception | None = None
    """Why there is no value. A `WorkerLostError` or a `MemoryError` may be tried again."""
    seconds: float = 0.0
    """Wall time of the fit."""
    peak_bytes: int = 0
    """Private memory the fit added to its process at its peak; 0 where that cannot be measured."""
    worker: str = ""
    """Host and process that ran it."""
    cached: bool = False
    """Taken from the run's store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """An outcome on its way from the worker, with what the worker printed and warned of.

    The value travels as bytes: Ray would give it back as views of the object store, which cannot
    be written to (a warm start does) and hold that memory for as long as the model lives.
    """

    outcome: Outcome
    value: bytes = b""
    output: str = ""
    warnings: tuple[tuple[Warning, str, int], ...] = ()

    def open(self, unit: str = "") -> Outcome:
        """The outcome, once what was printed and warned of has been said here.

        Args:
            unit: Whose words they are, in the log of a run.
        """
        in_a_run = bool(unit) and active_units() is not None
        sys.stdout.write(marked(self.output, f"unit {unit}") if in_a_run else self.output)
        try:
            with speaking(unit if in_a_run else ""):
                for message, filename, line in self.warnings:
                    warnings.warn_explicit(message, type(message), filename, line)
        except Warning as error:
            # Where warnings are errors, the fit would have ended here.
            return replace(self.outcome, error=self.outcome.error or error)
        if self.outcome.error is not None:
            return self.outcome
        return replace(self.outcome, value=cloudpickle.loads(self.value))


def pack(outcome: Outcome, output: str, caught: Sequence[warnings.WarningMessage]) -> Packed:
    """Make an outcome ready for its journey.

    Args:
        outcome: What came of the unit.
        output: What was printed meanwhile.
        caught: What was warned of.
    """
    return Packed(
        outcome=replace(outcome, value=None, error=_portable(outcome.error)),
        value=b"" if outcome.error is not None else cloudpickle.dumps(outcome.value),
        output=output,
        warnings=tuple(_portable_warnings(caught)),
    )


def _portable(error: Exception | None) -> Exception | None:
    """The error if it survives the journey, else one that says the same."""
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return DistmlError(f"{type(error).__name__}: {error}")
    return error


def _portable_warnings(
    caught: Sequence[warnings.WarningMessage],
) -> Iterator[tuple[Warning, str, int]]:
    for warning in caught:
        with contextlib.suppress(Exception):
            cloudpickle.loads(cloudpickle.dumps(warning.message))
            if isinstance(warning.message, Warning):
                yield warning.message, warning.filename, warning.lineno
