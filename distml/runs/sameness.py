"""Did one job come to the same in two places? Its units, what its models say, and the environment.

The one decision: a place is held against the first, value by value. What is no number (a class, a
count, the name of a unit) must be equal; numbers may differ by what sums in another order do, which
is more for a network, whose weights are in single precision. A unit is keyed by what it is fitted
on: where predictions differ in their last digits, units over them are held to their names alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from distml.runs.agreement import TOLERANCE, Agreement, agreement
from distml.runs.differences import Difference, differences
from distml.runs.record import RunRecord

__all__ = ["NETWORK_TOLERANCE", "Evidence", "Sameness", "sameness"]

NETWORK_TOLERANCE = 1e-4
"""Relative, of a job that trains networks: single precision has 7 digits, and epochs add up."""

_ENVIRONMENT = ("versions",)
_ORIGIN = ("parameters", "data", "rows", "split", "features", "rule", "seed", "resources")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a run in one place has left."""

    place: str
    """As `--on` names it."""
    record: RunRecord
    """Of the run."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Key → name of every unit that it kept."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """Key → values of the units that are predictions."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Its `evaluation.json`."""
    golden: Mapping[str, Any] = field(default_factory=dict)
    """Column → values: its model's predictions for its golden rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sameness:
    """How a place compares with the first."""

    units: tuple[str, ...] = ()
    """What differs in the units, in words; empty if they are the same."""
    by_name: bool = False
    """Whether units were held to their names, because values differ within the tolerance."""
    values: Agreement
    """All values that both wrote down."""
    tolerance: float
    """How far apart numbers may be, relatively."""
    environment: tuple[Difference, ...] = ()
    """Versions that differ."""
    origin: tuple[Difference, ...] = ()
    """Data, split, parameters or seed that differ."""

    @property
    def values_agree(self) -> bool:
        """Whether all values are the same, or within the tolerance."""
        return self.values.num_values > 0 and self.values.largest <= self.tolerance

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return self.values_agree and not (self.units or self.environment or self.origin)

    def told(self) -> Iterator[str]:
        """What differs, a line each, what explains the rest first."""
        for area, found in (("environment", self.environment), ("origin", self.origin)):
            for each in found:
                what = f"{each.area} {each.name}".strip()
                yield f"{area}: {what} is {each.b!r}, it was {each.a!r}"
        yield from (f"units: {words}" for words in self.units)
        if not self.values_agree:
            yield f"values: {self.values.where or self.values}"


def sameness(first: Evidence, other: Evidence) -> Sameness:
    """Hold a place against the first.

    Args:
        first: what the first place left; its run has succeeded.
        other: what the other place left; its run has succeeded.

    Returns:
        What was found.

    Raises:
        Nothing.
    """
    both = [key for key in first.said if key in other.said]
    predictions = [
        {**each.golden, **{f"of {each.units[key]}": each.said[key] for key in both}}
        for each in (first, other)
    ]
    found = list(differences(first.record, other.record))
    evaluations = [first.evaluation, other.evaluation]
    values = agreement(first.record, other.record, evaluations, predictions)
    tolerance = NETWORK_TOLERANCE if first.record.details.get("networks") else TOLERANCE
    by_name = 0 < values.largest <= tolerance
    return Sameness(
        units=tuple(_units(first, other, by_name=by_name)),
        by_name=by_name,
        values=values,
        tolerance=tolerance,
        environment=tuple(each for each in found if each.area in _ENVIRONMENT),
        origin=tuple(each for each in found if each.area in _ORIGIN),
    )


def _units(first: Evidence, other: Evidence, *, by_name: bool) -> Iterator[str]:
    """Units that only one has; of the same name on both sides, ones of another content."""
    one, more = (
        {each.units[key] for key in each.units.keys() - rest.units.keys()}
        for each, rest in ((first, other), (other, first))
    )
    changed = sorted(one & more)
    if changed and not by_name:
        yield f"{_listed(changed)} of another content than in {first.place}"
    if missing := sorted(one - more):
        yield f"{_listed(missing)} only in {first.place}"
    if extra := sorted(more - one):
        yield f"{_listed(extra)} not in {first.place}"


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} others" if rest > 0 else "")
