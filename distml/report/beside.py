"""Two runs beside each other as one HTML page.

The one decision: what differs and whether it is more than chance is `distml.runs.comparison`'s to
say; here it is laid out, with the curves of both in one chart.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distml.report.content import Content, gather
from distml.report.curves import lines
from distml.report.facts import overview
from distml.report.learning import overlays
from distml.report.numbers import figure, share
from distml.report.page import render
from distml.report.timeline import timelines
from distml.report.training import course_of
from distml.report.vega import Figure, axis, draw, form_of
from distml.runs.comparison import compare
from distml.runs.store import RunStore

__all__ = ["compare_report"]

_UNIT = {"domain": [0, 1]}
_MOST_FEATURES = 15
_CURVES = (
    ("roc", "ROC curve", ("fpr", "False positive rate"), ("tpr", "True positive rate")),
    ("pr", "Precision and recall", ("recall", "Recall"), ("precision", "Precision")),
    (
        "calibration",
        "Calibration",
        ("predicted", "Predicted probability"),
        ("observed", "Observed share"),
    ),
)
"""Part of the evaluation, title, and for both axes the field and what it is."""

_AVERAGED = ("roc", "pr")
_STEPS = 50
"""Of the mean of several classes' curves, from 0 to 1."""


def compare_report(store: RunStore, run_a: str, run_b: str) -> str:
    """Lay two runs out beside each other.

    Args:
        store: where both are.
        run_a: the first run: its id, an unmistakable part of it, or `last`.
        run_b: the second; differences are B minus A.

    Returns:
        HTML text, complete in itself.

    Raises:
        UserError: there is no such run, or the runs have different tasks or labels.
        StorageError: the storage refuses.
    """
    a, b = gather(store, run_a), gather(store, run_b)
    comparison = compare(
        a.record,
        b.record,
        a.evaluation or None,
        b.evaluation or None,
        source_a=a.job_source,
        source_b=b.job_source,
    )
    return render(
        "beside.html",
        runs=(("A", a), ("B", b)),
        overviews=(overview(a), overview(b)),
        comparison=comparison,
        scores=_by_test(comparison.scores),
        figures={name: list(_figures(a, b, name)) for name in a.sets if name in b.sets},
        training=list(_training(a, b)),
        features=_features(a, b),
        timelines=tuple(timelines(c.events, c.record.attempts) for c in (a, b)),
    )


def _training(a: Content, b: Content) -> Iterator[Figure]:
    """Curves of the first network of each, if both have one."""
    courses = {"A": course_of(a), "B": course_of(b)}
    known = {name: course for name, course in courses.items() if course is not None}
    yield from overlays(known)


def _by_test(scores: Sequence[Any]) -> dict[str, list[Any]]:
    by_test: dict[str, list[Any]] = {}
    for score in scores:
        by_test.setdefault(score.test, []).append(score)
    return by_test


def _figures(a: Content, b: Content, test: str) -> Iterator[Figure]:
    """Curves of both runs: of the one class or the mean of all, or the error by decile."""
    pair = {"A": a.sets[test], "B": b.sets[test]}
    for part, title, x, y in _CURVES:
        curves = {name: _of_classes(of_set, part, x[0], y[0]) for name, of_set in pair.items()}
        shared = [one for one in curves["A"] if one in curves["B"]]
        if not shared or (len(shared) > 1 and part not in _AVERAGED):
            continue
        series = [
            (name, _points(*_mean([of_class[one] for one in shared]), x[1].lower(), y[1].lower()))
            for name, of_class in curves.items()
        ]
        channels = [{"scale": _UNIT, "axis": axis(one[1], "~g")} for one in (x, y)]
        mean = f", mean of {len(shared)} classes" if len(shared) > 1 else ""
        yield _drawn(title + mean, test, lines(series, *channels))
    if all(of_set.get("deciles") for of_set in pair.values()):
        errors = {name: _errors(of_set["deciles"]) for name, of_set in pair.items()}
        x_axis = axis("Decile of the prediction", "d", values=[1, 4, 7, 10])
        y_axis = axis(f"RMSE of {a.label}", form_of(y for _, y, _ in errors["A"]))
        ends = {"scale": {"domain": [1, 10]}, "axis": x_axis}
        chart = lines(list(errors.items()), ends, {"axis": y_axis}, dots=True)
        yield _drawn("Error by decile", test, chart)


def _drawn(title: str, test: str, chart: Mapping[str, Any]) -> Figure:
    return draw(chart, title=title, description=f"Run A and run B on {test}.")


def _errors(deciles: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, str]]:
    return [
        (row["decile"], row["rmse"], f"decile {row['decile']}: RMSE {figure(row['rmse'])}")
        for row in deciles
    ]


Curve = tuple[Sequence[float], Sequence[float]]
"""Where its points are, to the right and up."""


def _of_classes(of_set: Mapping[str, Any], part: str, x: str, y: str) -> dict[str, Curve]:
    """Class → its curve; without classes that have none, since no row is of them or all are."""
    curves = of_set.get(part) or ()
    return {str(curve["class"]): (curve[x], curve[y]) for curve in curves if curve[x]}


def _mean(curves: Sequence[Curve]) -> Curve:
    """One curve as it is; of several the mean height at even steps."""
    if len(curves) == 1:
        return curves[0]
    places = [step / _STEPS for step in range(_STEPS + 1)]
    sorted_by_place = [sorted(zip(*curve, strict=True)) for curve in curves]
    heights = [[_height(points, place) for place in places] for points in sorted_by_place]
    return places, [sum(each) / len(each) for each in zip(*heights, strict=True)]


def _height(points: Sequence[tuple[float, float]], place: float) -> float:
    """Height of a line through points that are sorted; the upper end where it is upright."""
    behind = bisect_right(points, (place, math.inf))
    if behind == 0:
        return points[0][1]
    (x, y), after = points[behind - 1], points[behind:]
    if not after or x == place:
        return y
    further, height = after[0]
    return y + (height - y) * (place - x) / (further - x)


def _points(
    xs: Sequence[float], ys: Sequence[float], x: str, y: str
) -> list[tuple[float, float, str]]:
    return [
        (one, other, f"{x} {share(one)}, {y} {share(other)}")
        for one, other in zip(xs, ys, strict=True)
    ]


def _features(a: Content, b: Content) -> list[tuple[str, str, str]]:
    """Importance of input columns in both, the most important first."""
    told = [content.evaluation.get("importance") or {} for content in (a, b)]
    means = [{one["feature"]: one["mean"] for one in t.get("features", ())} for t in told]
    if not all(means):
        return []
    names = sorted({*means[0], *means[1]}, key=lambda n: -max(m.get(n) or 0.0 for m in means))
    return [
        (name, figure(means[0].get(name)), figure(means[1].get(name)))
        for name in names[:_MOST_FEATURES]
    ]
