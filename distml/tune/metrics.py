"""The one number a search over jobs goes by, found among what a run reports.

One decision: a score is named as people say it, by set and scorer with an underscore between
(`test_roc_auc`); where one set has a scorer of that name, or a training's best report, the scorer's
own name will do (`val_accuracy`).
"""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from distml.errors import UserError

__all__ = ["check_reported", "scores_by_name"]

_BEST = "best"
"""What a training's best report is called among the sets of a run."""


def scores_by_name(metrics: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """All scores of a run under all their names; what is no finite number is left out.

    Args:
        metrics: Set → scorer → score, as in a run's record.
    """
    owners: dict[str, list[str]] = {}
    named: dict[str, Any] = {}
    for of, scores in metrics.items():
        for scorer, score in scores.items():
            named[f"{of}_{scorer}"] = score
            owners.setdefault(scorer, []).append(of)
    for scorer, sets in owners.items():
        if len(sets) == 1 or _BEST in sets:
            named.setdefault(scorer, metrics[_BEST if _BEST in sets else sets[0]][scorer])
    return {name: float(value) for name, value in named.items() if _is_finite(value)}


def check_reported(metric: str, metrics: Mapping[str, Mapping[str, float | None]]) -> None:
    """Refuse a metric that a trial which went well does not report.

    Raises:
        UserError: it reports others; they are named, the nearest first.
    """
    known = [f"{of}_{scorer}" for of, scores in metrics.items() for scorer in scores]
    short = [scorer for scores in metrics.values() for scorer in scores]
    if metric in known or metric in short:
        return
    near = difflib.get_close_matches(metric, [*short, *known], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "name one of them"
    there = f"they report {', '.join(known)}; {hint}" if known else "they report none"
    raise UserError(f"metric={metric!r}: trials do not report it; {there}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
