"""Tests of what the descriptions of networks share."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from distml.train import CNN, MLP, RNN, Autoencoder, NeuralClassifier, Transformer


@pytest.mark.parametrize("spec", [MLP, CNN, RNN, Transformer, Autoencoder])
def test_what_it_looks_like_makes_it_again(spec):
    changed = spec(hidden=(7, 3))
    assert repr(spec()) == f"{spec.__name__}()"
    assert repr(changed) == f"{spec.__name__}(hidden=(7, 3))"
    assert eval(repr(changed)).get_params() == clone(changed).get_params() != spec().get_params()


def test_an_array_in_place_of_a_row_of_numbers_can_be_shown():
    assert repr(MLP(hidden=np.array([7, 3]))) == "MLP(hidden=array([7, 3]))"


def test_parameters_of_a_description_are_searched_as_those_of_the_estimator():
    network = NeuralClassifier(MLP(hidden=(8,)))
    assert network.get_params()["module__hidden"] == (8,)
    for params in ParameterGrid({"module__hidden": [(16,), (32, 16)], "lr": [0.1]}):
        tried = clone(network).set_params(**params)
        assert tried.module.hidden == params["module__hidden"]
    assert network.module.hidden == (8,)


def test_an_unknown_parameter_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'hiden' for MLP\(\). Valid parameters are: .*'hidden'"):
        MLP().set_params(hiden=(8,))


def test_a_worker_of_a_training_loads_no_scikit_learn():
    # It takes a second or two, at each start of each worker.
    code = (
        "import sys, distml.train.worker, distml.train.fitting, distml.train.modules.mlp\n"
        "import distml.train.modules.autoencoder, distml.train.modules.transformer\n"
        "print([name for name in ('sklearn', 'scipy', 'pyarrow.dataset') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[]"
