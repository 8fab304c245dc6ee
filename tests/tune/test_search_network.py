"""Trials that have workers of their own: two of Ray Train each, on two CPUs."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

from distml import MLP, NeuralClassifier, TuneSearchCV, session
from distml.errors import UserError

X, Y = make_classification(200, 8, random_state=0)
HOLD_OUT = [(np.arange(150), np.arange(150, 200))]


def search(num_workers: int, epochs: int = 3, rates: int = 3) -> TuneSearchCV:
    network = NeuralClassifier(
        MLP(hidden=(8,)), epochs=epochs, num_workers=num_workers, batch_size=32, random_state=0
    )
    return TuneSearchCV(
        network,
        {"lr": [1e-2, 1e-6, 1e-7][:rates]},
        search="grid",
        scheduler="asha",
        cv=HOLD_OUT,
        refit=False,
        max_concurrent_trials=2,
        random_state=0,
    )


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_trials_of_two_workers_take_turns_on_two_cpus():
    with session.limited(num_cpus=2):
        spread = search(2).fit(X, Y)
    with session.inline():
        here = search(0).fit(X, Y)
    assert spread.cv_results_["n_resources"].tolist() == [3, 1, 1]
    assert spread.best_params_ == here.best_params_ == {"lr": 1e-2}
    np.testing.assert_allclose(
        spread.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"], atol=0.05
    )


def groups_left() -> list[str]:
    """Placement groups that hold or wait for CPUs."""
    from ray.util import placement_group_table

    states = [group["state"] for group in placement_group_table().values()]
    return [state for state in states if state != "REMOVED"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_searches_in_a_row_leave_no_cpu_taken():
    before = groups_left()
    for _ in range(10):
        with session.limited(num_cpus=2):
            found = search(2, epochs=2, rates=2).fit(X, Y)
        assert found.cv_results_["n_resources"].tolist() == [2, 1]
        assert found.cv_results_["stop_reason"].tolist() == ["completed", "scheduler"]
        assert groups_left() == before


@pytest.mark.ray
def test_more_workers_than_cpus_are_refused_in_one_line():
    with (
        session.limited(num_cpus=2),
        pytest.raises(UserError, match="need 3 CPUs, and there are 2"),
    ):
        search(3).fit(X, Y)
