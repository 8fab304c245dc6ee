"""How far a score may be off by chance: percentile bootstrap over the rows of a test set.

Rows are drawn with replacement, 200 times, the same for every model, so that differences between
models are paired (Efron & Tibshirani 1993, chapters 13 and 16). One decision: the cost is bounded.
Scores with a formula (see `weighted`) are resampled on at most 20,000 rows; all others, each of
which scikit-learn has to compute 200 times, on at most 2,000. The width is then scaled by the root
of the share of rows, as an interval's width goes with it (m out of n: Bickel, Götze & van Zwet
1997). Resamples in which a score is not defined, such as one without any positive row, are left
out. Only the rows are drawn: what another training set or seed would have changed is not in it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from distml.fit.evaluate import score, scores
from distml.fit.predictions import Predictions
from distml.fit.weighted import formula

__all__ = ["LEVEL", "MOST_ROWS", "Bootstrap", "Interval"]

Interval = dict[str, float | None]
"""`value`, `low` and `high`."""

LEVEL = 0.95
"""Share of resamples inside an interval."""

MOST_ROWS = 20_000
"""Rows that are resampled at most."""

_RESAMPLES = 200
_MOST_ROWS_SCORED_ANEW = 2_000
_CELLS_AT_ONCE = 1 << 15
"""Resamples times rows that are counted at once: 256 KiB, which stay in the cache."""

Pair = tuple[str, str]
"""A model and a scorer."""


class Bootstrap:
    """Scores of several models by several scorers, with what resampling makes of them.

    Args:
        predicted: Model → its predictions of n_rows rows.
        y: Array of shape (n_rows,).
        metrics: scikit-learn's scorer names.
        seed: What the draws come from.
        most_rows: Resample no more rows by formulas.

    Attributes:
        values: Model → scorer → score of all rows.
    """

    def __init__(
        self,
        predicted: Mapping[str, Predictions],
        y: np.ndarray,
        metrics: Sequence[str],
        seed: int,
        *,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self.values = {model: scores(metrics, said, y) for model, said in predicted.items()}
        pairs = [(model, name) for model, by in self.values.items() for name in by]
        pairs = [(model, name) for model, name in pairs if self.values[model][name] is not None]
        self._deviations = _by_formulas(pairs, predicted, y, seed, most_rows)
        anew = [pair for pair in pairs if pair not in self._deviations]
        self._deviations |= _scored_anew(anew, predicted, y, seed)

    def interval(self, model: str, metric: str) -> Interval:
        """The interval of a model's score; `None` for what is not defined."""
        value = self.values[model][metric]
        if value is None:
            return {"value": None, "low": None, "high": None}
        return _interval(value, self._deviations[model, metric])

    def difference(self, model: str, other: str, metric: str) -> Interval:
        """The interval of how much better a model is than another, on the same rows."""
        value, reference = self.values[model][metric], self.values[other][metric]
        if value is None or reference is None:
            return {"value": None, "low": None, "high": None}
        paired = self._deviations[model, metric] - self._deviations[other, metric]
        return _interval(value - reference, paired)

    def draws(self, model: str, metric: str) -> list[float]:
        """By how much the score of each resample differs; another run on the same rows pairs them.

        Empty for what is not defined.
        """
        return (
            [] if self.values[model][metric] is None else self._deviations[model, metric].tolist()
        )


def _interval(value: float, deviations: np.ndarray) -> Interval:
    deviations = deviations[np.isfinite(deviations)]
    if not len(deviations):
        return {"value": value, "low": None, "high": None}
    low, high = np.quantile(deviations, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": value, "low": value + float(low), "high": value + float(high)}


def _by_formulas(
    pairs: Iterable[Pair],
    predicted: Mapping[str, Predictions],
    y: np.ndarray,
    seed: int,
    most_rows: int,
) -> dict[Pair, np.ndarray]:
    """By how much the score of each resample differs, of the scores that have a formula."""
    rows = _some(len(y), most_rows, seed)
    part = {model: said.take(rows) for model, said in predicted.items()}
    formulas = {
        (model, name): made
        for model, name in pairs
        if (made := formula(name, part[model], y[rows])) is not None
    }
    whole = np.ones((1, len(rows)))
    drawn: dict[Pair, list[np.ndarray]] = {
        pair: [made.scores(whole)] for pair, made in formulas.items()
    }
    for counts in _counts(len(rows), seed) if formulas else ():
        for pair, made in formulas.items():
            drawn[pair].append(made.scores(counts))
    return {
        pair: _scaled(np.concatenate(parts), len(rows), len(y)) for pair, parts in drawn.items()
    }


def _scored_anew(
    pairs: Sequence[Pair], predicted: Mapping[str, Predictions], y: np.ndarray, seed: int
) -> dict[Pair, np.ndarray]:
    """The same, of the scores that scikit-learn has to compute for each resample."""
    rows = _some(len(y), _MOST_ROWS_SCORED_ANEW, seed)
    generator = np.random.default_rng([seed, 2])
    resamples = [rows[generator.integers(len(rows), size=len(rows))] for _ in range(_RESAMPLES)]
    deviations = {}
    for model, name in pairs:
        drawn = [score(name, predicted[model], y, some) for some in (rows, *resamples)]
        values = np.array([math.nan if value is None else value for value in drawn])
        deviations[model, name] = _scaled(values, len(rows), len(y))
    return deviations


def _scaled(scores: np.ndarray, num_drawn: int, num_rows: int) -> np.ndarray:
    """Scores less the first of them, as wide as they would be for all rows."""
    return (scores[1:] - scores[0]) * math.sqrt(num_drawn / num_rows)


def _some(num_rows: int, most: int, seed: int) -> np.ndarray:
    """All rows or, if they are too many, some drawn at random."""
    if num_rows <= most:
        return np.arange(num_rows)
    return np.random.default_rng([seed, 0]).choice(num_rows, most, replace=False, shuffle=False)


def _counts(num_rows: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn: arrays of shape (some of the resamples, num_rows), float64."""
    generator = np.random.default_rng([seed, 1])
    at_once = max(1, min(_RESAMPLES, _CELLS_AT_ONCE // num_rows))
    for start in range(0, _RESAMPLES, at_once):
        draws = [
            np.bincount(generator.integers(num_rows, size=num_rows), minlength=num_rows)
            for _ in range(min(at_once, _RESAMPLES - start))
        ]
        yield np.array(draws, dtype=np.float64)
