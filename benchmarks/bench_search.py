"""Searches beside their peers on 2 CPUs: many cheap trials, and few dear ones that may be stopped.

    cheap   60 configurations of a logistic regression, 5 folds, 5,000 x 20: what a trial costs
            beside its fits. Peers: scikit-learn's RandomizedSearchCV over joblib, and bare Ray
            Tune, a trial of which is a `cross_val_score`.
    dear    40 configurations of XGBoost, 3 folds, 50,000 x 40, up to 300 rounds: ASHA over rounds.
            Peers: the full RandomizedSearchCV, HalvingRandomSearchCV, and Optuna with its pruner.
    memory  16 configurations of XGBoost, 3 folds, 300,000 x 40, eight fits at one time: what the
            search adds at its peak, beside the rows once and what eight fits add by themselves.

All pick from the same space. Ray and joblib's workers are started before; nothing is refitted.
"""

import sys
import tempfile
import time
from argparse import Namespace
from typing import Any

import numpy as np
from measure import Figures, MemoryWatch, compare, median, seconds, table, write
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
from distml.runs.events import use_events

CORES = 2
WIDE = 8
"""Fits at one time where memory is measured."""
CONTENDERS = {
    "memory": ("sklearn", "distml"),
    "cheap": ("sklearn", "tune", "distml"),
    "dear": ("sklearn", "halving", "optuna", "distml"),
}
NEAR = 0.995
"""Of the best score, what is as good."""
ROUNDS = 300
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
SPACES["memory"] = SPACES["dear"]
TRIALS = {"cheap": 60, "dear": 40, "memory": 16}


def work(part: str) -> tuple[Any, np.ndarray, np.ndarray, StratifiedKFold]:
    """Estimator, rows, labels, folds."""
    if part == "cheap":
        X, y = make_classification(5_000, 20, n_informative=8, flip_y=0.1, random_state=0)
        return LogisticRegression(max_iter=200), X, y, StratifiedKFold(5)
    rows, rounds = (50_000, ROUNDS) if part == "dear" else (300_000, 10)
    X, y = make_classification(
        rows, 40, n_informative=12, n_clusters_per_class=6, flip_y=0.05, random_state=0
    )
    model = XGBClassifier(n_estimators=rounds, n_jobs=1, tree_method="hist", random_state=0)
    return model, X, y, StratifiedKFold(3)


def sklearn(part: str) -> Figures:
    """All configurations to their end, over joblib's processes."""
    model, X, y, folds = work(part)
    made = RandomizedSearchCV(
        model, SPACES[part], n_iter=TRIALS[part], cv=folds, n_jobs=cpus(part), refit=False,
        random_state=0,
    )  # fmt: skip
    clone(made).set_params(n_iter=2).fit(X[:500], y[:500])
    return timed(made, X, y)


def cpus(part: str) -> int:
    """Fits at one time."""
    return WIDE if part == "memory" else CORES


def halving(part: str) -> Figures:
    """More rounds for the better third, over joblib's processes."""
    model, X, y, folds = work(part)
    made = HalvingRandomSearchCV(
        model, SPACES[part], n_candidates=TRIALS[part], resource="n_estimators", min_resources=12,
        max_resources=ROUNDS, cv=folds, n_jobs=CORES, refit=False, random_state=0,
    )  # fmt: skip
    clone(made).set_params(n_candidates=2).fit(X[:500], y[:500])
    return timed(made, X, y)


def ours(part: str) -> Figures:
    """`TuneSearchCV`: all to their end, or ASHA over rounds."""
    model, X, y, folds = work(part)
    made = TuneSearchCV(
        model, SPACES[part], num_samples=TRIALS[part], cv=folds, refit=False, random_state=0,
        scheduler="asha" if part == "dear" else None, keep_predictions=False,
    )  # fmt: skip
    session.connect(cpus(part))
    peaks: list[float] = []
    scores: list[tuple[float, float]] = []

    def listen(kind: str, **fields: Any) -> None:
        if kind == "unit_done":
            peaks.append(fields["peak_bytes"] / 1e6)
        elif kind == "trial_reported":
            scores.append((time.perf_counter(), fields["score"]))

    clone(made).set_params(num_samples=WIDE).fit(X[:500], y[:500])
    with use_events(listen):
        begun = time.perf_counter()
        figures = timed(made, X, y)
    session.disconnect()
    enough = NEAR * figures["best"]
    reached = min(at for at, score in scores if score >= enough) - begun
    return {**figures, "reached_s": reached, "rows_mb": X.nbytes / 1e6, "fit_mb": max(peaks)}


def timed(search: Any, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Search once its workers are there."""
    figures: dict[str, float] = {}
    with MemoryWatch() as memory, seconds(figures):
        search.fit(X, y)
    return {**figures, "added_mb": memory.added_mb, "best": float(search.best_score_)}


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
        for rounds in (12, 36, 108, ROUNDS):
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
        pruner=library.pruners.SuccessiveHalvingPruner(min_resource=12, reduction_factor=3),
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
    part = next((part for part in CONTENDERS if part in sys.argv), "cheap")
    results, arguments = compare(CONTENDERS[part], measure, rounds=3, options={"part": "cheap"})
    taken = {name: median(results, name, "seconds") for name in CONTENDERS[part]}
    best = {name: median(results, name, "best") for name in CONTENDERS[part]}
    ratios = {f"time_of_{name}": taken["distml"] / taken[name] for name in taken}
    ratios["score_of_sklearn"] = best["distml"] / best["sklearn"]
    if part == "dear":
        reached = median(results, "distml", "reached_s")
        ratios["reached_of_sklearn"] = reached / taken["sklearn"]
        print(f"distml had {NEAR:.1%} of its best score after {reached:.1f} s")
    if part == "memory":
        rows, fit, added = (median(results, "distml", f"{n}_mb") for n in ("rows", "fit", "added"))
        ratios["added_of_rows_and_fits"] = added / (rows + WIDE * fit)
        ratios["added_of_sklearn"] = added / median(results, "sklearn", "added_mb")
        print(f"added {added:.0f} MB; rows {rows:.0f} MB, a fit {fit:.0f} MB, {WIDE} at one time")
    print(f"{part}: {TRIALS[part]} trials, {cpus(part)} CPUs")
    cells = [(name, taken[name], taken[name] / taken["sklearn"], best[name]) for name in taken]
    print(table(("", "seconds", "of sklearn", "best score"), cells))
    print(write(f"search_{part}", ratios, results, part=arguments.part, trials=TRIALS[part]))


if __name__ == "__main__":
    main()
