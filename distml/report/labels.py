"""Charts of the label's distribution by part, and of the learning curve.

The one decision: parts differ in size, so shares are drawn and not counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from distml.report.curves import lines
from distml.report.numbers import figure, share
from distml.report.vega import COLOURS, Figure, axis, colour_of, draw, form_of, legend_of

__all__ = ["label_figure", "learning_figure"]

_MOST_CLASSES = 20
_MOST_PARTS = len(COLOURS)


def label_figure(parts: Mapping[str, Mapping[str, Any]], label: str) -> Figure | None:
    """How the label is distributed in each part; `None` if nothing is known of it.

    Args:
        parts: part → `counts` of classes, or `histogram` of numbers.
        label: the label with its unit.
    """
    counted = {name: told["counts"] for name, told in parts.items() if told.get("counts")}
    binned = {name: told["histogram"] for name, told in parts.items() if told.get("histogram")}
    if not counted and not binned:
        return None
    chosen = _classes(counted, label) if counted else _histograms(binned, label)
    return draw(
        chosen,
        title=f"Distribution of {label}",
        description=f"Share of rows by {label} in {', '.join(counted or binned)}.",
        caption="Where the parts differ, test rows are not like those trained on.",
        size=(480, 280),
    )


def learning_figure(curve: Mapping[str, Any]) -> Figure:
    """The score over the number of rows trained on."""
    metric, rows = curve["metric"], curve["rows"]
    scores = {"training rows": curve.get("train") or [], **curve["sets"]}
    series = [
        (name, [(n, y, f"{figure(n)} rows: {figure(y)} on {name}") for n, y in _pairs(rows, ys)])
        for name, ys in list(scores.items())[:_MOST_PARTS]
        if ys
    ]
    x = {"scale": {"zero": False, "nice": False}, "axis": axis("Rows trained on", form_of(rows))}
    y = {"scale": {"zero": False}, "axis": axis(metric)}
    return draw(
        lines(series, x, y, dots=True),
        title="Learning curve",
        description=f"{metric} over {len(rows)} numbers of rows trained on.",
        caption="Lines still rising at the right: more data would help.",
        size=(480, 280),
    )


def _pairs(rows: Sequence[int], scores: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(n, y) for n, y in zip(rows, scores, strict=False) if y is not None]


def _classes(counted: Mapping[str, Mapping[str, int]], label: str) -> dict[str, Any]:
    names = list(counted)[:_MOST_PARTS]
    classes = list(dict.fromkeys(one for name in names for one in counted[name]))[:_MOST_CLASSES]
    values = [
        {
            "series": name,
            "x": one,
            "y": part,
            "tip": f"{name}: {one} {share(part)}, {figure(counted[name].get(one, 0))} rows",
        }
        for name in names
        for one in classes
        for part in [counted[name].get(one, 0) / max(1, sum(counted[name].values()))]
    ]
    x = {"field": "x", "type": "nominal", "sort": None}
    legend = {**(legend_of(names) or {}), "symbolType": "square"}
    return {
        "data": {"values": values},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {**x, "axis": axis(label, labelAngle=0 if len(classes) < 6 else -40)},
            "xOffset": {"field": "series", "sort": None},
            "y": {"field": "y", "type": "quantitative", "axis": axis("Share of rows", ".0%")},
            "color": {**colour_of(names), "legend": legend},
            "description": {"field": "tip"},
        },
    }


def _histograms(binned: Mapping[str, Mapping[str, Any]], label: str) -> dict[str, Any]:
    series = [(name, _density(binned[name])) for name in list(binned)[:_MOST_PARTS]]
    form = form_of(edge for one in binned.values() for edge in one["edges"])
    x = {"scale": {"nice": False, "zero": False}, "axis": axis(label, form)}
    drawn = lines(series, x, {"axis": axis("Share of rows", "~p")})
    drawn["layer"][0]["mark"] = {**drawn["layer"][0]["mark"], "interpolate": "step"}
    return drawn


def _density(histogram: Mapping[str, Any]) -> list[tuple[float, float, str]]:
    edges, counts = histogram["edges"], histogram["counts"]
    total = max(1, sum(counts))
    return [
        ((low + high) / 2, n / total, f"{figure(low)} to {figure(high)}: {share(n / total)}")
        for low, high, n in zip(edges, edges[1:], counts, strict=False)
    ]
