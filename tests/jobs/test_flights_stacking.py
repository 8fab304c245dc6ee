"""The main job: nothing it learns from is known only after departure."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import distml

# What the source tables know only once the aircraft has left.
AFTER_DEPARTURE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}

# The best single feature, the scheduled time of departure, reaches .63. The departure delay alone
# would reach .93.
MAX_SINGLE_FEATURE_AUC = 0.7


@pytest.fixture(scope="session")
def flights(flights_job: ModuleType) -> pa.Table:
    table: pa.Table = flights_job.flights()
    return table


def test_rows_are_the_flights_with_a_known_arrival(flights: pa.Table) -> None:
    assert flights.num_rows == 327_346
    assert round(np.mean(flights["late"]), 3) == 0.237


def test_every_column_is_an_identity_a_feature_or_the_label(
    flights: pa.Table, flights_job: ModuleType
) -> None:
    expected = [*flights_job.IDENTITY, *flights_job.FEATURES, flights_job.LABEL]
    assert flights.column_names == expected
    assert AFTER_DEPARTURE.isdisjoint(expected)


def test_no_feature_tells_the_label_by_itself(flights: pa.Table, flights_job: ModuleType) -> None:
    late = flights["late"].to_numpy()
    scores = {name: _auc(flights[name], late) for name in flights_job.FEATURES}
    assert {name: score for name, score in scores.items() if score > MAX_SINGLE_FEATURE_AUC} == {}


def test_bound_on_single_features_would_notice_a_leak(flights_job: ModuleType) -> None:
    source = flights_job._read("flights.csv.zip")
    source = source.filter(source["arr_delay"].is_valid())
    late = source["arr_delay"].to_numpy() > flights_job.LATE_MINUTES
    assert _auc(source["dep_delay"], late) > MAX_SINGLE_FEATURE_AUC


def test_all_features_together_know_nothing_of_shuffled_labels(
    flights: pa.Table, flights_job: ModuleType
) -> None:
    random = np.random.default_rng(0)
    rows = random.permutation(flights.num_rows)[:40_000]
    sample = flights.take(rows)
    X = np.column_stack([_numbers(sample[name]) for name in flights_job.FEATURES])
    y = random.permutation(sample["late"].to_numpy())
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(X[:20_000], y[:20_000])
    score = roc_auc_score(y[20_000:], model.predict_proba(X[20_000:])[:, 1])
    assert abs(score - 0.5) < 0.02


def test_order_of_rows_is_the_same_each_time(flights: pa.Table, flights_job: ModuleType) -> None:
    assert flights_job.flights().equals(flights)


def test_job_has_both_test_sets_and_keeps_days_out_of_the_features(
    flights_job: ModuleType, tmp_path: Path
) -> None:
    job = flights_job.job(rows=1000, cv=2, data=tmp_path / "flights")
    assert job.task.split.names == ("train", "last_two_months", "hold_out")
    assert len(distml.ShardedDataset.open(tmp_path / "flights").shards) == 8


def _auc(column: pa.ChunkedArray, late: np.ndarray) -> float:
    """How well a column orders the rows by lateness, in whichever direction."""
    if pa.types.is_string(column.type):
        names = np.asarray(column.fill_null("").dictionary_encode().combine_chunks().indices)
        values = (np.bincount(names, late) / np.bincount(names))[names]
    else:
        values = _numbers(column)
    score = roc_auc_score(late, np.nan_to_num(values, nan=-1.0))
    return max(score, 1 - score)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_string(column.type):
        return np.asarray(column.fill_null("").dictionary_encode().combine_chunks().indices, float)
    return column.cast(pa.float64()).to_numpy()
