"""Does a run that was done again come to the same? Exactly, within what, or why not.

The one decision: everything that both runs wrote down about the model is compared value by value
(scores, confusion, curves, the predictions of golden rows), not a summary of it. Numbers that
differ by no more than sums in another order do are the same; reasons are looked for only where they
are not.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.runs.differences import differences
from distml.runs.record import RunRecord

__all__ = ["TOLERANCE", "Agreement", "agreement"]

TOLERANCE = 1e-6
"""Relative; double precision has 16 digits, of which sums over many threads lose some."""

_REASONS = {
    "data": "the data changed",
    "rows": "the rows of a part changed",
    "versions": "a version changed",
    "git": "the code in the repository changed",
    "split": "the split changed",
    "features": "the columns changed",
    "seed": "the seed changed",
    "parameters": "a parameter changed",
}
"""Area of a difference → what it means for a reproduction, what weighs most first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """What came of comparing a run with its reproduction."""

    num_values: int
    """Values that both wrote down."""
    largest: float
    """The largest relative difference of numbers; infinite where others differ."""
    where: str = ""
    """The value that differs most, with both values; empty if none does."""
    reasons: tuple[str, ...] = ()
    """What else differs between the runs; empty if they agree."""

    @property
    def agrees(self) -> bool:
        """Whether the reproduction came to the same."""
        return self.num_values > 0 and self.largest <= TOLERANCE

    def __str__(self) -> str:
        if not self.num_values:
            return "cannot tell: the runs have no values in common"
        if self.largest == 0:
            return f"agrees exactly: {self.num_values} values are the same"
        if self.agrees:
            return f"agrees within {self.largest:.2g}: {self.num_values} values; {self.where}"
        why = "; ".join(self.reasons) or (
            "nothing that is recorded changed, so the job is not determined by its seed"
        )
        return f"does not agree: {self.where}; {why}"


def agreement(
    former: RunRecord,
    again: RunRecord,
    evaluations: Sequence[Mapping[str, Any]] = ({}, {}),
    predictions: Sequence[Mapping[str, Any]] = ({}, {}),
) -> Agreement:
    """Compare a run with its reproduction.

    Args:
        former: the run.
        again: its reproduction.
        evaluations: `evaluation.json` of both.
        predictions: of golden rows: column → values, of both.

    Returns:
        What was found.

    Raises:
        Nothing.
    """
    pairs = [
        ("metrics", former.metrics, again.metrics),
        ("evaluation", *(evaluation.get("sets", {}) for evaluation in evaluations)),
        ("prediction", *predictions),
    ]
    leaves = [leaf for name, one, other in pairs for leaf in _leaves(name, one, other)]
    worst = max(leaves, key=lambda leaf: leaf[1], default=("", 0.0))
    reasons = _reasons(former, again) if worst[1] > TOLERANCE else ()
    return Agreement(
        num_values=len(leaves),
        largest=worst[1],
        where=worst[0] if worst[1] else "",
        reasons=tuple(reasons),
    )


def _leaves(path: str, one: Any, other: Any) -> Iterator[tuple[str, float]]:
    """Every value in either: where it differs, in words, and by how much."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            yield from _leaves(f"{path} {name}", one.get(name), other.get(name))
    elif _is_list(one) and _is_list(other) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _leaves(f"{path} [{number}]", left, right)
    else:
        yield f"{path} is {_short(other)}, it was {_short(one)}", _apart(one, other)


def _apart(one: Any, other: Any) -> float:
    """Relative difference of numbers; 0 for what is equal, infinite for other things."""
    if one == other:
        return 0.0
    if not (_is_number(one) and _is_number(other)):
        return math.inf
    if math.isnan(one) and math.isnan(other):
        return 0.0
    gap = abs(one - other) / max(abs(one), abs(other))
    return gap if math.isfinite(gap) else math.inf


def _reasons(former: RunRecord, again: RunRecord) -> Iterator[str]:
    found = {area: difference for difference in differences(former, again)
             for area in [difference.area] if area in _REASONS}  # fmt: skip
    for area, meaning in _REASONS.items():
        if area in found:
            told = found[area]
            yield f"{meaning} ({told.name or area}: {_short(told.a)}, now {_short(told.b)})"


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
