"""Tables of scores with their intervals, ready to be laid out.

The one decision: all intervals of a column share one scale, so that they compare at a glance. It
spans the models; a baseline far below it shows as an arrow at the edge, or it would push all others
into one dot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.report.content import Content
from distml.report.numbers import figure, interval, plain, signed

__all__ = ["Cell", "Line", "ScoreTable", "difference_table", "score_table", "slice_table"]

_MARGIN = 0.06
_FAR = 1.5
"""How much of the models' own range a baseline may add before it is cut off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A score, and where its interval stands on the scale of its column."""

    value: float | None
    """The score."""
    text: str
    """The score to read."""
    range: str = ""
    """Its interval to read."""
    dot: float | None = None
    """Place of the score on the scale, in percent; `None` if there is nothing to draw."""
    left: float = 0.0
    """Place of the lower end."""
    right: float = 0.0
    """Place of the upper end."""
    zero: float | None = None
    """Place of zero, of a difference."""
    beyond: int = 0
    """-1 or 1 if the score is off the scale on that side."""
    sure: bool = False
    """Whether a difference is more than chance: its interval excludes zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A row of a table."""

    name: str
    """Model, or value of a slice."""
    kind: str
    """`ensemble`, `member`, `baseline`, …"""
    cells: tuple[Cell, ...]
    """In the order of the metrics."""
    facts: Mapping[str, Any]
    """What else is known: times, size, rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTable:
    """A table of scores."""

    metrics: tuple[str, ...]
    """Names of the scorers."""
    lines: tuple[Line, ...]
    """Rows."""
    has_intervals: bool
    """Whether any score has one."""

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of what else is known of the rows."""
        return tuple(dict.fromkeys(name for line in self.lines for name in line.facts))


def score_table(content: Content, of_set: Mapping[str, Any]) -> ScoreTable:
    """Every model's scores on a test set, in the order of the leaderboard.

    Args:
        content: the run.
        of_set: the evaluation of the set.
    """
    rows = {str(row.get("model")): row for row in content.record.table}
    scores = of_set.get("scores") or {}
    order = [*(name for name in rows if name in scores), *(n for n in scores if n not in rows)]
    named = [(name, str(rows.get(name, {}).get("kind", "")), scores[name]) for name in order]
    facts = {name: _facts(rows.get(name, {})) for name in order}
    return _table(named, facts)


def difference_table(content: Content, of_set: Mapping[str, Any]) -> ScoreTable:
    """How much better the final model is than each other, over the same rows."""
    kinds = {str(row.get("model")): str(row.get("kind", "")) for row in content.record.table}
    differences = of_set.get("differences") or {}
    named = [
        (name, kinds.get(name, ""), told)
        for name, told in differences.items()
        if name != content.model
    ]
    return _table(named, {}, differences=True)


def slice_table(values: Sequence[Mapping[str, Any]]) -> ScoreTable:
    """The final model's scores for each value of a column."""
    named = [(plain(one["value"]), "", one.get("scores") or {}) for one in values]
    facts = {plain(one["value"]): {"rows": one.get("rows")} for one in values}
    return _table(named, facts)


def _table(
    named: Sequence[tuple[str, str, Mapping[str, Any]]],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    differences: bool = False,
) -> ScoreTable:
    metrics = tuple(dict.fromkeys(metric for _, _, scores in named for metric in scores))
    scales = [_scale(named, metric, differences) for metric in metrics]
    lines = tuple(
        Line(
            name=name,
            kind=kind,
            cells=tuple(
                _cell(scores.get(metric) or {}, scale, differences)
                for metric, scale in zip(metrics, scales, strict=True)
            ),
            facts=facts.get(name, {}),
        )
        for name, kind, scores in named
    )
    drawn = any(cell.range for line in lines for cell in line.cells)
    return ScoreTable(metrics=metrics, lines=lines, has_intervals=drawn)


def _scale(
    named: Sequence[tuple[str, str, Mapping[str, Any]]], metric: str, differences: bool
) -> tuple[float, float]:
    """Both ends of the scale of a column."""
    told = [(kind, scores.get(metric) or {}) for _, kind, scores in named]
    models = _ends([one for kind, one in told if kind != "baseline"])
    ends = _ends([one for _, one in told]) or [0.0]
    if differences:
        models, ends = [*models, 0.0], [*ends, 0.0]
    if len(models) >= 4 and max(ends) - min(ends) > (1 + _FAR) * (max(models) - min(models)):
        ends = models
    low, high = min(ends), max(ends)
    margin = _MARGIN * (high - low) or abs(high) * _MARGIN or 1.0
    return low - margin, high + margin


def _ends(told: Sequence[Mapping[str, Any]]) -> list[float]:
    found = (one.get(name) for one in told for name in ("low", "value", "high"))
    return [end for end in found if end is not None]


def _cell(told: Mapping[str, Any], scale: tuple[float, float], difference: bool) -> Cell:
    value, ends = told.get("value"), interval(told)
    write = signed if difference else figure
    large = max((abs(one) for one in (told.get("low"), told.get("high")) if one), default=0.0)
    text = write(None if value is None else float(value), large)
    if value is None or not ends:
        return Cell(value=value, text=text)
    low, high = told["low"], told["high"]
    return Cell(
        value=value,
        text=text,
        range=ends,
        dot=_place(value, scale),
        left=_place(low, scale),
        right=_place(high, scale),
        zero=_place(0.0, scale) if difference else None,
        beyond=-1 if value < scale[0] else int(value > scale[1]),
        sure=difference and (low > 0 or high < 0),
    )


def _place(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return round(min(100.0, max(0.0, 100 * (value - low) / (high - low))), 2)


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a leaderboard row has besides scores on test sets; out-of-fold scores by their names."""
    plain = {name: row[name] for name in row if not isinstance(row[name], Mapping)}
    for name in ("model", "kind"):
        plain.pop(name, None)
    validation = row.get("validation") or {}
    return {**{f"validation {name}": score for name, score in validation.items()}, **plain}
