"""Two runs beside each other: what differs, and whether their scores differ by more than chance.

The one decision: it is pure, and believes only what the runs wrote down. The records say what
differs; the evaluations say how far a score would move on other test rows, and from that follows
how far a difference would (see `chance`). What another seed would have changed is not in it.
Refused: runs of different tasks or labels, whose scores mean different things, and one that left
scores or a model beside one that left neither, such as a `Predict`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from distml.errors import UserError
from distml.runs.chance import Basis, Span, interval_of_difference, interval_of_score
from distml.runs.differences import Difference, code_diff, differences, same_rows
from distml.runs.record import RunRecord, RunStatus

__all__ = ["Comparison", "ScoreDifference", "Verdict", "compare"]

Verdict = Literal["equal", "better", "worse", "within chance", "unknown"]
"""What is to be said of B's score beside A's. Scores are scikit-learn's: more is better."""

_DEFAULT_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreDifference:
    """One score of the two final models on one test set."""

    test: str
    """Name of the test set."""
    metric: str
    """scikit-learn's scorer name."""
    a: float | None
    """A's score; `None` if it has none."""
    b: float | None
    """B's score."""
    interval_a: Span | None
    """A's interval, at `Comparison.level`."""
    interval_b: Span | None
    """B's interval."""
    difference: float | None
    """B's score minus A's."""
    interval: Span | None
    """The interval of the difference; `None` where a run has no intervals."""
    basis: Basis | None
    """What that interval rests on: the same resamples, or two independent scores."""

    @property
    def verdict(self) -> Verdict:
        """Whether B is better or worse than A by more than chance."""
        if self.difference is None:
            return "unknown"
        if self.difference == 0:
            return "equal"
        if self.interval is None:
            return "unknown"
        if self.interval[0] <= 0 <= self.interval[1]:
            return "within chance"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What became of B beside A."""

    a: str
    """Id of the first run: the former, or the original."""
    b: str
    """Id of the second run."""
    differences: tuple[Difference, ...]
    """What differs in how they came to be, in the order of the areas."""
    code: str
    """Unified diff of the two job files; empty if they are equal or not known."""
    scores: tuple[ScoreDifference, ...]
    """The final models' scores, by test set."""
    same_rows: bool | None
    """Whether both were tested on the same rows; `None` if that is not known."""
    level: float
    """Level of all intervals, such as 0.95."""
    notes: tuple[str, ...]
    """What a reader has to know to read this, a sentence each."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The areas in which the runs differ, each once; `code` if the job files do."""
        areas = ("code",) if self.code else ()
        return (*areas, *dict.fromkeys(difference.area for difference in self.differences))

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, each score with its verdict."""
        plain = dataclasses.asdict(self)
        for score, written in zip(self.scores, plain["scores"], strict=True):
            written["verdict"] = score.verdict
        return plain


def compare(
    record_a: RunRecord,
    record_b: RunRecord,
    evaluation_a: Mapping[str, Any] | None = None,
    evaluation_b: Mapping[str, Any] | None = None,
    *,
    source_a: str = "",
    source_b: str = "",
) -> Comparison:
    """Compare two runs, finished or not.

    Args:
        record_a: the first run, such as the former one.
        record_b: the second.
        evaluation_a: what its `evaluation.json` says; without it there are no intervals.
        evaluation_b: the same of the second.
        source_a: text of its job file.
        source_b: the same of the second.

    Returns:
        What differs; B's scores beside A's.

    Raises:
        UserError: the runs have different tasks or labels, or only one left scores or a model.
    """
    first, second = evaluation_a or {}, evaluation_b or {}
    _check_same_question(record_a, record_b, first, second)
    level = _level(first, second)
    rows = same_rows(record_a, record_b)
    scores = tuple(_scores(record_a, record_b, first, second, level, rows is True))
    return Comparison(
        a=record_a.run_id,
        b=record_b.run_id,
        differences=tuple(differences(record_a, record_b)),
        code=code_diff(record_a, record_b, source_a, source_b),
        scores=scores,
        same_rows=rows,
        level=level,
        notes=tuple(_notes(record_a, record_b, scores, rows)),
    )


def _check_same_question(
    a: RunRecord, b: RunRecord, first: Mapping[str, Any], second: Mapping[str, Any]
) -> None:
    for name, what in (("task", "task"), ("label", "label")):
        one = first.get(name, a.details.get(name))
        other = second.get(name, b.details.get(name))
        if one is not None and other is not None and one != other:
            raise UserError(
                f"{a.run_id} and {b.run_id} cannot be compared: the {what} is {one!r} in the "
                f"first and {other!r} in the second; compare runs that predict the same"
            )
    if a.status is b.status is RunStatus.SUCCEEDED and _is_judged(a) is not _is_judged(b):
        judged, other = (a, b) if _is_judged(a) else (b, a)
        raise UserError(
            f"{a.run_id} and {b.run_id} cannot be compared: {judged.run_id} has scores or a model, "
            f"{other.run_id} has neither, its task is another; compare runs that predict the same"
        )


def _is_judged(record: RunRecord) -> bool:
    """Whether a run that succeeded left what a comparison is about; one of `Predict` does not."""
    return bool(record.metrics or record.artifacts)


def _level(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    return float(first.get("level") or second.get("level") or _DEFAULT_LEVEL)


def _scores(
    a: RunRecord,
    b: RunRecord,
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    level: float,
    same: bool,
) -> Iterator[ScoreDifference]:
    """The scores of both, test set by test set; those that only one has come too."""
    for test in dict.fromkeys([*a.metrics, *b.metrics]):
        one, other = a.metrics.get(test, {}), b.metrics.get(test, {})
        for metric in dict.fromkeys([*one, *other]):
            difference = _minus(other.get(metric), one.get(metric))
            span, basis = (
                (None, None)
                if difference is None
                else interval_of_difference(
                    difference, first, second, test, metric, level=level, same_rows=same
                )
            )
            yield ScoreDifference(
                test=test,
                metric=metric,
                a=one.get(metric),
                b=other.get(metric),
                interval_a=interval_of_score(first, test, metric),
                interval_b=interval_of_score(second, test, metric),
                difference=difference,
                interval=span,
                basis=basis,
            )


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _notes(
    a: RunRecord, b: RunRecord, scores: Sequence[ScoreDifference], same: bool | None
) -> Iterator[str]:
    for record in (a, b):
        if record.status is not RunStatus.SUCCEEDED:
            yield f"run {record.run_id} is {record.status}: it has no final scores"
    if not any(score.difference is not None for score in scores):
        return
    if same and all(score.basis == "paired" for score in scores):
        yield "both were tested on the same rows, and are compared row by row"
    elif same:
        yield (
            "both were tested on the same rows; the intervals take them as independent, which is "
            "cautious: a difference beyond chance is one"
        )
    elif same is False:
        yield "they were tested on different rows: part of a difference may be the rows"
    else:
        yield "whether they were tested on the same rows is not known"
    if any(s.difference is not None and s.interval is None for s in scores):
        yield "scores without intervals say nothing about chance"
