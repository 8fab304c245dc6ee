"""What a fitted search leaves: the configuration it chose, and of it what predicts.

The one decision: a search is known by what its fit has left (`best_params_`, `cv_results_`), so
scikit-learn's own are described as well as ours. What predicts is what is evaluated, explained and
saved: a saved model carries no space, searcher or scheduler along.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from distml.runs.strict_json import to_json

__all__ = ["describe_search", "what_predicts"]


def what_predicts(model: BaseEstimator) -> BaseEstimator:
    """The model that a search, or an ensemble made by one, predicts by; any other model itself.

    Args:
        model: Fitted.
    """
    for name in ("best_estimator_", "ensemble_"):
        if name in vars(model):
            return what_predicts(vars(model)[name])
    return model


def describe_search(model: BaseEstimator) -> dict[str, Any] | None:
    """What a search came to, for the run's record.

    Args:
        model: Fitted.

    Returns:
        `metric`, `best` (number of the trial, from 1), `params`, `score` (its mean over the folds),
        `folds`, `trials`, `failed` and `stopped_early` (how many); `None` if it is no search, or
        none that chose by a score.
    """
    search = vars(model).get("search_", model)
    results: Mapping[str, Any] | None = getattr(search, "cv_results_", None)
    if results is None or not hasattr(search, "best_params_"):
        return None
    metric = search.refit if search.multimetric_ else "score"
    scores = np.asarray(results.get(f"mean_test_{metric}", []), dtype=float)
    best = int(search.best_index_)
    failed = int(np.isnan(scores).sum())
    reasons = Counter(results.get("stop_reason", ()))
    return {
        "metric": search.scoring if isinstance(search.scoring, str) else str(metric),
        "mode": "max",
        "best": best + 1,
        "params": to_json(dict(search.best_params_)),
        "score": float(scores[best]) if len(scores) else None,
        "folds": int(search.n_splits_),
        "trials": len(results["params"]),
        "failed": failed,
        "stopped_early": reasons.total() - reasons["completed"] - reasons["failed"],
    }
