import copy
import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch import nn

from distml.data import write_shards
from distml.errors import DataError, UserError
from distml.runs.model_file import dump_estimator, load_estimator
from distml.runs.storage import open_storage
from distml.runs.units import UnitStore, use_units
from distml.train import (
    CNN,
    MLP,
    RNN,
    Inputs,
    NeuralClassifier,
    NeuralRegressor,
    NeuralTransformer,
)
from distml.train.checkpoint import Checkpoints

FULL = {"epochs": 4, "batch_size": 60, "lr": 1e-2, "random_state": 0}
"""Batches of all rows: nothing depends on their order."""


def some_rows(num_rows=60, num_features=3, seed=0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(num_rows, num_features)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int)


def some_table(num_rows=60):
    X, y = some_rows(num_rows)
    colour = np.random.default_rng(1).choice(["red", "green"], num_rows)
    return pa.table({"a": X[:, 0], "b": X[:, 1], "colour": colour, "y": np.where(y, "yes", "no")})


def fitted(estimator=None, **options):
    estimator = NeuralClassifier(**FULL) if estimator is None else estimator
    return estimator.set_params(**options).fit(*some_rows())


def assert_same_weights(one, other, **tolerance):
    assert one.weights_.keys() == other.weights_.keys()
    for name, weight in one.weights_.items():
        assert np.allclose(weight, other.weights_[name], **{"rtol": 0, "atol": 0, **tolerance})


# What is learnt


@pytest.mark.parametrize(
    ("load", "estimator", "expected"),
    [
        (load_iris, NeuralClassifier(epochs=30, lr=1e-2), 0.93),
        (load_breast_cancer, NeuralClassifier(epochs=10), 0.95),
        (load_digits, NeuralClassifier(epochs=10), 0.96),
        (load_digits, NeuralClassifier(epochs=8, optimizer="sgd", lr=0.05), 0.95),
        (load_diabetes, NeuralRegressor(MLP((32,)), epochs=30, weight_decay=0.1), 0.33),
        (load_diabetes, NeuralRegressor(MLP((32,)), epochs=30, loss="huber"), 0.32),
    ],
    ids=["iris", "cancer", "digits", "digits by sgd", "diabetes", "diabetes by huber"],
)
def test_known_data_is_learnt(load, estimator, expected):
    X, y = load(return_X_y=True)
    parts = train_test_split(X, y, random_state=0)
    estimator = clone(estimator).set_params(random_state=0).fit(parts[0], parts[2])
    assert estimator.score(parts[1], parts[3]) >= expected


def test_images_are_learnt_by_convolutions():
    X, y = load_digits(return_X_y=True)
    parts = train_test_split(X.reshape(-1, 8, 8), y, random_state=0)
    network = NeuralClassifier(CNN(), epochs=4, cpus_per_worker=1, random_state=0).fit(
        parts[0], parts[2]
    )
    assert network.score(parts[1], parts[3]) >= 0.95


def test_early_stopping_keeps_the_best_epoch():
    X, y = load_diabetes(return_X_y=True)
    network = NeuralRegressor(epochs=100, lr=1e-2, early_stopping=3, random_state=0).fit(X, y)
    losses = [epoch["val_loss"] for epoch in network.history_]
    assert network.n_iter_ == len(losses) == network.best_epoch_ + 4 < 100
    assert network.best_epoch_ == int(np.argmin(losses))


def test_what_an_autoencoder_has_not_seen_is_reconstructed_badly():
    X, _ = load_digits(return_X_y=True)
    network = NeuralTransformer(epochs=15, random_state=0).fit(X)
    noise = np.random.default_rng(0).permuted(X[:200], axis=1)
    seen, unseen = network.score_samples(X[:200]), network.score_samples(noise)
    assert roc_auc_score([0] * 200 + [1] * 200, [*seen, *unseen]) > 0.95
    codes = network.transform(X)
    assert codes.shape == (len(X), len(network.get_feature_names_out()))


def test_class_weights_move_the_prediction_to_the_rare_class():
    random = np.random.default_rng(0)
    y = (random.random(600) < 0.1).astype(int)
    X = random.normal(size=(600, 1)) + y[:, None]
    found = {}
    ratio = (y == 0).sum() / y.sum()
    for weight in (None, "balanced", {0: 1.0, 1: ratio}):
        network = NeuralClassifier(MLP(()), epochs=40, lr=1e-2, class_weight=weight)
        found[str(weight)] = network.set_params(random_state=0).fit(X, y).predict(X).mean()
    assert found["None"] < 0.1 < 0.2 < found["balanced"]
    assert found[str({0: 1.0, 1: ratio})] == pytest.approx(found["balanced"], abs=0.01)


def test_class_weights_are_sample_weights():
    X, y = some_rows()
    by_class = NeuralClassifier(**FULL, class_weight={0: 1.0, 1: 3.0}).fit(X, y)
    by_row = NeuralClassifier(**FULL).fit(X, y, sample_weight=np.where(y, 3.0, 1.0))
    assert_same_weights(by_class, by_row, atol=1e-5)


def test_equal_sample_weights_change_nothing():
    X, y = some_rows()
    plain = NeuralClassifier(**FULL).fit(X, y)
    for weight in (np.full(60, 7.0), 7.0):
        weighted = NeuralClassifier(**FULL).fit(X, y, sample_weight=weight)
        assert_same_weights(plain, weighted, atol=1e-6)


@pytest.mark.parametrize(
    "labels",
    [
        ["no", "yes"],
        [False, True],
        [-1, 7],
        [0.0, 1.0],
        np.array(["no", "yes"], dtype=object),
        np.array([3, 250], dtype=np.uint8),
    ],
    ids=["texts", "flags", "numbers", "floats", "objects", "bytes"],
)
def test_labels_of_any_type_come_back(labels):
    X, y = some_rows()
    labels = np.asarray(labels)
    network = NeuralClassifier(**FULL).fit(X, labels[y])
    found = network.predict(X)
    assert found.dtype == labels.dtype
    assert set(found) <= set(labels.tolist())
    assert (found == labels[y]).mean() > 0.7
    assert np.allclose(network.predict_proba(X).sum(axis=1), 1)


def test_several_targets_are_learnt_together():
    X, _ = some_rows(200)
    Y = np.stack([3 * X[:, 0] + 50, X[:, 1] / 100], axis=1)
    network = NeuralRegressor(MLP((32,)), epochs=60, lr=1e-2, random_state=0).fit(X, Y)
    assert network.predict(X).shape == (200, 2)
    assert network.score(X, Y) > 0.98
    assert NeuralRegressor(epochs=1).fit(X, Y[:, 0]).predict(X).shape == (200,)


# How rows are given


def test_rows_are_the_same_in_whatever_form_they_come(tmp_path):
    table = some_table()
    features = table.drop_columns(["y"])
    dataset = write_shards(table, tmp_path, rows_per_shard=25)
    y = table["y"].to_pylist()
    expected = NeuralClassifier(**FULL).fit(features, y)
    for X, label in (
        (features.to_pandas(), y),
        (features.to_pandas(), np.array(y)),
        (features.to_pandas(), pd.Series(y)),
        (table, "y"),
        (table.to_pandas(), "y"),
        (dataset, "y"),
    ):
        network = NeuralClassifier(**FULL).fit(X, label)
        assert_same_weights(network, expected)
        assert list(network.classes_) == ["no", "yes"]
        assert list(network.feature_names_in_) == ["a", "b", "colour"]
        for rows in (features, features.to_pandas(), dataset):
            found = network.predict_proba(rows)
            assert np.allclose(found, expected.predict_proba(features), atol=1e-6)


def test_a_frame_of_numbers_is_its_array():
    X, y = some_rows()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    one, other = NeuralClassifier(**FULL).fit(frame, y), NeuralClassifier(**FULL).fit(X, y)
    assert np.allclose(one.predict_proba(frame), other.predict_proba(X), atol=1e-6)


def test_missing_numbers_are_the_mean():
    X, _ = some_rows()
    network = fitted()
    gap = X[:1].copy()
    gap[0, 1] = np.nan
    filled = X[:1].copy()
    filled[0, 1] = X[:, 1].mean()
    assert np.allclose(network.predict_proba(gap), network.predict_proba(filled), atol=1e-6)


def test_rows_of_varying_length_are_learnt():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 120)
    rows = [random.normal(loc=label, size=random.integers(1, 9)).tolist() for label in y]
    table = pa.table({"steps": rows})
    network = NeuralClassifier(RNN(hidden_size=16), epochs=15, lr=1e-2, random_state=0)
    assert network.fit(table, y).score(table, y) > 0.8


def test_a_pipeline_and_a_cross_validation_take_it():
    X, y = load_iris(return_X_y=True)
    network = NeuralClassifier(epochs=25, lr=1e-2, random_state=0)
    assert cross_val_score(make_pipeline(MinMaxScaler(), network), X, y, cv=3).mean() > 0.9


# Going on


@pytest.mark.parametrize("batch_size", [60, 16], ids=["full", "mini"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_two_warm_fits_are_one_of_both_lengths(batch_size, optimizer):
    options = {**FULL, "batch_size": batch_size, "optimizer": optimizer}
    module = MLP((16,), dropout=0.3)
    X, y = some_rows()
    whole = NeuralClassifier(module, **{**options, "epochs": 7}).fit(X, y)
    warm = NeuralClassifier(module, **{**options, "epochs": 3}, warm_start=True).fit(X, y)
    warm.set_params(epochs=4).fit(X, y)
    assert_same_weights(warm, whole)
    assert (warm.n_iter_, warm.n_steps_) == (whole.n_iter_, whole.n_steps_)
    losses = [[epoch["train_loss"] for epoch in each.history_] for each in (warm, whole)]
    assert losses[0] == losses[1]
    assert [epoch["epoch"] for epoch in warm.history_] == list(range(7))


def test_partial_fits_are_a_fit_of_as_many_epochs():
    options = {**FULL, "batch_size": 16}
    X, y = some_rows()
    whole = NeuralClassifier(**options).fit(X, y)
    network = NeuralClassifier(**options)
    for _ in range(4):
        network.partial_fit(X, y)
    assert_same_weights(network, whole)
    assert network.n_iter_ == 4


def test_a_warm_fit_that_was_pickled_goes_on_the_same():
    warm = fitted(warm_start=True, epochs=2)
    other = pickle.loads(pickle.dumps(warm))
    assert_same_weights(warm.fit(*some_rows()), other.fit(*some_rows()))


def test_without_warm_start_a_fit_begins_anew():
    network = fitted()
    first = copy.deepcopy(network.weights_)
    network.fit(*some_rows())
    assert all(np.array_equal(first[name], network.weights_[name]) for name in first)
    assert network.n_iter_ == 4


def test_partial_fit_knows_the_classes_it_was_told():
    X, y = some_rows()
    network = NeuralClassifier(**FULL)
    network.partial_fit(X, np.where(y, "b", "a"), classes=["c", "b", "a"])
    assert network.predict_proba(X).shape == (60, 3)
    network.partial_fit(X, np.where(y, "c", "a"))
    assert list(network.classes_) == ["a", "b", "c"]


def test_a_part_of_the_rows_may_have_one_class_once_the_others_are_known():
    X, y = some_rows()
    network = NeuralClassifier(**FULL).partial_fit(X, y)
    network.set_params(batch_size="auto").partial_fit(X[y == 1], y[y == 1])
    assert network.predict_proba(X).shape == (60, 2)


def test_the_same_seed_is_the_same_network_and_another_is_another():
    one, same, other = fitted(), fitted(), fitted(random_state=1)
    assert_same_weights(one, same)
    assert not np.array_equal(
        one.predict_proba(some_rows()[0]), other.predict_proba(some_rows()[0])
    )


def test_fitting_leaves_torchs_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fitted().predict(some_rows()[0])
    assert torch.equal(torch.rand(2), expected)


# Transfer


def test_weights_are_taken_over_where_they_fit():
    source = fitted(NeuralClassifier(MLP((16, 8)), **FULL))
    X, _ = some_rows()
    target = np.arange(60) % 3
    network = NeuralClassifier(MLP((16, 8)), **{**FULL, "epochs": 0}, init_from=source)
    network.fit(X, target)
    assert len(network.transfer_.loaded) > len(network.transfer_.missing) == 2
    for name in network.transfer_.loaded:
        if not name.endswith(("_mean", "_factor")):
            assert np.array_equal(network.weights_[name], source.weights_[name])


def test_a_frozen_body_stays_as_it_was_given_and_the_head_learns():
    source = fitted(NeuralClassifier(MLP((16, 8)), **FULL))
    network = NeuralClassifier(MLP((16, 8)), **FULL, init_from=source, freeze="body")
    X, y = some_rows(seed=5)
    network.fit(X, 1 - y)
    body = [name for name in network.weights_ if "body" in name]
    head = [name for name in network.weights_ if "head" in name]
    assert body
    assert head
    assert all(np.array_equal(network.weights_[n], source.weights_[n]) for n in body)
    assert not any(np.array_equal(network.weights_[n], source.weights_[n]) for n in head)


def test_frozen_normalisation_keeps_its_statistics():
    module = MLP((16, 8), norm="batch")
    source = fitted(NeuralClassifier(module, **FULL))
    network = NeuralClassifier(module, **FULL, init_from=source, freeze="body")
    X, y = some_rows(seed=5)
    network.fit(3 * X, y)
    kept = [name for name in network.weights_ if "running_" in name]
    assert kept
    assert all(np.array_equal(network.weights_[n], source.weights_[n]) for n in kept)


class Halves(torch.nn.Module):
    """Features of a row: as many as there are outputs, were it a whole network."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, numbers):
        return self.layer(numbers)


def test_a_network_without_a_way_back_gives_features_as_it_is():
    X, _ = some_rows()
    given = Halves()
    options = {"standardize": False, "random_state": 0, "init_from": given.state_dict()}
    network = NeuralTransformer(Halves, epochs=0, **options).fit(X)
    with torch.inference_mode():
        expected = given(torch.from_numpy(X)).numpy()
    assert np.allclose(network.transform(X), expected, atol=1e-6)
    with pytest.raises(UserError, match="autoencoder gives its input back"):
        NeuralTransformer(Halves, epochs=1, **options).fit(X)


def test_weights_come_from_a_file_and_from_a_state_dict(tmp_path):
    source = fitted()
    tensors = {name: torch.from_numpy(weight) for name, weight in source.weights_.items()}
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.torch.save(tensors))
    for given in (str(path), tensors, source.module_):
        network = NeuralClassifier(**{**FULL, "epochs": 0}, init_from=given).fit(*some_rows())
        assert_same_weights(network, source)


def test_zero_epochs_use_a_network_as_it_is():
    X, _ = load_digits(return_X_y=True)
    source = NeuralTransformer(epochs=2, random_state=0).fit(X)
    same = NeuralTransformer(epochs=0, init_from=source).fit(X)
    assert np.allclose(same.transform(X), source.transform(X), atol=1e-5)


# Modules


class Mine(nn.Module):
    """A network of the user's."""

    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.layer = nn.Linear(num_features, num_outputs)

    def forward(self, numbers):
        return self.layer(numbers)


def make_mine(num_features, num_outputs):
    return Mine(num_features, num_outputs)


@pytest.mark.parametrize(
    "module",
    [Mine, make_mine, Mine(3, 2), MLP((4,))],
    ids=["class", "function", "instance", "ours"],
)
def test_any_module_is_fitted_and_not_changed(module):
    before = copy.deepcopy(module.state_dict()) if isinstance(module, nn.Module) else None
    network = fitted(NeuralClassifier(module, **{**FULL, "epochs": 60, "lr": 0.1}))
    assert network.score(*some_rows()) > 0.9
    if before is not None:
        assert all(
            torch.equal(weight, before[name]) for name, weight in module.state_dict().items()
        )


def test_the_module_is_there_in_evaluation_mode_and_described():
    network = fitted(NeuralClassifier(MLP((8,), dropout=0.5), **FULL))
    assert not network.module_.training
    total = sum(weight.numel() for weight in network.module_.parameters())
    assert sum(layer["parameters"] for layer in network.architecture_) == total == 3 * 8 + 8 + 18


# Copies and files


@pytest.fixture(scope="module", params=["array", "table", "regressor", "transformer", "warm"])
def known(request):
    """A fitted network, rows, and what it says of them."""
    X, y = some_rows()
    table = some_table().drop_columns(["y"])
    made = {
        "array": (NeuralClassifier(**FULL), X),
        "table": (NeuralClassifier(**FULL, early_stopping=2), table),
        "regressor": (NeuralRegressor(MLP((8,), norm="batch"), **FULL), X),
        "transformer": (NeuralTransformer(**FULL), X),
        "warm": (NeuralClassifier(**FULL, warm_start=True, class_weight="balanced"), table),
    }
    estimator, rows = made[request.param]
    if request.param == "table":
        estimator.set_params(batch_size=16)
    estimator.fit(rows, y)
    return estimator, rows, said(estimator, rows)


def said(estimator, rows):
    for name in ("predict_proba", "predict", "transform"):
        if hasattr(estimator, name):
            return getattr(estimator, name)(rows)
    raise AssertionError


@pytest.mark.parametrize(
    "copied",
    [
        lambda e: pickle.loads(pickle.dumps(e)),
        copy.deepcopy,
        lambda e: load_estimator(*dump_estimator(e)[:2]),
    ],
    ids=["pickle", "deepcopy", "skops"],
)
def test_copies_predict_the_same(known, copied):
    estimator, rows, expected = known
    other = copied(estimator)
    assert np.array_equal(said(other, rows), expected)
    assert other.get_params().keys() == estimator.get_params().keys()
    assert np.array_equal(said(estimator, rows), expected)


def test_a_network_of_ours_is_saved_without_a_pickle(known):
    stored, *_ = dump_estimator(known[0])
    assert stored == "skops"


def test_a_clone_is_unfitted_and_fits_the_same():
    network = fitted()
    other = clone(network)
    assert not hasattr(other, "weights_")
    assert_same_weights(other.fit(*some_rows()), network)


@pytest.mark.parametrize(
    ("module", "why"),
    [(Mine, "it holds .*Mine"), (Mine(3, 2), "skops cannot hold it: ")],
    ids=["class", "instance"],
)
def test_a_module_of_the_users_needs_trust(module, why):
    network = fitted(NeuralClassifier(module, **FULL))
    stored, content, reason = dump_estimator(network)
    assert re.match(why, reason)
    with pytest.raises(UserError, match="trust=True"):
        load_estimator(stored, content)
    X, _ = some_rows()
    other = load_estimator(stored, content, trust=True)
    assert np.array_equal(other.predict_proba(X), network.predict_proba(X))


def test_fitting_in_this_process_does_not_load_ray():
    code = (
        "import sys, numpy as np\n"
        "from distml.train import NeuralClassifier\n"
        "X = np.random.default_rng(0).normal(size=(40, 2))\n"
        "NeuralClassifier(epochs=1).fit(X, X[:, 0] > 0).predict(X)\n"
        "sys.exit('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False)
    assert done.returncode == 0


# Interrupted in a run


def checkpoints_of(uri):
    storage = open_storage(uri)
    return [f"{uri}/checkpoints/{entry.name}" for entry in storage.list("checkpoints")]


def test_in_a_run_a_fit_goes_on_where_it_was_interrupted(tmp_path):
    whole, uri = fitted(batch_size=16), str(tmp_path)
    network = NeuralClassifier(**{**FULL, "batch_size": 16})
    with use_units(UnitStore(uri)):
        fitted(clone(network))
        (place,) = checkpoints_of(uri)
        kept = Checkpoints(place)
        assert kept.steps() == [12, 16]
        # As if it had ended there.
        open_storage(place).delete(Checkpoints.file_name(16))
        again = fitted(clone(network))
        assert_same_weights(again, whole)
        assert kept.steps() == [12, 16]
        # What changes nothing that is trained finds the same checkpoints, all else others.
        fitted(clone(network), checkpoint_every_s=1.0, on_nan="rollback")
        assert len(checkpoints_of(uri)) == 1
        fitted(clone(network), lr=0.5)
        fitted(clone(network), epochs=5)
        assert len(checkpoints_of(uri)) == 3


def test_in_a_run_each_partial_fit_is_its_own(tmp_path):
    X, y = some_rows()
    outside = NeuralClassifier(**FULL)
    inside = NeuralClassifier(**FULL)
    for _ in range(3):
        outside.partial_fit(X, y)
        with use_units(UnitStore(str(tmp_path))):
            inside.partial_fit(X, y)
    assert_same_weights(inside, outside)
    assert inside.n_iter_ == 3


def test_without_a_seed_or_a_run_no_checkpoint_is_kept(tmp_path):
    with use_units(UnitStore(str(tmp_path))):
        fitted(random_state=None)
    assert checkpoints_of(str(tmp_path)) == []


# Bad input


class Pair(nn.Module):
    """Gives two tensors."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, numbers):
        return self.layer(numbers), numbers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 61}, "batch_size=61 is more than the 60 rows to train on; lower it"),
        ({"batch_size": 0}, "batch_size=0: give a number of rows, or 'auto'"),
        ({"batch_size": "all"}, "batch_size='all': give a number"),
        ({"batch_size": 2.5}, "batch_size=2.5: give a number"),
        ({"batch_size": 8, "accumulate": 9}, "accumulate=9: give a number of micro-batches"),
        ({"accumulate": 0}, "accumulate=0: give"),
        ({"epochs": -1}, "epochs=-1: give a number from 0"),
        ({"epochs": 1.5}, "epochs=1.5: give a number from 0"),
        ({"lr": 0.0}, "lr=0.0: give a number above 0"),
        ({"lr": float("nan")}, "lr=nan: give a number above 0"),
        ({"warmup": 1.5}, "warmup=1.5: give a share from 0 to 1"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0: give a number above 0, or None"),
        ({"early_stopping": 0}, "early_stopping=0: give a number of epochs from 1"),
        (
            {"early_stopping": 1, "validation_fraction": 1.5},
            "validation_fraction=1.5 must be between 0 and 1",
        ),
        ({"optimizer": "lion"}, "optimizer='lion' is none of"),
        ({"scheduler": "step"}, "scheduler='step' is none of"),
        ({"loss": "hinge"}, "loss='hinge' is none of cross_entropy"),
        ({"precision": "fp64"}, "precision='fp64' is none of"),
        ({"precision": "fp16", "gpus_per_worker": 0}, "precision='fp16' needs a GPU"),
        ({"strategy": "dp"}, "strategy='dp' is none of"),
        ({"on_nan": "retry"}, "on_nan='retry': give 'stop' or 'rollback'"),
        ({"num_workers": -2}, "num_workers=-2: give"),
        ({"num_workers": (2, 1)}, r"num_workers=\(2, 1\): give"),
        ({"freeze": "layer9"}, "freeze: 'layer9' matches none of the weights; there is"),
        ({"freeze": "."}, "freezes all weights"),
        ({"lr_factors": {"layer9": 0.1}}, "lr_factors: 'layer9' matches none"),
        ({"init_from": {"x": torch.ones(1)}}, "init_from has no matching key: it has x, the"),
        ({"init_from": "absent"}, "init_from='absent': no such file"),
        ({"module": Mine(3, 5)}, r"Mine gives outputs of shape \(B, 5\), but the label has 2"),
        ({"module": Mine(4, 2)}, "module: it cannot take the data .*; change its sizes"),
        ({"module": Pair}, "Pair gives a tuple; its forward has to return a tensor"),
        ({"module": "mlp"}, "module='mlp' is no network; give MLP"),
        ({"module": lambda depth: None}, "asks for 'depth', of which nothing is known"),
        ({"module": lambda: 3}, "made a int; it has to return an nn.Module"),
        ({"module": MLP(hidden=(0,))}, r"MLP: hidden=\(0,\) must be whole numbers from 1"),
        ({"module": RNN()}, "RNN reads sequences, .*, and the data has only numbers"),
        ({"class_weight": {"a": 1.0}}, r"class_weight={'a': 1.0} .*give 'balanced', or a weight"),
        ({"class_weight": "even"}, "class_weight='even' .*give 'balanced', or a weight"),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0][:40] if isinstance(value, dict) else "",
)
def test_parameters_that_make_no_sense_are_refused_in_one_line(options, said):
    network = NeuralClassifier(epochs=1).set_params(**options)
    with pytest.raises(UserError, match=said) as caught:
        network.fit(*some_rows())
    assert "\n" not in str(caught.value)
    assert not hasattr(network, "weights_")


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_gpus_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="gpus_per_worker=1: torch sees no GPU here"):
        NeuralClassifier(gpus_per_worker=1).fit(*some_rows())


@pytest.mark.parametrize(
    ("label", "classes"),
    [(9, [0, 1]), ("x", ["a", "b"]), (1, ["a", "b"]), ("a", [0, 1])],
    ids=["number", "text", "number for text", "text for number"],
)
def test_a_label_outside_the_classes_is_refused(label, classes):
    X, y = some_rows()
    network = NeuralClassifier(**FULL).fit(X, np.array(classes)[y])
    with pytest.raises(DataError, match=f"y has the label .*{label}.*, which is none of") as caught:
        network.partial_fit(X, [label] * 60)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="which is none of"):
        NeuralClassifier(**FULL).partial_fit(X, [label] * 60, classes=classes)


@pytest.mark.parametrize(
    ("rows", "module", "said"),
    [
        ([[1.0, 2.0], [3.0]] * 20, MLP(), "MLP takes .*, and the data has sequence"),
        ([[1.0, 2.0], [3.0]] * 20, CNN(), "CNN takes .*, and the data has sequence"),
        ([[1.0, 2.0], []] * 20, RNN(), "column 'x': 20 rows have no steps .*; drop these rows"),
    ],
    ids=["varying for MLP", "varying for CNN", "empty"],
)
def test_lists_that_a_module_cannot_read_are_refused_by_their_column(rows, module, said):
    table = pa.table({"x": pa.array(rows, pa.list_(pa.float32()))})
    with pytest.raises(UserError, match=said) as caught:
        NeuralClassifier(module, epochs=1).fit(table, np.arange(40) % 2)
    assert "\n" not in str(caught.value)
    assert "x" in str(caught.value)


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        (some_table(), "z", "y='z' is no column; there is a, b, colour, y"),
        (some_rows()[0], "y", "y='y': X is an array and has no columns"),
    ],
    ids=["no column", "no columns"],
)
def test_a_label_that_is_no_column_is_refused(X, y, said):
    with pytest.raises(UserError, match=said):
        NeuralClassifier().fit(X, y)


def test_a_label_that_is_null_somewhere_is_refused():
    table = pa.table({"a": [1.0, 2.0, 3.0], "y": ["p", None, "q"]})
    with pytest.raises(DataError, match="label 'y' is null in 1 rows; leave those rows out"):
        NeuralClassifier().fit(table, "y")


def test_a_column_that_is_missing_at_prediction_is_named():
    network = NeuralClassifier(epochs=1).fit(some_table(), "y")
    with pytest.raises(DataError, match="colour") as caught:
        network.predict(some_table().drop_columns(["colour", "y"]))
    assert "\n" not in str(caught.value)


def test_going_on_with_another_module_is_refused():
    network = fitted(warm_start=True)
    with pytest.raises(UserError, match=r"the fitted network is another .*; clone") as caught:
        network.set_params(module=MLP((5,))).fit(*some_rows())
    assert "\n" not in str(caught.value)


def test_a_batch_of_one_row_left_over_is_trained_with_batch_norm():
    X, y = some_rows(33)
    network = NeuralClassifier(MLP((8,), norm="batch"), epochs=2, batch_size=16, random_state=0)
    assert np.isfinite(network.fit(X, y).predict_proba(X)).all()


def test_an_inputs_of_the_users_says_how_columns_are_read():
    table = pa.table({"zip": [1, 2] * 30, "y": [0, 1] * 30})
    network = NeuralClassifier(**FULL, inputs=Inputs(categories=["zip"])).fit(table, "y")
    assert network.shape_.kinds == ("categories",)
    assert not hasattr(network.inputs, "readers_")
