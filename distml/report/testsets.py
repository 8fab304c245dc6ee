"""One test set of a run, ready to be laid out: scores, curves, confusion, slices.

The one decision: what the evaluation has no data for is empty here, and the page leaves it out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.report.content import Content
from distml.report.curves import classifier_figures
from distml.report.numbers import figure, interval, signed
from distml.report.residuals import regressor_figures
from distml.report.scores import ScoreTable, difference_table, score_table, slice_table
from distml.report.vega import Figure, thin

__all__ = ["Confusion", "EvaluatedSet", "Headline", "evaluated_sets", "headlines"]

_MOST_CLASSES = 30
"""Classes of a confusion matrix; of more, the most frequent confusions are listed."""

_MOST_THRESHOLDS = 11

_MOST_ROWS = 100
"""Classes of the table by class; of more, the most frequent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """The first score of the final model on a test set."""

    test: str
    """Name of the set."""
    metric: str
    """Name of the scorer."""
    value: str
    """The score."""
    range: str
    """Its interval."""
    beside: str
    """How it compares with the best baseline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """True classes against predicted ones."""

    labels: tuple[str, ...]
    """Classes; empty if there are too many for a matrix."""
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]
    """True class and, for each predicted class, the rows and their share of the true class."""
    worst: tuple[tuple[str, str, int, float], ...]
    """True class, predicted class, rows and share, of the most frequent confusions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedSet:
    """What is known of the models on one test set."""

    name: str
    """Of the set."""
    rows: int | None
    """How many."""
    scores: ScoreTable
    """All models."""
    differences: ScoreTable
    """The final model minus each other."""
    figures: tuple[Figure, ...]
    """Curves or residuals."""
    confusion: Confusion | None
    """Of a classifier."""
    per_class: Sequence[Mapping[str, Any]]
    """Precision, recall, F1 and support."""
    num_classes: int
    """How many there are; more than in `per_class` if some are left out."""
    averages: Mapping[str, Mapping[str, Any]]
    """`micro` and `macro`."""
    thresholds: Sequence[Mapping[str, Any]]
    """Rows of the threshold table, not too many, the best among them."""
    best: float | None
    """The cheapest threshold."""
    deciles: Sequence[Mapping[str, Any]]
    """Of a regressor."""
    slices: Mapping[str, ScoreTable]
    """Column → the final model's scores by its values."""
    moved: Sequence[Mapping[str, Any]]
    """Columns whose values have moved since the model was fitted, the farthest first."""
    num_compared: int
    """Columns that were compared with those of the training rows; 0 if none were."""


def evaluated_sets(content: Content) -> Iterator[EvaluatedSet]:
    """All test sets of a run, in their order."""
    for name, told in content.sets.items():
        thresholds = told.get("thresholds") or {}
        drift = [row for side in (told.get("drift") or {}).values() for row in side]
        yield EvaluatedSet(
            name=name,
            rows=told.get("rows"),
            scores=score_table(content, told),
            differences=difference_table(content, told),
            figures=(*classifier_figures(told), *regressor_figures(told, content.label)),
            confusion=_confusion(told.get("confusion")),
            per_class=_frequent(told.get("per_class") or ()),
            num_classes=len(told.get("per_class") or ()),
            averages=told.get("averages") or {},
            thresholds=_chosen(thresholds.get("rows") or (), thresholds.get("best")),
            best=thresholds.get("best"),
            deciles=told.get("deciles") or (),
            slices={name: slice_table(rows) for name, rows in (told.get("slices") or {}).items()},
            moved=_farthest(drift),
            num_compared=len(drift),
        )


def _farthest(drift: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    moved = [row for row in drift if row["moved"] != "no"]
    return sorted(moved, key=lambda row: -row["psi"])[:_MOST_ROWS]


def headlines(content: Content) -> list[Headline]:
    """The first score of the final model on each test set."""
    found = []
    for test, told in content.sets.items():
        scores = (told.get("scores") or {}).get(content.model) or {}
        metric = next(iter(scores), None)
        if metric is None or scores[metric].get("value") is None:
            continue
        found.append(
            Headline(
                test=test,
                metric=metric,
                value=figure(float(scores[metric]["value"])),
                range=interval(scores[metric]),
                beside=_beside(content, told, metric),
            )
        )
    return found


def _beside(content: Content, told: Mapping[str, Any], metric: str) -> str:
    """The best baseline and how far it is away; scikit-learn's scorers are larger when better."""
    kinds = {str(row.get("model")): row.get("kind") for row in content.record.table}
    baselines = {
        name: scores[metric]["value"]
        for name, scores in told["scores"].items()
        if kinds.get(name) == "baseline" and (scores.get(metric) or {}).get("value") is not None
    }
    if not baselines:
        return ""
    best = max(baselines, key=lambda name: baselines[name])
    difference = ((told.get("differences") or {}).get(best) or {}).get(metric) or {}
    gap = difference.get("value", told["scores"][content.model][metric]["value"] - baselines[best])
    ends = interval(difference)
    return f"{signed(gap)}{f' ({ends})' if ends else ''} against baseline {best}"


def _frequent(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if len(rows) <= _MOST_ROWS:
        return rows
    return sorted(rows, key=lambda row: -(row.get("support") or 0))[:_MOST_ROWS]


def _confusion(told: Mapping[str, Any] | None) -> Confusion | None:
    if not told or not told.get("counts"):
        return None
    labels = [str(label) for label in told["labels"]]
    rows = [
        (label, tuple((count, count / max(1, sum(counts))) for count in counts))
        for label, counts in zip(labels, told["counts"], strict=True)
    ]
    if len(labels) <= _MOST_CLASSES:
        return Confusion(labels=tuple(labels), rows=tuple(rows), worst=())
    wrong = [
        (true, labels[place], count, share)
        for true, cells in rows
        for place, (count, share) in enumerate(cells)
        if labels[place] != true and count
    ]
    worst = sorted(wrong, key=lambda one: -one[2])[:_MOST_CLASSES]
    return Confusion(labels=(), rows=(), worst=tuple(worst))


def _chosen(rows: Sequence[Mapping[str, Any]], best: float | None) -> list[Mapping[str, Any]]:
    """Rows of the threshold table evenly spread, and the cheapest."""
    chosen = thin(rows, _MOST_THRESHOLDS)
    chosen += [row for row in rows if row["threshold"] == best and row not in chosen]
    return sorted(chosen, key=lambda row: float(row["threshold"]))
