"""Scores by cross-validation and along a learning curve, from refits of the job's recipe.

Both use training rows to learn from; a fold is scored on the training rows left out, a point of the
curve on the rows it learnt from and on each test set.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from distml.data import fold_rows
from distml.errors import UserError
from distml.fit.evaluation import Question
from distml.fit.recipe import Recipe
from distml.fit.refit import Refit, Refits, carry_out
from distml.fit.tables import Parts

__all__ = ["check_sizes", "cross_validate", "learning_curve", "refits_of_curve", "refits_of_folds"]

_SIZES = (0.1, 0.2, 0.4, 0.7, 1.0)
_MOST_ROWS_SCORED = 20_000

Emit = Callable[..., None]
"""Reports an event."""


def cross_validate(
    question: Question,
    recipe: Recipe,
    parts: Parts,
    columns: Sequence[str],
    *,
    folds: int,
    emit: Emit,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Score the recipe on each fold of the training rows, learnt from the others.

    Folds of a classification have the same share of each class.

    Args:
        question: What is predicted.
        recipe: What to fit.
        parts: The rows.
        columns: The features.
        folds: How many.
        emit: Reports events.
        seconds: What the recipe took to fit on all training rows, if that is known.

    Returns:
        `folds`, and `scores` of each scorer: `folds`, their `mean` and `std`.

    Raises:
        DataError: a class has fewer rows than there are folds.
    """
    refits = refits_of_folds(question, recipe, parts, columns, folds=folds)
    done = carry_out(refits, emit, seconds=_expected(refits, parts, seconds))
    each = {name: [scores["left out"][name] for scores in done] for name in question.metrics}
    return {"folds": folds, "scores": {name: _spread(values) for name, values in each.items()}}


def refits_of_folds(
    question: Question, recipe: Recipe, parts: Parts, columns: Sequence[str], *, folds: int
) -> Refits:
    """What is fitted for a cross-validation; see `cross_validate`."""
    y = parts.y("train")
    strata = None if question.classes is None else y
    left_out = fold_rows(len(y), folds, question.seed, strata=strata)
    each = [
        Refit(
            name=f"cross-validation, fold {number} of {folds}",
            train=np.setdiff1d(np.arange(len(y)), test, assume_unique=True),
            tests={"left out": test},
        )
        for number, test in enumerate(left_out, start=1)
    ]
    rows = parts.whole("train", columns)
    return Refits(recipe=recipe, rows=rows, y=y, metrics=question.metrics, each=each)


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    mean, std = (float(np.mean(known)), float(np.std(known))) if known else (None, None)
    return {"folds": list(values), "mean": mean, "std": std}


def learning_curve(
    question: Question,
    recipe: Recipe,
    parts: Parts,
    columns: Sequence[str],
    *,
    sizes: Sequence[float] | bool,
    emit: Emit,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Score the recipe, by the first scorer, learnt from more and more of the training rows.

    Rows are drawn at random, each size with all rows of the one before; the smallest has every
    class. Sets of more than 20,000 rows are scored on so many.

    Args:
        question: What is predicted.
        recipe: What to fit.
        parts: The rows.
        columns: The features.
        sizes: Numbers of rows, or shares of all training rows up to 1.0; `True` for five shares.
        emit: Reports events.
        seconds: What the recipe took to fit on all training rows, if that is known.

    Returns:
        `metric`, `rows`, and scores of each size: `train`, and `sets` by name.
    """
    refits = refits_of_curve(question, recipe, parts, columns, sizes=sizes)
    done = carry_out(refits, emit, seconds=_expected(refits, parts, seconds))
    metric = question.metrics[0]
    return {
        "metric": metric,
        "rows": [len(refit.train) for refit in refits.each],
        "train": [scores["train"][metric] for scores in done],
        "sets": {name: [scores[name][metric] for scores in done] for name in parts.tests},
    }


def refits_of_curve(
    question: Question,
    recipe: Recipe,
    parts: Parts,
    columns: Sequence[str],
    *,
    sizes: Sequence[float] | bool,
) -> Refits:
    """What is fitted for a learning curve; see `learning_curve`."""
    y = {name: parts.y(name) for name in parts.rows}
    order = _drawn(y["train"], question.classes, question.seed)
    counts = _counts(_SIZES if sizes is True else sizes, len(order), question.classes)
    starts = dict(zip(y, np.cumsum([0, *map(len, y.values())]), strict=False))
    tests = {
        name: starts[name] + _thinned(np.arange(len(y[name])), question.seed)
        for name in parts.tests
    }
    each = [
        Refit(
            name=f"learning curve, {count} rows",
            # In the order they came in: folds of an ensemble may be blocks of it.
            train=np.sort(order[:count]),
            tests={"train": _thinned(order[:count], question.seed), **tests},
        )
        for count in counts
    ]
    rows = pa.concat_tables([parts.whole(name, columns) for name in y])
    labels, metrics = np.concatenate(list(y.values())), question.metrics[:1]
    return Refits(recipe=recipe, rows=rows, y=labels, metrics=metrics, each=each)


def _expected(refits: Refits, parts: Parts, seconds: float | None) -> float | None:
    """Seconds of all refits, in proportion to the rows they learn from."""
    if seconds is None:
        return None
    return seconds * sum(len(refit.train) for refit in refits.each) / len(parts.rows["train"])


def check_sizes(sizes: Sequence[float] | bool) -> None:
    """Refuse sizes of a learning curve that are neither counts nor shares.

    Raises:
        UserError: names the first of them.
    """
    for size in () if isinstance(sizes, bool) else sizes:
        if size <= 0 or (isinstance(size, float) and size > 1 and not size.is_integer()):
            raise UserError(
                f"learning_curve: size {size!r} must be a number of rows or a share up to 1.0"
            )


def _counts(sizes: Sequence[float] | bool, num_rows: int, classes: Any) -> list[int]:
    """Rows of each size, ascending; no fewer than there are classes, no more than rows."""
    assert not isinstance(sizes, bool)
    least = min(num_rows, max(2, len(classes or ())))
    wanted = [round(s * num_rows) if isinstance(s, float) and s <= 1 else int(s) for s in sizes]
    return sorted({int(np.clip(count, least, num_rows)) for count in wanted})


def _drawn(y: np.ndarray, classes: Any, seed: int) -> np.ndarray:
    """All rows in a random order, one of each class first."""
    order = np.random.default_rng([seed, 4]).permutation(len(y))
    if classes is None:
        return order
    first = np.sort(np.unique(y[order], return_index=True)[1])
    return np.concatenate([order[first], np.delete(order, first)])


def _thinned(rows: np.ndarray, seed: int) -> np.ndarray:
    if len(rows) <= _MOST_ROWS_SCORED:
        return rows
    drawn = np.random.default_rng([seed, 5]).choice(len(rows), _MOST_ROWS_SCORED, replace=False)
    return rows[np.sort(drawn)]
