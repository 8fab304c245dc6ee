"""Searches as estimators of a fit: what is evaluated and saved is the best model alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from scipy.stats import loguniform
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.tree import DecisionTreeClassifier

import distml
from distml import session
from distml.fit.searches import describe_search, what_predicts

X, Y = make_classification(200, 5, random_state=0)


@pytest.fixture(autouse=True)
def _in_process() -> Iterator[None]:
    with session.inline():
        yield


def table() -> pa.Table:
    return pa.table({**{f"x{n}": X[:, n] for n in range(5)}, "y": Y})


def run(estimator: Any, folder: Path) -> Any:
    data = distml.write_shards(table, folder / "data", num_shards=1, key="searches")
    split = distml.Split({"test": distml.ByHash(0.3)})
    task = distml.Fit(data=data, label="y", estimator=estimator, split=split)
    return distml.run(distml.Job(task=task, report=False), storage=folder / "runs")


@pytest.mark.parametrize("kind", [distml.TuneSearchCV, RandomizedSearchCV], ids=["ours", "theirs"])
def test_the_best_model_is_evaluated_and_saved_and_the_search_told_of(kind, tmp_path):
    search = {} if kind is distml.TuneSearchCV else {"n_iter": 5}
    many = {"num_samples": 5} if kind is distml.TuneSearchCV else {}
    space = {"C": loguniform(1e-3, 1e2)}
    done = run(kind(LogisticRegression(), space, cv=3, **search, **many), tmp_path)

    told = done.record.details["search"]
    assert (told["trials"], told["folds"], told["failed"], told["stopped_early"]) == (5, 3, 0, 0)
    assert 1 <= told["best"] <= 5
    assert done.record.table[0]["model"] == "LogisticRegression"
    # No code of a space or a searcher is needed to load it.
    model = distml.load(Path(done.uri) / "bundle")
    assert told["params"]["C"] == model.estimator.C


def test_a_saved_search_predicts_without_ray(tmp_path):
    grid = {"max_depth": [1, 2]}
    done = run(distml.TuneSearchCV(DecisionTreeClassifier(), grid, search="grid"), tmp_path)
    code = f"""
import sys, distml, pyarrow as pa
model = distml.load({str(Path(done.uri) / "bundle")!r})
print(model.predict(pa.table({{f"x{{n}}": [0.5] for n in range(5)}})), "ray" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith("False")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_trials_that_were_stopped_or_failed_are_counted():
    search = distml.TuneSearchCV(
        DecisionTreeClassifier(),
        {"max_depth": [1, 2, 3, 4, 5, -1]},
        search="grid",
        scheduler="asha",
        cv=4,
        max_concurrent_trials=2,
    )
    search.fit(X, Y)
    told = describe_search(search)
    assert told is not None
    assert told["failed"] == 1
    reasons = list(search.cv_results_["stop_reason"])
    assert told["stopped_early"] == reasons.count("scheduler")


def test_what_is_no_search_is_left_as_it_is():
    tree = DecisionTreeClassifier(max_depth=1).fit(X, Y)
    assert describe_search(tree) is None
    assert what_predicts(tree) is tree


def test_a_search_of_a_search_predicts_by_the_innermost():
    inner = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2)
    outer = GridSearchCV(inner, {"cv": [2, 3]}, cv=2).fit(X, Y)
    assert isinstance(what_predicts(outer), DecisionTreeClassifier)
