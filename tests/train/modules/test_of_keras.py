import importlib
import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris

import distml
from distml.errors import UserError
from distml.train import NeuralClassifier
from distml.train.modules.given import as_builder
from distml.train.modules.of_keras import as_module, build_by_itself

FEW = {"lr": 1e-2, "epochs": 3, "random_state": 0}

# Keras copies networks by NumPy's former protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def keras(tmp_path_factory):
    """Keras on torch; it writes a file to its home when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        yield importlib.import_module("keras")


def some_net(num_outputs):
    """Layers that draw, that train otherwise than they predict, and that know no input yet."""
    layers = sys.modules["keras"].layers
    return sys.modules["keras"].Sequential(
        [
            layers.Dense(16, activation="relu", name="body"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(num_outputs),
        ]
    )


def plain_net():
    layers = sys.modules["keras"].layers
    return sys.modules["keras"].Sequential([layers.Input((4,)), layers.Dense(3)])


@pytest.fixture(scope="module")
def fitted(keras):
    return NeuralClassifier(some_net, **{**FEW, "epochs": 40}).fit(*load_iris(return_X_y=True))


def test_a_network_of_keras_is_learnt(fitted):
    assert fitted.score(*load_iris(return_X_y=True)) >= 0.94
    layers = fitted.architecture_
    assert sum(layer["parameters"] for layer in layers) >= 4 * 16 + 16 + 32 + 16 * 3 + 3


def test_names_do_not_depend_on_what_was_made_before(fitted, keras):
    X, y = load_iris(return_X_y=True)
    keras.layers.Dense(1)
    again = clone(fitted).set_params(epochs=0).fit(X, y)
    assert list(again.weights_) == list(fitted.weights_)
    assert "module.sequential/body/kernel" in fitted.weights_


def test_the_same_seed_draws_the_same_weights_and_leaves_pythons_generator_alone():
    X, y = load_iris(return_X_y=True)
    random.seed(3)
    expected = random.random()
    random.seed(3)
    one, two, other = (
        NeuralClassifier(some_net, **{**FEW, "random_state": seed}).fit(X, y) for seed in (0, 0, 1)
    )
    assert random.random() == expected
    name = "module.sequential/body/kernel"
    assert all(np.array_equal(one.weights_[n], two.weights_[n]) for n in one.weights_)
    assert not np.array_equal(one.weights_[name], other.weights_[name])


def test_a_worker_that_has_yet_to_load_keras_draws_the_same(monkeypatch):
    torch.manual_seed(5)
    loaded = build_by_itself(random.random)
    monkeypatch.delitem(sys.modules, "keras")
    assert build_by_itself(random.random) == loaded


def test_it_predicts_by_the_weights_it_has_learnt_and_without_dropout(fitted):
    X, _ = load_iris(return_X_y=True)
    weights = {n.rpartition("/")[0].rpartition("/")[2]: {} for n in fitted.weights_ if "/" in n}
    for name, value in fitted.weights_.items():
        *_, layer, kind = ["", *name.split("/")]
        weights.get(layer, {})[kind] = value
    numbers = (X - fitted.weights_["numbers_mean"]) * fitted.weights_["numbers_factor"]
    hidden = np.maximum(numbers @ weights["body"]["kernel"] + weights["body"]["bias"], 0)
    norm = weights["batch_normalization"]
    scaled = (hidden - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3)
    scaled = scaled * norm["gamma"] + norm["beta"]
    logits = scaled @ weights["dense"]["kernel"] + weights["dense"]["bias"]
    assert np.allclose(fitted.decision(X), logits, atol=1e-4)


def test_copies_predict_the_same(fitted):
    X, _ = load_iris(return_X_y=True)
    copied = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copied.predict_proba(X), fitted.predict_proba(X))


def test_a_network_that_is_made_already_is_fitted_and_not_changed():
    X, y = load_iris(return_X_y=True)
    given = plain_net()
    before = [variable.value.detach().clone() for variable in given.variables]
    network = NeuralClassifier(given, **{**FEW, "epochs": 30}).fit(X, y)
    assert network.score(X, y) > 0.9
    after = [variable.value for variable in given.variables]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_several_fields_are_a_dict_of_inputs(keras, shape_of, batch_of):
    shape = shape_of("numbers", "array")
    layers = keras.layers
    sizes = {"numbers": (3,), "array": (6, 2)}
    inputs = {name: layers.Input(size, name=name) for name, size in sizes.items()}
    joined = layers.Concatenate()([inputs["numbers"], layers.Flatten()(inputs["array"])])
    module = as_builder(keras.Model(inputs, layers.Dense(4)(joined)))(shape)
    assert module(**batch_of(shape)).shape == (3, 4)


def test_a_network_that_cannot_be_built_for_the_data_is_refused(shape_of):
    with pytest.raises(UserError, match="has no weights yet, and the data has sequence; give it"):
        as_builder(some_net)(shape_of("sequence"))


def test_it_is_not_cut_into_parts():
    with pytest.raises(UserError, match="a network of Keras has its weights whole; use 'ddp'"):
        NeuralClassifier(some_net, **FEW, strategy="fsdp").fit(*load_iris(return_X_y=True))


class OfAnotherBackend:
    """What a network of Keras is where torch does not compute."""

    __module__ = "keras.src.models.sequential"


def test_another_backend_is_refused(shape_of):
    with pytest.raises(UserError, match="of another backend; set KERAS_BACKEND=torch before"):
        as_module(OfAnotherBackend(), shape_of("numbers"))


OWN_NET = """
def net(num_outputs):
    from keras import Sequential, layers

    return Sequential([layers.Dense(8, activation="relu"), layers.Dense(num_outputs)])
"""


@pytest.mark.slow
def test_its_bundle_is_loaded_where_nobody_has_chosen_a_backend(tmp_path, monkeypatch):
    (tmp_path / "own_net.py").write_text(OWN_NET)
    monkeypatch.syspath_prepend(tmp_path)
    X, y = load_iris(return_X_y=True)
    table = pa.table({"kind": y, **{f"x{i}": X[:, i] for i in range(4)}})
    data = distml.write_shards(table, tmp_path / "data", num_shards=2, key="iris")
    estimator = NeuralClassifier(importlib.import_module("own_net").net, **FEW)
    split = distml.Split({"test": distml.ByHash(0.3, key=["x0", "x1", "x2", "x3"])}, seed=0)
    task = distml.Fit(data=data, label="kind", estimator=estimator, split=split)
    done = distml.run(distml.Job(task=task), storage=tmp_path / "runs")

    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    environment["PYTHONPATH"] = f"{tmp_path}:{environment.get('PYTHONPATH', '')}"
    # Its golden rows are predicted again.
    load = "import distml, sys; distml.load(sys.argv[1], trust=True)"
    bundle = str(tmp_path / "runs" / done.record.run_id / "bundle")
    told = subprocess.run(
        [sys.executable, "-c", load, bundle], env=environment, capture_output=True
    )

    assert told.returncode == 0, told.stderr.decode()[-2000:]
