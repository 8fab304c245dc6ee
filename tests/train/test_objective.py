import pickle

import cloudpickle
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, r2_score
from torch.nn import functional

from distml.errors import UserError
from distml.train.objective import Objective, objective_of


def classes(num_rows=9, seed=0):
    torch.manual_seed(seed)
    return torch.randn(num_rows, 3), {"y": torch.randint(0, 3, (num_rows,))}


def numbers(num_rows=9, targets=1, seed=0):
    torch.manual_seed(seed)
    return torch.randn(num_rows, targets), {"y": torch.randn(num_rows, targets)}


def test_cross_entropy_is_scikit_learns_log_loss():
    outputs, batch = classes()
    losses = objective_of("cross_entropy", task="classification").row_losses(outputs, batch)
    expected = log_loss(batch["y"], torch.softmax(outputs.double(), 1), labels=[0, 1, 2])
    assert losses.mean().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(
    ("name", "judge"),
    [
        ("squared_error", lambda o, y: ((o - y) ** 2).mean(1)),
        ("absolute_error", lambda o, y: (o - y).abs().mean(1)),
        ("huber", lambda o, y: functional.huber_loss(o, y, reduction="none").mean(1)),
    ],
)
def test_regression_losses_are_means_over_the_targets_of_a_row(name, judge, targets):
    outputs, batch = numbers(targets=targets)
    losses = objective_of(name, task="regression").row_losses(outputs, batch)
    assert torch.allclose(losses, judge(outputs, batch["y"]))


def test_absolute_error_is_scikit_learns():
    outputs, batch = numbers()
    losses = objective_of("absolute_error", task="regression").row_losses(outputs, batch)
    assert losses.mean().item() == pytest.approx(mean_absolute_error(batch["y"], outputs))


@pytest.mark.parametrize("name", ["squared_error", "absolute_error"])
def test_reconstruction_needs_no_target(name):
    left = torch.randn(4, 2, 3)
    losses = objective_of(name, task="reconstruction").row_losses(left, {"numbers": left})
    power = 2 if name == "squared_error" else 1
    assert torch.allclose(losses, left.abs().pow(power).mean((1, 2)))


def test_weights_multiply_the_losses_of_their_rows():
    outputs, batch = classes()
    objective = objective_of("cross_entropy", task="classification")
    weight = torch.rand(9)
    plain = objective.row_losses(outputs, batch)
    assert torch.equal(objective.row_losses(outputs, {**batch, "weight": weight}), plain * weight)


def added(objective, outputs, batch, cuts):
    sums = np.zeros(5)
    for rows in np.split(np.arange(len(outputs)), sorted(cuts)):
        if len(rows):
            part = {name: tensor[rows] for name, tensor in batch.items()}
            sums += objective.sums(outputs[rows], part).numpy()
    return sums.tolist()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), max_size=3), st.integers(0, 99))
def test_accuracy_of_parts_is_that_of_the_whole(cuts, seed):
    outputs, batch = classes(seed=seed)
    objective = objective_of("cross_entropy", task="classification")
    found = objective.metrics(added(objective, outputs, batch, cuts), "val", 3)
    assert found["val_accuracy"] == accuracy_score(batch["y"], outputs.argmax(1))
    expected = functional.cross_entropy(outputs, batch["y"]).item()
    assert found["val_loss"] == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), max_size=3), st.integers(0, 99))
def test_r2_of_parts_is_that_of_the_whole(cuts, seed):
    outputs, batch = numbers(seed=seed)
    objective = objective_of("squared_error", task="regression")
    found = objective.metrics(added(objective, outputs, batch, cuts), "val", 1)
    assert found["val_r2"] == pytest.approx(r2_score(batch["y"], outputs), rel=1e-4, abs=1e-5)


def test_r2_of_several_targets_is_over_all_of_them_together():
    outputs, batch = numbers(targets=2)
    objective = objective_of("squared_error", task="regression")
    found = objective.metrics(objective.sums(outputs, batch).tolist(), "val", 2)
    target = batch["y"].double()
    error = (outputs - target).square().sum()
    expected = 1 - error / (target - target.mean()).square().sum()
    assert found["val_r2"] == pytest.approx(expected.item(), rel=1e-6)


def test_r2_where_the_target_is_constant_is_zero():
    objective = objective_of("squared_error", task="regression")
    batch = {"y": torch.ones(4, 1)}
    sums = objective.sums(torch.zeros(4, 1), batch).tolist()
    assert objective.metrics(sums, "val", 1)["val_r2"] == 0.0


def test_no_rows_give_no_division_by_zero():
    objective = objective_of("cross_entropy", task="classification")
    assert objective.metrics([0.0] * 5, "val", 3) == {"val_loss": 0.0, "val_accuracy": 0.0}


def smoothed(outputs, target):
    return functional.cross_entropy(outputs, target, reduction="none", label_smoothing=0.1)


def test_a_loss_of_the_users_is_taken_as_it_is():
    outputs, batch = classes()
    objective = objective_of(smoothed, task="classification")
    assert torch.equal(objective.row_losses(outputs, batch), smoothed(outputs, batch["y"]))
    assert objective.score == "accuracy"


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (functional.cross_entropy, r"\(\)"),
        (lambda outputs, target: outputs, r"\(9, 3\)"),
    ],
    ids=["mean", "matrix"],
)
def test_a_loss_that_is_not_one_for_each_row_is_refused(loss, shape):
    outputs, batch = classes()
    with pytest.raises(UserError, match=f"{shape} for 9 rows.*reduction='none'"):
        objective_of(loss, task="classification").row_losses(outputs, batch)


@pytest.mark.parametrize("task", ["classification", "regression", "reconstruction"])
def test_unknown_loss_is_refused_with_those_there_are(task):
    with pytest.raises(UserError, match=r"loss='hinge' is none of \w+"):
        objective_of("hinge", task=task)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("cross_entropy", "classification"),
        ("squared_error", "regression"),
        ("huber", "regression"),
        ("absolute_error", "reconstruction"),
    ],
)
def test_objective_goes_to_workers(name, task):
    outputs, batch = classes() if task == "classification" else numbers()
    objective = objective_of(name, task=task)
    other = pickle.loads(cloudpickle.dumps(objective))
    assert isinstance(other, Objective)
    assert torch.equal(other.row_losses(outputs, batch), objective.row_losses(outputs, batch))
