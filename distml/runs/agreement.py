"""Does a run that was done again come to the same? Exactly, within what, or why not.

The one decision: everything that both runs wrote down about the model is compared value by value
(scores, confusion, curves, the predictions of golden rows), not a summary of it. Numbers that
differ by no more than sums in another order do are the same; reasons are looked for only where they
are not. What is named then is a score, if one differs, before a point of a curve.
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

_MOST = 60
"""Letters of a value that are told."""

_BEFORE = 12
"""Letters of those before two long values differ."""

_SCORES = "metrics"

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
    """The value that differs most, scores before lists, with both values; empty if none does."""
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
        (_SCORES, former.metrics, again.metrics),
        ("evaluation", *(evaluation.get("sets", {}) for evaluation in evaluations)),
        ("prediction", *predictions),
    ]
    leaves = [leaf for name, one, other in pairs for leaf in _leaves(name, one, other)]
    largest = max((leaf.apart for leaf in leaves), default=0.0)
    reasons = _reasons(former, again) if largest > TOLERANCE else ()
    return Agreement(
        num_values=len(leaves),
        largest=largest,
        where=str(max(leaves, key=_weight)) if largest else "",
        reasons=tuple(reasons),
    )


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value in either run."""

    path: str
    one: Any
    other: Any
    apart: float
    """By how much they differ; see `_apart`."""

    def __str__(self) -> str:
        if _is_list(self.one) and _is_list(self.other):
            return f"{self.path} has {_values(self.other)}, it had {len(self.one)}"
        was, now = _beside(self.one, self.other)
        return f"{self.path} is {now}, it was {was}"


def _leaves(path: str, one: Any, other: Any) -> Iterator[_Leaf]:
    """Every value in either; lists of other lengths are one."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            yield from _leaves(f"{path} {name}", one.get(name), other.get(name))
    elif _is_list(one) and _is_list(other) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _leaves(f"{path} [{number}]", left, right)
    else:
        yield _Leaf(path, one, other, _apart(one, other))


def _weight(leaf: _Leaf) -> tuple[int, float]:
    """What to name: of what does not agree, a score of the run before others, a list last."""
    if leaf.apart <= TOLERANCE:
        return 0, leaf.apart
    if leaf.path.startswith(_SCORES):
        return 3, leaf.apart
    in_list = "[" in leaf.path or _is_list(leaf.one) or _is_list(leaf.other)
    return 1 if in_list else 2, leaf.apart


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
            was, now = _beside(told.a, told.b)
            yield f"{meaning} ({told.name or area}: {was}, now {now})"


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(values: Sequence[Any]) -> str:
    return "1 value" if len(values) == 1 else f"{len(values)} values"


def _beside(one: Any, other: Any) -> tuple[str, str]:
    """Both in few letters; what is long begins shortly before they differ."""
    texts = repr(one), repr(other)
    letters = enumerate(zip(*texts, strict=False))
    same = next((number for number, pair in letters if len({*pair}) > 1), 0)
    start = same - _BEFORE if same > _MOST - _BEFORE else 0
    was, now = (f"...{text[start:]}" if start else text for text in texts)
    return _cut(was), _cut(now)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."
