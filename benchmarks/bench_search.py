"""Searches beside their peers on 2 CPUs: many cheap trials, and few dear ones that may be stopped.

    cheap   60 configurations of a logistic regression, 5 folds, 5,000 x 20: what a trial costs
            beside its fits. Peers: scikit-learn's RandomizedSearchCV over joblib, and bare Ray
            Tune, a trial of which is a `cross_val_score`.
    dear    40 configurations of XGBoost, 3 folds, 50,000 x 40, up to 120 rounds: ASHA over rounds.
            Peers: the full RandomizedSearchCV, HalvingRandomSearchCV, and Optuna with its pruner.

All pick from the same space. Ray and joblib's workers are started before; nothing is refitted.
"""

import sys
import tempfile
from argparse import Namespace
from typing import Any

import numpy as np
from measure import Figures, compare, median, seconds, table, write
from scipy.stats import loguniform, randint
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    HalvingRandomSearchCV,
    ParameterSampler,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from xgboost import XGBClassifier

from distml import TuneSearchCV, session

CORES = 2
CONTENDERS = {
    "cheap": ("sklearn", "tune", "distml"),
    "dear": ("sklearn", "halving", "optuna", "distml"),
}
ROUNDS = 120
"""Boosting rounds of a trial that is carried to its end."""
SPACES = {
    "cheap": {"C": loguniform(1e-4, 1e2), "tol": loguniform(1e-5, 1e-3)},
    "dear": {
        "max_depth": randint(2, 9),
        "learning_rate": loguniform(5e-3, 0.5),
        "subsample": [0.5, 0.7, 0.9, 1.0],
        "min_child_weight": loguniform(0.5, 50),
    },
}
TRIALS = {"cheap": 60, "dear": 40}


def work(part: str) -> tuple[Any, np.ndarray, np.ndarray, StratifiedKFold]:
    """Estimator, rows, labels, folds."""
    if part == "cheap":
        X, y = make_classification(5_000, 20, n_informative=8, flip_y=0.1, random_state=0)
        return LogisticRegression(max_iter=200), X, y, StratifiedKFold(5)
    X, y = make_classification(
        50_000, 40, n_informative=12, n_clusters_per_class=6, flip_y=0.05, random_state=0
    )
    model = XGBClassifier(n_estimators=ROUNDS, n_jobs=1, tree_method="hist", random_state=0)
    return model, X, y, StratifiedKFold(3)


def sklearn(part: str) -> Figures:
    """All configurations to their end, over joblib's processes."""
    model, X, y, folds = work(part)
    made = RandomizedSearchCV(
        model, SPACES[part], n_iter=TRIALS[part], cv=folds, n_jobs=CORES, refit=False,
        random_state=0,
    )  # fmt: skip
    return timed(clone(made).set_params(n_iter=2), made, X[:500], y[:500], X, y)


def halving(part: str) -> Figures:
    """More rounds for the better third, over joblib's processes."""
    model, X, y, folds = work(part)
    made = HalvingRandomSearchCV(
        model, SPACES[part], n_candidates=TRIALS[part], resource="n_estimators", min_resources=5,
        max_resources=ROUNDS, cv=folds, n_jobs=CORES, refit=False, random_state=0,
    )  # fmt: skip
    return timed(clone(made).set_params(n_candidates=2), made, X[:500], y[:500], X, y)


def ours(part: str) -> Figures:
    """`TuneSearchCV`: all to their end, or ASHA over rounds."""
    model, X, y, folds = work(part)
    made = TuneSearchCV(
        model, SPACES[part], num_samples=TRIALS[part], cv=folds, refit=False, random_state=0,
        scheduler="asha" if part == "dear" else None, keep_predictions=False,
    )  # fmt: skip
    session.connect(CORES)
    figures = timed(clone(made).set_params(num_samples=2), made, X[:500], y[:500], X, y)
    session.disconnect()
    return figures


def timed(small: Any, search: Any, few: Any, labels: Any, X: Any, y: Any) -> dict[str, float]:
    """Start the workers by a small search, then measure the search."""
    small.fit(few, labels)
    figures: dict[str, float] = {}
    with seconds(figures):
        search.fit(X, y)
    return {**figures, "best": float(search.best_score_)}


def tune(part: str) -> Figures:
    """Ray Tune with its defaults; a trial is a `cross_val_score`."""
    import ray
    from ray import tune as ray_tune

    model, X, y, folds = work(part)

    def trial(config: dict[str, Any], X: Any, y: Any) -> dict[str, float]:
        scores = cross_val_score(clone(model).set_params(**config), X, y, cv=folds)
        return {"score": float(scores.mean())}

    configs = list(ParameterSampler(SPACES[part], TRIALS[part], random_state=0))
    session.connect(CORES)
    ray.get(ray.remote(lambda: None).remote())

    def fit(configs: list[dict[str, Any]]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            tuner = ray_tune.Tuner(
                ray_tune.with_parameters(lambda config, X, y: trial(config["it"], X, y), X=X, y=y),
                param_space={"it": ray_tune.grid_search(configs)},
                run_config=ray_tune.RunConfig(storage_path=folder, verbose=0),
            )
            return float(tuner.fit().get_best_result("score", "max").metrics["score"])

    figures: dict[str, float] = {}
    with seconds(figures):
        best = fit(configs)
    session.disconnect()
    return {**figures, "best": best}


def optuna(part: str) -> Figures:
    """Optuna alone: TPE, trials in threads, pruned by successive halving between folds' rounds."""
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    model, X, y, folds = work(part)
    splits = list(folds.split(X, y))

    def objective(trial: Any) -> float:
        config = {
            "max_depth": trial.suggest_int("max_depth", 2, 8),
            "learning_rate": trial.suggest_float("learning_rate", 5e-3, 0.5, log=True),
            "subsample": trial.suggest_categorical("subsample", [0.5, 0.7, 0.9, 1.0]),
            "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 50, log=True),
        }
        fitted: list[Any] = [None] * len(splits)
        done, score = 0, 0.0
        for rounds in (5, 15, 45, ROUNDS):
            scores = []
            for i, (train, test) in enumerate(splits):
                before = fitted[i]
                fitted[i] = clone(model).set_params(**config, n_estimators=rounds - done)
                booster = None if before is None else before.get_booster()
                fitted[i].fit(X[train], y[train], xgb_model=booster)
                scores.append(fitted[i].score(X[test], y[test]))
            done, score = rounds, float(np.mean(scores))
            trial.report(score, rounds)
            if trial.should_prune():
                raise library.TrialPruned
        return score

    study = library.create_study(
        direction="maximize",
        sampler=library.samplers.TPESampler(seed=0),
        pruner=library.pruners.SuccessiveHalvingPruner(min_resource=5, reduction_factor=3),
    )
    figures: dict[str, float] = {}
    with seconds(figures):
        study.optimize(objective, n_trials=TRIALS[part], n_jobs=CORES)
    return {**figures, "best": float(study.best_value)}


MEASURES = {"sklearn": sklearn, "tune": tune, "distml": ours, "halving": halving, "optuna": optuna}


def measure(contender: str, arguments: Namespace) -> Figures:
    """Search once."""
    return MEASURES[contender](arguments.part)


def main() -> None:
    """Print the ratios and write them."""
    part = "dear" if "dear" in sys.argv else "cheap"
    results, arguments = compare(CONTENDERS[part], measure, rounds=3, options={"part": "cheap"})
    taken = {name: median(results, name, "seconds") for name in CONTENDERS[part]}
    best = {name: median(results, name, "best") for name in CONTENDERS[part]}
    ratios = {f"time_of_{name}": taken["distml"] / taken[name] for name in taken}
    ratios["score_of_sklearn"] = best["distml"] / best["sklearn"]
    print(f"{part}: {TRIALS[part]} trials, {CORES} CPUs")
    cells = [(name, taken[name], taken[name] / taken["sklearn"], best[name]) for name in taken]
    print(table(("", "seconds", "of sklearn", "best score"), cells))
    print(write(f"search_{part}", ratios, results, part=arguments.part, trials=TRIALS[part]))


if __name__ == "__main__":
    main()
