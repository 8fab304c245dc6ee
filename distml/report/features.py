"""Charts of what the model looks at: permutation importance and partial dependence.

The one decision: a chart speaks of input columns as the data names them, before any encoding. The
charts of partial dependence share one scale, so that columns compare at a glance.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from distml.report.curves import lines
from distml.report.numbers import figure
from distml.report.vega import COLOURS, INK, Figure, axis, colour_of, draw, form_of

__all__ = ["dependence_figures", "importance_figure"]

_MOST_FEATURES = 20
_MOST_VALUES = 15
_ROW_PX = 20


def importance_figure(importance: Mapping[str, Any]) -> Figure:
    """How much the score falls when a column is shuffled, the most important columns first."""
    ranked = sorted(importance["features"], key=lambda one: -(one["mean"] or 0.0))
    shown = ranked[:_MOST_FEATURES]
    metric, rest = importance["metric"], len(ranked) - len(shown)
    falls = f"How much {metric} falls on {importance['set']} when a column is shuffled"
    times = f"{importance['repeats']} times; lines: one standard deviation"
    return draw(
        _ranking(shown, f"Fall of {metric}"),
        title="Permutation importance",
        description=f"{falls}. Most important: {_first(shown)}.",
        caption=f"{falls}, {times}.{f' {rest} further columns matter less.' if rest else ''}",
        size=(480, 70 + _ROW_PX * len(shown)),
    )


def dependence_figures(dependence: Sequence[Mapping[str, Any]], label: str) -> list[Figure]:
    """The mean prediction over the values of a column; a chart a column, all on one scale.

    Args:
        dependence: entries of the evaluation, several for a column with several classes.
        label: the label with its unit.
    """
    figures = []
    means = [mean for entry in dependence for _, mean in _pairs(entry)]
    scale, form = _shared_scale(means), form_of(means)
    for name, entries in groupby(dependence, key=lambda entry: entry["feature"]):
        group = list(entries)[: len(COLOURS)]
        make = _steps if group[0]["kind"] == "category" else _curve
        figures.append(
            draw(
                make(group, str(name), {"scale": scale, "axis": axis(_what(group, label), form)}),
                title=str(name),
                description=f"Mean prediction over the values of {name}, all else as it is.",
                size=(300, 230),
            )
        )
    return figures


def _ranking(shown: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    values = [
        {
            "feature": str(one["feature"]),
            "mean": one["mean"] or 0.0,
            "low": (one["mean"] or 0.0) - (one["std"] or 0.0),
            "high": (one["mean"] or 0.0) + (one["std"] or 0.0),
            "tip": f"{one['feature']}: {figure(one['mean'])} ± {figure(one['std'])}",
        }
        for one in shown
    ]
    x = {"field": "mean", "type": "quantitative", "axis": axis(title)}
    y_axis = {"title": None, "labelColor": INK, "labelLimit": 190, "ticks": False}
    y = {"field": "feature", "type": "nominal", "sort": None, "axis": y_axis}
    bar = {"mark": {"type": "bar", "color": COLOURS[0]}}
    spread = {"mark": {"type": "rule", "color": INK, "aria": False}}
    return {
        "data": {"values": values},
        "encoding": {"y": y},
        "layer": [
            {**bar, "encoding": {"x": x, "description": {"field": "tip"}}},
            {**spread, "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}}},
        ],
    }


def _shared_scale(means: Sequence[float]) -> dict[str, Any]:
    """Of the charts of all columns: one that matters less is flatter."""
    low, high = min(means, default=0.0), max(means, default=0.0)
    # A model that says the same whatever a column says is drawn in the middle.
    margin = 0.0 if low < high else abs(low) / 2 or 1.0
    return {"domain": [low - margin, high + margin], "zero": False, "nice": True}


def _curve(
    group: Sequence[Mapping[str, Any]], name: str, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    series = [
        (_series(entry), [(x, y, _at(name, x, y)) for x, y in _pairs(entry)]) for entry in group
    ]
    form = form_of(x for entry in group for x, _ in _pairs(entry))
    x = {"scale": {"zero": False, "nice": False}, "axis": axis(name, form)}
    return lines(series, x, outcome)


def _steps(
    group: Sequence[Mapping[str, Any]], name: str, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    values = [
        {"series": _series(entry), "x": str(x), "y": y, "tip": _at(name, x, y)}
        for entry in group
        for x, y in _pairs(entry)[:_MOST_VALUES]
    ]
    x_axis = axis(name, labelAngle=-40, labelLimit=80, grid=True)
    return {
        "data": {"values": values},
        "mark": {"type": "circle", "size": 70, "opacity": 1},
        "encoding": {
            "x": {"field": "x", "type": "nominal", "sort": None, "axis": x_axis},
            "y": {"field": "y", "type": "quantitative", **outcome},
            "color": colour_of([_series(entry) for entry in group]),
            "description": {"field": "tip"},
        },
    }


def _pairs(entry: Mapping[str, Any]) -> list[tuple[Any, float]]:
    return [pair for pair in zip(entry["grid"], entry["average"], strict=True) if None not in pair]


def _series(entry: Mapping[str, Any]) -> str:
    return "all" if entry.get("class") is None else str(entry["class"])


def _what(group: Sequence[Mapping[str, Any]], label: str) -> str:
    classes = [entry["class"] for entry in group if entry.get("class") is not None]
    if len(classes) == 1:
        return f"Mean probability of {classes[0]}"
    return "Mean probability" if classes else f"Mean {label}"


def _at(name: str, x: Any, y: float) -> str:
    return f"{name} {figure(x)}: {figure(y)}"


def _first(shown: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['feature']} ({figure(one['mean'])})" for one in shown[:5])
