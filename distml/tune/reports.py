"""What the training of a trial reports, epoch by epoch, wherever it runs.

One decision: a report is counted once, though a training that was cut off may tell it again. It is
known by its epoch where it names one, else by the optimizer's step.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from distml.runs.events import Event

__all__ = ["Count", "Report", "reports_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The end of an epoch."""

    scores: Mapping[str, float]
    """Name → number."""
    step: int | None = None
    """Optimizer steps that were done, where that is said."""

    @classmethod
    def of(cls, kind: str, fields: Mapping[str, Any]) -> Self | None:
        """What an event reports; `None` if it is of another kind."""
        if kind != "epoch":
            return None
        return cls(scores=fields["metrics"], step=fields.get("step"))


@dataclass(kw_only=True, slots=True)
class Count:
    """How far a training is, by what it has reported."""

    epochs: int = 0
    """Epochs done."""
    step: int | None = None
    """Optimizer steps done, where that is said."""

    def take(self, report: Report) -> bool:
        """Count a report: whether it is new."""
        if self._is_old(report):
            return False
        self.epochs, self.step = self.epochs + 1, report.step
        return True

    def _is_old(self, report: Report) -> bool:
        epoch = report.scores.get("epoch")
        if epoch is not None:
            return int(epoch) < self.epochs
        return report.step is not None and self.step is not None and report.step <= self.step


def reports_of(events: Iterable[Event]) -> Iterator[Report]:
    """The reports among the events of a run, in their order; some may be there twice."""
    found = (Report.of(event["kind"], event) for event in events)
    return (report for report in found if report is not None)
