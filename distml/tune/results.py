"""`cv_results_` of a search: scikit-learn's own table, and what is known of trials that stopped.

The one decision: scikit-learn makes the table. A trial that was stopped lacks folds, or has come
less far than others; its row says so, and it ranks behind all that came further, since their scores
are not scores of the same thing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)

from distml.errors import MemberError
from distml.tune.folds import FoldScore
from distml.tune.trials import Trial

__all__ = ["SearchFailedError", "table"]

_Row = list[dict[str, Any] | None]


class SearchFailedError(MemberError, ValueError):
    """All fits of a search failed.

    Args:
        message: In scikit-learn's words, with the traceback of each kind of failure.
        line: In one line.
    """

    def __init__(self, message: str, line: str) -> None:
        super().__init__(message)
        self._line = line

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchFailedError, (*self.args, self._line)

    @property
    def line(self) -> str:
        """See `DistmlError`."""
        return self._line


def table(
    search: BaseSearchCV, trials: Sequence[Trial], num_splits: int, *, in_steps: bool
) -> dict[str, Any]:
    """The results of a search.

    Args:
        search: Whose parameters say how to score failures and which scores to keep.
        trials: Its trials; each has at least one fold.
        num_splits: Folds of each.
        in_steps: Whether trials may have been stopped: adds `n_resources` and `stop_reason`, and
            ranks by how far a trial has come first.

    Raises:
        SearchFailedError: every fit failed, in scikit-learn's words.
    """
    rows = [_row(trial, num_splits) for trial in trials]
    done = [fold for row in rows for fold in row if fold is not None]
    try:
        _warn_or_raise_about_fit_failures(done, search.error_score)
    except ValueError as error:
        first = next(fold["fit_error"] for fold in done if fold["fit_error"])
        why = first.strip().splitlines()[-1]
        line = f"all {len(trials)} trials failed; the first: {why}"
        raise SearchFailedError(str(error), line) from None
    if callable(search.scoring):
        _insert_error_scores(done, search.error_score)
    whole = [fold for row in rows for fold in _filled(row)]
    more = {
        "n_resources": [trial.step for trial in trials],
        "stop_reason": [str(trial.reason) for trial in trials],
    }
    configs = [dict(trial.config) for trial in trials]
    results: dict[str, Any] = search._format_results(
        configs, num_splits, whole, more if in_steps else None
    )
    if in_steps:
        _blank(results, np.array([[fold is None for fold in row] for row in rows]))
        _rank(results, np.array([trial.step for trial in trials]))
    return results


def _row(trial: Trial, num_splits: int) -> _Row:
    """Each fold of a trial as scikit-learn's `_fit_and_score` gives it; `None`: not done."""
    folds = [trial.folds.get(number) for number in range(num_splits)]
    return [None if fold is None else _as_dict(fold) for fold in folds]


def _as_dict(fold: FoldScore) -> dict[str, Any]:
    return {
        "test_scores": fold.test,
        "train_scores": fold.test if fold.error is not None else fold.train,
        "fit_time": fold.fit_s,
        "score_time": fold.score_s,
        "fit_error": fold.error,
    }


def _filled(row: _Row) -> list[dict[str, Any]]:
    """The row with means in the place of folds that were not done.

    So the means are those of the folds that were, and nothing warns of scores that are missing.
    """
    done = [fold for fold in row if fold is not None]
    if len(done) == len(row):
        return done
    kinds = ("test_scores", "train_scores", "fit_time", "score_time")
    mean = {kind: _mean([fold[kind] for fold in done]) for kind in kinds}
    return [mean | {"fit_error": None} if fold is None else fold for fold in row]


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return {name: _mean([value[name] for value in values]) for name in first}
    return None if first is None else float(np.mean(values))


def _blank(results: dict[str, Any], missing: np.ndarray) -> None:
    """Take the means out again, and correct the deviations.

    Args:
        results: The table.
        missing: Boolean array of shape (n_trials, n_splits).
    """
    for name in [name for name in results if name.startswith("split0_")]:
        kind = name.removeprefix("split0_")
        columns = [f"split{split}_{kind}" for split in range(missing.shape[1])]
        scores = np.ma.array(np.stack([results[column] for column in columns], 1), mask=missing)
        results[f"std_{kind}"] = scores.std(axis=1).filled(np.nan)
        for split, column in enumerate(columns):
            results[column] = scores[:, split].filled(np.nan)


def _rank(results: dict[str, Any], steps: np.ndarray) -> None:
    """Rank by step first, then by score; what has no score ranks last.

    Args:
        results: The table.
        steps: Integer array of shape (n_trials,).
    """
    for name in [name for name in results if name.startswith("rank_")]:
        scores = results[name.replace("rank_", "mean_", 1)]
        keys = [
            _UNSCORED if np.isnan(score) else (int(step), float(score))
            for step, score in zip(steps, scores, strict=True)
        ]
        first: dict[tuple[int, float], int] = {}
        for rank, key in enumerate(sorted(keys, reverse=True), start=1):
            first.setdefault(key, rank)
        results[name] = np.array([first[key] for key in keys], dtype=np.int32)


_UNSCORED = (-1, 0.0)
