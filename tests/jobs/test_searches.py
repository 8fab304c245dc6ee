"""The jobs that search, on few rows and with few trials."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

import distml
from distml import session

Jobs = Callable[[str], ModuleType]


def run(job: distml.Job, storage: Path) -> Any:
    # Fits are too short here for Ray, which is tested where searches are.
    with session.inline():
        return distml.run(replace(job, report=False), storage=storage)


def test_a_c_in_the_middle_is_better_than_either_end(load_job: Jobs, tmp_path: Path) -> None:
    done = run(load_job("cv_logistic").job(data=tmp_path / "data"), tmp_path / "runs")

    told = done.record.details["search"]
    assert (told["trials"], told["folds"]) == (13, 3)
    assert 1e-3 < told["params"]["C"] < 1e2
    assert done.metrics["hold_out"]["accuracy"] > 0.93


def test_adult_has_its_rows_and_unknown_values_are_missing(load_job: Jobs) -> None:
    table: pa.Table = load_job("tune_boosting").adult()
    assert (table.num_rows, table.num_columns) == (32_561, 15)
    assert table["workclass"].null_count == 1_836
    assert set(table["income"].to_pylist()) == {"<=50K", ">50K"}


def test_boosting_is_stopped_early_and_still_better_than_guessing(
    load_job: Jobs, tmp_path: Path
) -> None:
    module = load_job("tune_boosting")
    job = module.job(trials=4, rounds=27, rows=2_000, data=tmp_path / "data")
    done = run(job, tmp_path / "runs")

    assert done.record.details["search"]["trials"] == 4
    assert done.metrics["hold_out"]["roc_auc"] > 0.8


def test_a_stack_of_the_best_trials_is_better_than_guessing(load_job: Jobs, tmp_path: Path) -> None:
    module = load_job("tune_then_stack")
    done = run(module.job(trials=2, members=2, rows=800, data=tmp_path / "data"), tmp_path)

    kinds = [row["kind"] for row in done.record.table]
    assert kinds[:3] == ["ensemble", "member", "member"]
    assert done.metrics["hold_out"]["roc_auc"] > 0.8


def test_a_network_is_searched_in_a_process_of_its_own(load_job: Jobs, tmp_path: Path) -> None:
    module = load_job("tune_network")
    done = run(module.job(trials=2, epochs=2, workers=1, data=tmp_path / "data"), tmp_path / "runs")

    told = done.record.details["search"]
    assert told["trials"] == 2
    assert set(told["params"]) == {"lr", "module__channels"}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "metric", "least"),
    [
        ("tune_boosting", "roc_auc", 0.92),
        ("tune_then_stack", "roc_auc", 0.92),
        ("tune_network", "accuracy", 0.9),
    ],
)
def test_in_full_it_scores_what_its_header_says(
    load_job: Jobs, name: str, metric: str, least: float, tmp_path: Path
) -> None:
    done = distml.run(load_job(name).job(data=tmp_path / "data"), storage=tmp_path / "runs")

    assert done.metrics["hold_out"][metric] > least
