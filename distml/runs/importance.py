"""How much each parameter of a search matters: the share of the variance of scores it explains.

Functional ANOVA as of Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing
hyperparameter importance" (2014): a forest learns the scores from the parameters, and of each
parameter the variance of its marginal, the forest's mean over all others, is held against that of
the forest. The one decision: how far a trial came is a parameter like any other, since a score of a
trial that was stopped is one of fewer rounds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["importances"]

_FEWEST = 8
"""Trials of which nothing is said."""
_BACKGROUND = 200
_GRID = 24


def importances(
    configs: Sequence[Mapping[str, Any]], scores: Sequence[float], seed: int = 0
) -> dict[str, float]:
    """Shares of the variance that single parameters explain, the largest first.

    Args:
        configs: parameter → value of each trial; one may lack parameters that others have.
        scores: of the trials.
        seed: of the forest.

    Returns:
        Parameter → share from 0 to 1; what is left of 1 is by parameters together. Parameters that
        do not vary are left out. Empty where there are too few trials, or all scores are the same.

    Raises:
        Nothing.
    """
    columns = {
        name: _numbers([config.get(name) for config in configs], scores)
        for name in dict.fromkeys(name for config in configs for name in config)
    }
    columns = {name: column for name, column in columns.items() if len(_values(column)) > 1}
    if len(scores) < _FEWEST or not columns or np.ptp(scores) == 0:
        return {}
    # Only here: a report of a run without a search does not need it.
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(100, min_samples_leaf=2, random_state=seed)
    X = np.column_stack(list(columns.values()))
    forest.fit(X, np.asarray(scores, dtype=float))
    rng = np.random.default_rng(seed)
    background = np.column_stack([rng.choice(column, _BACKGROUND) for column in X.T])
    whole = float(np.var(forest.predict(background)))
    if whole == 0:
        return {}
    shares = {
        name: min(1.0, _marginal(forest, background, place, X[:, place]) / whole)
        for place, name in enumerate(columns)
    }
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _marginal(forest: Any, background: np.ndarray, place: int, column: np.ndarray) -> float:
    """Variance of the mean prediction over the values of one column."""
    values = np.sort(column)[np.linspace(0, len(column) - 1, _GRID).round().astype(int)]
    rows = np.repeat(background[None], len(values), axis=0)
    rows[:, :, place] = values[:, None]
    predicted = forest.predict(rows.reshape(-1, background.shape[1]))
    return float(np.var(predicted.reshape(len(values), -1).mean(axis=1)))


def _numbers(values: Sequence[Any], scores: Sequence[float]) -> np.ndarray:
    """A column that a forest can split: numbers as they are, other values by their mean score."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    names = [repr(value) for value in values]
    means = {
        name: float(np.mean([s for n, s in zip(names, scores, strict=True) if n == name]))
        for name in names
    }
    place = {name: number for number, name in enumerate(sorted(means, key=lambda n: means[n]))}
    return np.array([float(place[name]) for name in names])


def _values(column: np.ndarray) -> np.ndarray:
    return np.unique(column)
