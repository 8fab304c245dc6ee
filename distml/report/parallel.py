"""Parallel coordinates: each trial of a search a line through its parameters, ending in its score.

The one decision: colour says the fifth of the ranking that a trial is in, and is mixed by the
browser from the page's own, so the drawing follows light and dark. The best is drawn last, and
thicker, so it is found without colours too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.report.numbers import figure
from distml.report.vega import COLOURS, GREY, INK, Figure, draw, thin
from distml.runs.searches import Search, Trial

__all__ = ["parallel_figure", "tip"]

_MOST_TRIALS = 200
_MOST_AXES = 9
_MOST_NAMES = 8
"""Values of an axis of names that are written at it."""
_MOST_LETTERS = 15
"""Of a value that is written at an axis."""
_SHADES = (18, 32, 48, 68, 100)
"""Per cent of the colour of a line, the worst fifth first."""
_WIDE = 20
"""An axis whose greatest value is so many times its least is logarithmic, as is one whose values
were drawn so."""
_AXIS_PX = 105


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axis:
    """One parameter, or the score."""

    name: str
    places: Mapping[int, float]
    """Trial → place from 0, at the bottom, to 1."""
    ticks: Sequence[tuple[float, str]]
    """Place and what is written there."""


def parallel_figure(search: Search, scored: Sequence[Trial]) -> Figure | None:
    """Draw the trials.

    Args:
        search: whose they are.
        scored: those with a score.

    Returns:
        The figure; `None` for fewer than two trials, or where no parameter varies.
    """
    ranked = sorted(scored, key=search.rank)
    drawn = thin(ranked, _MOST_TRIALS)
    names = dict.fromkeys(name for trial in drawn for name in trial.params)
    axes = [
        _axis(
            name,
            {t.number: t.params.get(name) for t in drawn if t.params.get(name) is not None},
            is_log=name in search.logarithmic,
        )
        for name in names
        if len({str(trial.params.get(name)) for trial in drawn}) > 1
    ]
    if len(drawn) < 2 or not axes:
        return None
    left_out = len(axes) - (_MOST_AXES - 1)
    axes = axes[: _MOST_AXES - 1]
    axes.append(_axis(search.metric, {trial.number: trial.score for trial in drawn}))
    said = f" {left_out} further parameters are not drawn." if left_out > 0 else ""
    some = "" if len(drawn) == len(ranked) else f" {len(drawn)} of {len(ranked)} trials are drawn."
    return draw(
        _spec(search, drawn, axes),
        title="All trials",
        description=f"A line a trial through {', '.join(one.name for one in axes)}. "
        f"Best: {tip(search, drawn[-1])}.",
        caption="A line is a trial: its parameters, and at the right its score. The "
        f"stronger its colour, the better it ranks; the best is the thick line.{some}{said}",
        size=(max(360, _AXIS_PX * len(axes) + 90), 320),
    )


def _axis(name: str, values: Mapping[int, Any], *, is_log: bool = False) -> _Axis:
    numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
    if len(numbers) == len(values) and not all(isinstance(v, bool) for v in values.values()):
        return _numeric(name, numbers, is_log=is_log)
    names = sorted({figure(value) for value in values.values()})
    place = {one: n / max(1, len(names) - 1) for n, one in enumerate(names)}
    places = {trial: place[figure(value)] for trial, value in values.items()}
    ticks = [(place[one], _briefly(one)) for one in thin(names, _MOST_NAMES)]
    return _Axis(name=name, places=places, ticks=ticks)


def _numeric(name: str, values: Mapping[int, float], *, is_log: bool) -> _Axis:
    least, most = min(values.values()), max(values.values())
    is_log = least > 0 and (is_log or most / least >= _WIDE)
    low, high = (math.log(least), math.log(most)) if is_log else (least, most)
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return ((math.log(value) if is_log else value) - low) / span

    inner = [low + span * part for part in (0.25, 0.5, 0.75)]
    marks = [least, *(math.exp(one) if is_log else one for one in inner), most]
    if all(isinstance(value, int) for value in values.values()):
        marks = sorted({round(mark) for mark in marks})
    return _Axis(
        name=name,
        places={trial: place(value) for trial, value in values.items()},
        ticks=[(place(mark), f"{mark:.3g}") for mark in marks],
    )


def _spec(search: Search, drawn: Sequence[Trial], axes: Sequence[_Axis]) -> dict[str, Any]:
    order = [f"{number}" for number in range(len(axes))]
    x = {
        "field": "axis",
        "type": "ordinal",
        "sort": order,
        "scale": {"type": "point", "padding": 0.45},
        "axis": None,
    }
    y = {"field": "y", "type": "quantitative", "scale": {"domain": [-0.02, 1.1]}, "axis": None}
    shades = [_mixed(shade) for shade in _SHADES]
    values = [
        {
            "trial": rank,
            "axis": str(number),
            "y": one.places[trial.number],
            "shade": str(min(4, 5 * rank // len(drawn))),
            "tip": tip(search, trial),
        }
        for rank, trial in enumerate(drawn)
        for number, one in enumerate(axes)
        if trial.number in one.places
    ]
    colour = {
        "field": "shade",
        "type": "nominal",
        "scale": {"domain": list("01234"), "range": shades},
        "legend": None,
    }
    line = {"detail": {"field": "trial"}, "x": x, "y": y, "order": {"field": "axis"}}
    top = [value for value in values if value["trial"] == len(drawn) - 1]
    spots = [value for value in values if value["axis"] == order[-1]]
    return {
        "layer": [
            _rules(axes, x, y),
            {
                "data": {"values": [v for v in values if v["trial"] != len(drawn) - 1]},
                "mark": {"type": "line", "aria": False, "strokeWidth": 1.3},
                "encoding": {**line, "color": colour},
            },
            {
                "data": {"values": top},
                "mark": {"type": "line", "aria": False, "strokeWidth": 3.5, "color": COLOURS[1]},
                "encoding": line,
            },
            {
                "data": {"values": spots},
                "mark": {"type": "circle", "size": 40, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": colour, "description": {"field": "tip"}},
            },
            *_labels(axes, x, y),
        ]
    }


def _rules(axes: Sequence[_Axis], x: Any, y: Any) -> dict[str, Any]:
    ends = [{"axis": str(number), "y": 0, "top": 1} for number in range(len(axes))]
    mark = {"type": "rule", "color": GREY, "aria": False}
    return {
        "data": {"values": ends},
        "mark": mark,
        "encoding": {"x": x, "y": y, "y2": {"field": "top"}},
    }


def _labels(axes: Sequence[_Axis], x: Any, y: Any) -> list[dict[str, Any]]:
    ticks = [
        {"axis": str(number), "y": place, "text": text}
        for number, one in enumerate(axes)
        for place, text in one.ticks
    ]
    names = [
        # Neighbours at different heights, so that long names have room.
        {"axis": str(number), "y": 1.05 if number % 2 else 1.1, "text": _short(one.name)}
        for number, one in enumerate(axes)
    ]
    text = {"field": "text", "type": "nominal"}
    small = {"type": "text", "aria": False, "fontSize": 10, "align": "left", "dx": 4}
    # Lines run behind it.
    halo = {**small, "stroke": "var(--paper)", "strokeWidth": 3.5, "opacity": 0.8}
    large = {"type": "text", "aria": False, "fontSize": 11.5, "color": INK, "dy": -4}
    return [
        {"data": {"values": v}, "mark": mark, "encoding": {"x": x, "y": y, "text": text}}
        for v, mark in ((ticks, halo), (ticks, {**small, "color": INK}), (names, large))
    ]


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"…{name[-25:]}"


def _briefly(value: str) -> str:
    """A value that fits between two axes: of an estimator the name."""
    if len(value) <= _MOST_LETTERS:
        return value
    return f"{value.partition('(')[0][: _MOST_LETTERS - 1]}…"


def _mixed(share: int) -> str:
    return f"color-mix(in srgb, {COLOURS[0]} {share}%, var(--paper))"


def tip(search: Search, trial: Trial) -> str:
    """What is said of a trial that is pointed at."""
    params = ", ".join(f"{name} {figure(value)}" for name, value in trial.params.items())
    return f"trial {trial.number}, {trial.state}: {search.metric} {figure(trial.score)}; {params}"
