"""Charts of a regressor on one test set: residuals over predictions, their spread, deciles.

The one decision: a residual is the label minus the prediction, as the evaluation gives it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from distml.report.curves import lines
from distml.report.numbers import figure
from distml.report.vega import COLOURS, GREY, Figure, axis, draw, form_of, thin

__all__ = ["bars", "regressor_figures"]

_MOST_DOTS = 700


def regressor_figures(of_set: Mapping[str, Any], label: str) -> list[Figure]:
    """All charts that a test set of a regressor has data for.

    Args:
        of_set: the evaluation of the set.
        label: the label with its unit.
    """
    figures = []
    residuals = of_set.get("residuals") or {}
    if residuals.get("predicted"):
        figures.append(_scatter(residuals, label))
    if residuals.get("counts"):
        figures.append(_spread(residuals, label))
    if of_set.get("deciles"):
        figures.append(_deciles(of_set["deciles"], label))
    return figures


def bars(
    edges: Sequence[float], counts: Sequence[float], x: str, y: str, colour: str = COLOURS[0]
) -> dict[str, Any]:
    """A Vega-Lite histogram.

    Args:
        edges: of the bins, one more than there are bins.
        counts: heights.
        x: title of the horizontal axis.
        y: title of the vertical axis.
        colour: of the bars.
    """
    values = [
        {"x": low, "x2": high, "y": n, "tip": f"{figure(low)} to {figure(high)}: {figure(n)}"}
        for low, high, n in zip(edges, edges[1:], counts, strict=False)
    ]
    return {
        "data": {"values": values},
        "mark": {"type": "rect", "color": colour, "stroke": "var(--paper)", "strokeWidth": 0.5},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "axis": axis(x, form_of(edges))},
            "x2": {"field": "x2"},
            "y": {"field": "y", "type": "quantitative", "axis": axis(y, form_of(counts))},
            "y2": {"datum": 0},
            "description": {"field": "tip"},
        },
    }


def _scatter(residuals: Mapping[str, Any], label: str) -> Figure:
    pairs = list(zip(residuals["predicted"], residuals["residual"], strict=True))
    values = [{"x": x, "y": y} for x, y in thin(pairs, _MOST_DOTS) if None not in (x, y)]
    x = {
        "field": "x",
        "type": "quantitative",
        "axis": axis(f"Predicted {label}", form_of(p for p, _ in pairs)),
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "axis": axis("Residual", form_of(r for _, r in pairs)),
    }
    dots = {
        "data": {"values": values},
        "mark": {"type": "circle", "aria": False, "size": 14, "opacity": 0.45},
        "encoding": {
            "x": x,
            "y": y,
            "color": {"value": COLOURS[0]},
        },
    }
    zero = {
        "data": {"values": [{"y": 0}]},
        "mark": {"type": "rule", "aria": False, "strokeDash": [4, 4], "color": GREY},
        "encoding": {"y": {"field": "y", "type": "quantitative"}},
    }
    return draw(
        {"layer": [dots, zero]},
        title="Residuals",
        description=f"Label minus prediction against the prediction, {len(values)} rows.",
        caption=f"Label minus prediction, a sample of {len(values):,} rows. A good model scatters "
        "evenly about zero.",
    )


def _spread(residuals: Mapping[str, Any], label: str) -> Figure:
    counts = residuals["counts"]
    return draw(
        bars(residuals["edges"], counts, f"Residual of {label}", "Rows"),
        title="Spread of residuals",
        description=f"Histogram of {figure(sum(counts))} residuals, label minus prediction.",
        caption="Right of zero the prediction was too low, left of it too high.",
    )


def _deciles(deciles: Sequence[Mapping[str, Any]], label: str) -> Figure:
    series = [
        (name, [(row["decile"], row[key], _at(row, name, key)) for row in deciles])
        for name, key in (("RMSE", "rmse"), ("MAE", "mae"))
    ]
    places = [row["decile"] for row in deciles]
    ends = {"domain": [min(places), max(places)], "nice": False}
    x = {"scale": ends, "axis": axis("Decile of the prediction", "d", values=places)}
    y = {"axis": axis(f"Error of {label}", form_of(row["rmse"] for row in deciles))}
    return draw(
        lines(series, x, y, dots=True),
        title="Error by decile",
        description="Root mean squared and mean absolute error in each tenth of the rows.",
        caption="Rows in ten equal parts, from the lowest to the highest prediction.",
    )


def _at(row: Mapping[str, Any], name: str, key: str) -> str:
    ends = f"predictions from {figure(row.get('from'))} to {figure(row.get('to'))}"
    return f"decile {row['decile']}, {ends}: {name} {figure(row[key])}"
