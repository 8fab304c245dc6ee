"""How far the difference of two runs' scores may be chance: paired where it can be, else cautious.

One decision: only what the evaluations hold is used. If both keep the draws of their bootstrap, and
these drew the same rows, the differences of the draws are paired (Efron & Tibshirani 1993, chapter
16) and what is hard for both models cancels out. Otherwise both scores are taken as normal and
independent, with variances from the widths of their intervals: right for different test rows, and
for the same ones too wide rather than too narrow.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any, Literal

from distml.runs.differences import at

__all__ = ["Basis", "Span", "interval_of_difference", "interval_of_score"]

Span = tuple[float, float]
"""Low and high."""

Basis = Literal["paired", "independent"]
"""What an interval of a difference rests on."""


def interval_of_score(evaluation: Mapping[str, Any], test: str, metric: str) -> Span | None:
    """The interval of the final model's score.

    Args:
        evaluation: what `evaluation.json` says.
        test: name of the test set.
        metric: scikit-learn's scorer name.

    Returns:
        Low and high; `None` if there is none.

    Raises:
        Nothing.
    """
    scores = at(evaluation, "sets", test, "scores", str(evaluation.get("model")), metric)
    low, high = at(scores, "low"), at(scores, "high")
    return None if low is None or high is None else (low, high)


def interval_of_difference(
    difference: float,
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    test: str,
    metric: str,
    *,
    level: float,
    same_rows: bool,
) -> tuple[Span | None, Basis | None]:
    """The interval of the second score less the first.

    Args:
        difference: the second score less the first.
        first: what the first run's `evaluation.json` says.
        second: the same of the second.
        test: name of the test set.
        metric: scikit-learn's scorer name.
        level: of the interval, such as 0.95.
        same_rows: whether both were tested on the same rows, drawn by the same seed.

    Returns:
        Low and high, and what they rest on; `None` for both if a run has no interval.

    Raises:
        Nothing.
    """
    draws = [_draws(evaluation, test, metric) for evaluation in (first, second)]
    if same_rows and len(draws[0]) == len(draws[1]) > 1:
        span = _paired(difference, *draws, level=level)
        if span is not None:
            return span, "paired"
    spans = [interval_of_score(evaluation, test, metric) for evaluation in (first, second)]
    widths = [span[1] - span[0] for span in spans if span is not None]
    if len(widths) < 2:
        return None, None
    # Half-widths of independent normal scores add up as their standard deviations do.
    half = math.hypot(*widths) / 2
    return (difference - half, difference + half), "independent"


def _draws(evaluation: Mapping[str, Any], test: str, metric: str) -> list[float | None]:
    """By how much each resample's score differs from the score; nothing if that was not kept."""
    found = at(evaluation, "sets", test, "draws", metric)
    return found if isinstance(found, list) else []


def _paired(
    difference: float, one: list[float | None], other: list[float | None], *, level: float
) -> Span | None:
    moved = [b - a for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if len(moved) < 2:
        return None
    cuts = statistics.quantiles(moved, n=round(2 / (1 - level)), method="inclusive")
    return difference + cuts[0], difference + cuts[-1]
