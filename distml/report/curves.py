"""Charts of a classifier on one test set: ROC, precision and recall, calibration, thresholds.

The one decision: at most seven classes are drawn, the most frequent first; the tables name all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distml.report.numbers import figure, share
from distml.report.vega import (
    COLOURS,
    DASHES,
    GREY,
    INK,
    Figure,
    axis,
    colour_of,
    draw,
    form_of,
    legend_of,
    thin,
)

__all__ = ["calibration", "classifier_figures", "lines", "pr", "roc", "thresholds"]

_MOST_POINTS = 120
"""Points of a chart that answer when pointed at; a line has at most a third of them."""

_UNIT = {"domain": [0, 1]}

Series = Sequence[tuple[str, Sequence[tuple[float, float, str]]]]
"""Name and points (x, y, what to say when pointed at) of each line."""


def classifier_figures(of_set: Mapping[str, Any]) -> list[Figure]:
    """All charts that a test set of a classifier has data for."""
    makers: dict[str, Callable[[Mapping[str, Any]], list[Figure]]] = {
        "roc": roc,
        "pr": pr,
        "calibration": calibration,
        "thresholds": thresholds,
    }
    return [drawn for part, make in makers.items() if of_set.get(part) for drawn in make(of_set)]


def lines(
    series: Series,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    *,
    below: Sequence[Mapping[str, Any]] = (),
    dots: bool = False,
) -> dict[str, Any]:
    """A Vega-Lite chart of lines that answer when pointed at.

    Args:
        series: the lines.
        x: the horizontal channel without its field.
        y: the vertical channel without its field.
        below: layers beneath the lines.
        dots: whether the points are drawn.
    """
    names = [name for name, _ in series]
    each = {
        "x": {"field": "x", "type": "quantitative", **x},
        "y": {"field": "y", "type": "quantitative", **y},
        "color": colour_of(names),
    }
    dash = {
        "field": "series",
        "scale": {"domain": names, "range": DASHES[: len(names)]},
        "legend": legend_of(names),
    }
    mark = {"type": "line", "aria": False, "strokeWidth": 2}
    path = {
        "data": {"values": _data(series)},
        "mark": mark,
        "encoding": {**each, "strokeDash": dash, "order": {"field": "place"}},
    }
    spots = {
        "data": {"values": _data(series, _MOST_POINTS // max(3, len(series)))},
        "mark": {"type": "circle", "size": 45 if dots else 110, "opacity": 1 if dots else 0},
        "encoding": {**each, "description": {"field": "tip"}},
    }
    return {"layer": [*below, path, spots]}


def roc(of_set: Mapping[str, Any]) -> list[Figure]:
    """True against false positives as the threshold falls."""
    curves = _shown(of_set["roc"], of_set)
    series = [
        (
            _name(curve, "auc", "AUC", curves),
            _points(curve["fpr"], curve["tpr"], "{} of negatives flagged, {} of positives found"),
        )
        for curve in curves
    ]
    x = {"scale": _UNIT, "axis": axis("False positive rate", "~g")}
    y = {"scale": _UNIT, "axis": axis("True positive rate", "~g")}
    return [
        draw(
            lines(series, x, y, below=[_diagonal()]),
            title="ROC curve",
            description=_said(curves, "auc", "area under the curve"),
            caption=_caption(of_set["roc"], curves, "auc", "Area under the curve")
            + " Dashed: guessing.",
        )
    ]


def pr(of_set: Mapping[str, Any]) -> list[Figure]:
    """Precision against recall as the threshold falls."""
    curves = _shown(of_set["pr"], of_set)
    key = "average_precision"
    series = [
        (
            _name(curve, key, "AP", curves),
            _points(curve["recall"], curve["precision"], "recall {}, precision {}"),
        )
        for curve in curves
    ]
    x = {"scale": _UNIT, "axis": axis("Recall", "~g")}
    y = {"scale": _UNIT, "axis": axis("Precision", "~g")}
    frequency = _frequency(of_set, curves)
    guess = [] if frequency is None else [_level(frequency)]
    said = "" if frequency is None else f" Dashed: guessing, {share(frequency)}."
    return [
        draw(
            lines(series, x, y, below=guess),
            title="Precision and recall",
            description=_said(curves, key, "average precision"),
            caption=_caption(of_set["pr"], curves, key, "Average precision") + said,
        )
    ]


def calibration(of_set: Mapping[str, Any]) -> list[Figure]:
    """How often it came true against how likely it was said to be."""
    curves = _shown(of_set["calibration"], of_set)
    series = [(str(curve["class"]), _reliability(curve)) for curve in curves]
    x = {"scale": _UNIT, "axis": axis("Predicted probability", "~g")}
    y = {"scale": _UNIT, "axis": axis("Observed share", "~g")}
    brier = of_set.get("brier")
    said = "" if brier is None else f"Brier score {figure(brier)}. "
    return [
        draw(
            lines(series, x, y, below=[_diagonal()], dots=True),
            title="Calibration",
            description=f"{said}Predicted probability against observed share.",
            caption=f"{said}On the dashed line, predicted probabilities come true as often as they "
            "say.",
        )
    ]


def thresholds(of_set: Mapping[str, Any]) -> list[Figure]:
    """Scores and cost of calling it positive from a probability on."""
    told = of_set["thresholds"]
    rows, best = told["rows"], told.get("best")
    series = [
        (
            name,
            [
                (row["threshold"], row[key], _at(row, name, key))
                for row in rows
                if row[key] is not None
            ],
        )
        for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
    ]
    x = {"scale": _UNIT, "axis": axis("Threshold", "~g")}
    mark = [] if best is None else [_upright(best)]
    drawn = draw(
        lines(series, x, {"scale": _UNIT, "axis": axis("Score", "~g")}, below=mark),
        title="Thresholds",
        description=f"Precision, recall and F1 by threshold. Cheapest threshold {figure(best)}.",
        caption=f"Dashed: the cheapest threshold, {figure(best)}.",
    )
    return [drawn, _cost(rows, best, told.get("cost") or {}, x, mark)]


def _cost(
    rows: Sequence[Mapping[str, Any]],
    best: float | None,
    prices: Mapping[str, Any],
    x: Mapping[str, Any],
    mark: Sequence[Mapping[str, Any]],
) -> Figure:
    points = [(row["threshold"], row["cost"], _at(row, "cost", "cost")) for row in rows]
    y = {"axis": axis("Cost", form_of(row["cost"] for row in rows))}
    missed, alarm = prices.get("false_negative", 1), prices.get("false_positive", 1)
    terms = f"A missed positive costs {missed:g}, a false alarm {alarm:g}."
    return draw(
        lines([("cost", points)], x, y, below=mark),
        title="Cost by threshold",
        description=f"{terms} Cheapest at {figure(best)}.",
        caption=f"{terms} Dashed: the cheapest.",
    )


def _data(series: Series, most: int | None = None) -> list[dict[str, Any]]:
    values = []
    for name, points in series:
        for place, (x, y, tip) in enumerate(thin(points, most) if most else points):
            if x is not None and y is not None:
                values.append({"series": name, "place": place, "x": x, "y": y, "tip": tip})
    return values


def _points(xs: Sequence[float], ys: Sequence[float], words: str) -> list[tuple[float, float, str]]:
    return [(x, y, words.format(share(x), share(y))) for x, y in zip(xs, ys, strict=True)]


def _reliability(curve: Mapping[str, Any]) -> list[tuple[float, float, str]]:
    counts = curve.get("count") or [None] * len(curve["predicted"])
    rows = zip(curve["predicted"], curve["observed"], counts, strict=True)
    return [
        (p, o, f"said {share(p)}, came true {share(o)}, {figure(count)} rows")
        for p, o, count in rows
        if count != 0
    ]


def _shown(curves: Sequence[Mapping[str, Any]], of_set: Mapping[str, Any]) -> list[Any]:
    """The curves of the most frequent classes."""
    support = {str(row["class"]): row["support"] or 0 for row in of_set.get("per_class") or ()}
    order = sorted(curves, key=lambda curve: -support.get(str(curve["class"]), 0))
    chosen = order[: len(COLOURS)]
    return [curve for curve in curves if curve in chosen]


def _name(curve: Mapping[str, Any], key: str, word: str, curves: Sequence[Any]) -> str:
    if len(curves) < 2:
        return str(curve["class"])
    return f"{curve['class']} ({word} {figure(curve.get(key))})"


def _said(curves: Sequence[Mapping[str, Any]], key: str, word: str) -> str:
    each = [f"class {curve['class']}: {word} {figure(curve.get(key))}" for curve in curves]
    return "; ".join(each) + "."


def _caption(
    curves: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]], key: str, word: str
) -> str:
    if len(curves) == 1:
        return f"{word} {figure(curves[0].get(key))}; positive is {curves[0]['class']}."
    if len(shown) < len(curves):
        return f"One line a class, the {len(shown)} most frequent of {len(curves)}."
    return "One line a class."


def _at(row: Mapping[str, Any], name: str, key: str) -> str:
    said = f"threshold {figure(row['threshold'])}: {name} {figure(row[key])}"
    return f"{said}, {figure(row['flagged'])} flagged" if row.get("flagged") is not None else said


def _frequency(of_set: Mapping[str, Any], curves: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of the positive class, which is the precision of guessing."""
    support = {str(row["class"]): row["support"] for row in of_set.get("per_class") or ()}
    if len(curves) != 1 or str(curves[0]["class"]) not in support or not sum(support.values()):
        return None
    return float(support[str(curves[0]["class"])] / sum(support.values()))


def _dashed(data: Sequence[Mapping[str, Any]], kind: str, **encoding: Any) -> dict[str, Any]:
    mark = {"type": kind, "aria": False, "strokeDash": [4, 4], "color": GREY}
    return {"data": {"values": list(data)}, "mark": mark, "encoding": encoding}


def _diagonal() -> dict[str, Any]:
    ends = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    x, y = ({"field": name, "type": "quantitative"} for name in "xy")
    return _dashed(ends, "line", x=x, y=y)


def _level(y: float) -> dict[str, Any]:
    return _dashed([{"y": y}], "rule", y={"field": "y", "type": "quantitative"})


def _upright(x: float) -> dict[str, Any]:
    layer = _dashed([{"x": x}], "rule", x={"field": "x", "type": "quantitative"})
    return {**layer, "mark": {**layer["mark"], "color": INK}}
