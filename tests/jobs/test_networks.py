"""The jobs whose models are networks, on few rows or for few epochs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import distml

Jobs = Callable[[str], ModuleType]


def score(job: distml.Job, storage: Path, part: str, metric: str) -> float:
    done = distml.run(replace(job, report=False), storage=storage)
    return float(done.metrics[part][metric])


@pytest.mark.parametrize(
    ("name", "parameters", "part", "metric", "least"),
    [
        ("digits_cnn", {"epochs": 8}, "hold_out", "accuracy", 0.9),
        ("sequence_rnn", {"epochs": 15}, "test", "accuracy", 0.7),
        ("autoencoder_anomaly", {"epochs": 15}, "hold_out", "roc_auc", 0.85),
        pytest.param(
            *("text_attention", {"rows": 800, "epochs": 1}, "hold_out", "accuracy", 0.4),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["images", "sequences", "anomalies", "text"],
)
def test_a_short_training_is_already_better_than_guessing(
    load_job: Jobs,
    name: str,
    parameters: dict[str, int],
    part: str,
    metric: str,
    least: float,
    tmp_path: Path,
) -> None:
    job = load_job(name).job(**parameters, data=tmp_path / "data")

    assert score(job, tmp_path / "runs", part, metric) > least


def test_flights_are_read_as_they_are(load_job: Jobs, tmp_path: Path) -> None:
    job = load_job("flights_mlp").job(rows=10_000, epochs=3, data=tmp_path / "flights")

    assert score(job, tmp_path / "runs", "hold_out", "roc_auc") > 0.55


@pytest.mark.slow
def test_flights_stream_in_a_tenth_of_the_memory_they_take(load_job: Jobs, tmp_path: Path) -> None:
    job = load_job("flights_mlp").job(epochs=1, memory_mb=8, data=tmp_path / "flights")

    assert score(job, tmp_path / "runs", "last_two_months", "roc_auc") > 0.66


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part", "metric", "least"),
    [
        ("digits_cnn", "hold_out", "accuracy", 0.97),
        pytest.param("sequence_rnn", "test", "accuracy", 0.96, marks=pytest.mark.long),
        pytest.param("autoencoder_anomaly", "hold_out", "roc_auc", 0.975, marks=pytest.mark.long),
        pytest.param("flights_mlp", "last_two_months", "roc_auc", 0.69, marks=pytest.mark.long),
    ],
)
def test_in_full_it_scores_what_its_header_says(
    load_job: Jobs, name: str, part: str, metric: str, least: float, tmp_path: Path
) -> None:
    job = load_job(name).job(data=tmp_path / "data")

    assert score(job, tmp_path / "runs", part, metric) > least
