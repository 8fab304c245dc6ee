"""Of a search in a fit a few trials are measured, and all of them are planned."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.tree import DecisionTreeClassifier

from distml import session
from distml.data import ByHash, Split, write_shards
from distml.fit import Fit
from distml.fit.few_trials import Ahead, TrialCounter, Trials
from distml.fit.growth import Estimate
from distml.fit.planning import plan_fit
from distml.job import Resources, RunContext
from distml.tune import TuneSearchCV

FOLD, BEST = "trial #, fold # of #", "best configuration, all rows"
SECONDS = {FOLD: Estimate(1.0, 0.5, 2.0), BEST: Estimate(1.0, 0.5, 2.0)}


def ahead(**changes: Any) -> Ahead:
    """Of two trials of three folds, then the best; on two CPUs."""
    units = [(0, FOLD)] * 3 + [(1, FOLD)] * 3 + [(2, BEST)]
    trials = Trials(**({"searches": 1, "wanted": 10, "measured": 2} | changes))
    return Ahead(trials, units, SECONDS, num_cpus=2)


def counted(*events: tuple[str, Mapping[str, Any]]) -> Trials | None:
    counter = TrialCounter()
    for kind, fields in events:
        counter.take(kind, fields)
    return counter.trials


def test_trials_that_were_not_measured_are_counted_in_one_stage() -> None:
    assert ahead().stages() == [[FOLD] * 30, [BEST]]


@pytest.mark.parametrize(
    ("budget_s", "fitting", "num_trials"),
    [(None, None, 10), (7.0, 5, 5), (0.1, 1, 1), (60.0, 40, 10)],
    ids=["none", "less", "one-at-least", "more"],
)
def test_a_time_budget_bounds_the_trials(
    budget_s: float | None, fitting: int | None, num_trials: int
) -> None:
    found = ahead(time_budget_s=budget_s)

    described = found.described()
    assert described is not None
    assert described["fitting"] == fitting
    assert found.num_trials == num_trials
    assert len(found.stages()[0]) == 3 * num_trials


def test_a_trial_takes_what_its_folds_take() -> None:
    described = ahead().described()
    assert described is not None
    assert described["each"] == {"value": 3.0, "low": 1.5, "high": 6.0}


@pytest.mark.parametrize(
    ("changes", "low"),
    [({}, 9.0), ({"may_stop": True}, 9 * (1 - 2 / 3 * 0.8)), ({"wanted": 2}, 9.0)],
    ids=["no-scheduler", "scheduler", "all-measured"],
)
def test_the_range_allows_for_trials_that_are_stopped(changes: dict[str, Any], low: float) -> None:
    assert ahead(**changes).with_stops(Estimate(10.0, 9.0, 11.0)).low == pytest.approx(low)


def test_searches_say_how_many_trials_they_would_try() -> None:
    begun = {"trials": 100, "time_budget_s": 20.0, "may_stop": True}
    heard = counted(("search_started", begun), ("trial_started", {}), ("trial_started", {}))

    assert heard == Trials(searches=1, wanted=100, measured=2, time_budget_s=20.0, may_stop=True)
    assert counted(("plan", {"units": 3})) is None


@pytest.mark.parametrize("search", ["random", "grid"])
def test_a_plan_tries_a_few_configurations_and_counts_all(
    search: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    x = np.random.default_rng(0).normal(size=900)
    table = pa.table({"x": x, "big": x > 0})
    data = write_shards(table, tmp_path_factory.mktemp("data") / "parts", num_shards=1)
    space = {"min_samples_leaf": list(range(1, 31)), "max_depth": [None]}
    estimator = TuneSearchCV(
        DecisionTreeClassifier(), space, num_samples=30, cv=3, search=search, time_budget_s=1e-3
    )
    task = Fit(data=data, label="big", estimator=estimator, split=Split({"test": ByHash(0.2)}))
    context = RunContext(
        run_id="r", run_uri="nowhere", seed=0, resources=Resources(num_cpus=2), emit=print_nothing
    )

    with session.inline():
        plan = plan_fit(task, context, budget_s=0.0)

    trials = plan["trials"]
    assert (trials["trials"], trials["measured"], trials["fitting"]) == (30, 4, 1)
    units = {member["fit"]: member["units"] for member in plan["members"]}
    assert units[FOLD] == 3


def print_nothing(kind: str, **fields: Any) -> None:
    """An event that nobody hears."""
