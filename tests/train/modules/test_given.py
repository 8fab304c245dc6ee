import pickle

import pytest
import torch
from torch import nn

from distml.errors import UserError
from distml.train.modules import MLP
from distml.train.modules.given import as_builder


class Net(nn.Module):
    def __init__(self, num_features, num_outputs, width=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(num_features, width), nn.Linear(width, num_outputs))

    def forward(self, x):
        return self.layers(x)


def from_shape(shape):
    return nn.Linear(shape["numbers"].size[0], shape.num_outputs)


def from_nothing():
    return nn.Linear(3, 4)


@pytest.mark.parametrize(
    "module",
    [MLP(hidden=(2,)), Net, Net(3, 4), from_shape, from_nothing, lambda num_outputs: Net(3, 4)],
    ids=["spec", "class", "instance", "from shape", "from nothing", "lambda"],
)
def test_whatever_is_given_makes_a_module(module, shape_of):
    built = as_builder(module)(shape_of("numbers"))
    assert isinstance(built, nn.Module)
    field = {"numbers": torch.ones(2, 3)} if isinstance(module, MLP) else {"input": None}
    outputs = built(**field) if isinstance(module, MLP) else built(torch.ones(2, 3))
    assert outputs.shape == (2, 4)


def test_a_module_is_copied_with_its_weights(shape_of):
    given = Net(3, 4)
    built = as_builder(given)(shape_of("numbers"))
    assert built is not given
    assert torch.equal(built.layers[0].weight, given.layers[0].weight)


@pytest.mark.parametrize("module", [MLP(), Net, Net(3, 4), from_shape])
def test_builder_can_be_sent_to_a_worker(module, shape_of):
    builder = pickle.loads(pickle.dumps(as_builder(module)))
    assert isinstance(builder(shape_of("numbers")), nn.Module)


@pytest.mark.parametrize(
    ("kinds", "num_features"), [(("tokens",), 20), (("sequence",), 2), (("array",), 12)]
)
def test_number_of_features_fits_the_first_layer(kinds, num_features, shape_of):
    built = as_builder(lambda num_features: nn.Linear(num_features, 1))(shape_of(*kinds))
    assert built.in_features == num_features


def asks_for_more(num_features, depth):
    return Net(num_features, depth)


@pytest.mark.parametrize(
    ("module", "kinds", "message"),
    [
        (5, ("numbers",), "module=5 is no network"),
        (asks_for_more, ("numbers",), "module=asks_for_more asks for 'depth'"),
        (lambda: "net", ("numbers",), r"module=<lambda> made a str"),
        (Net, ("numbers", "array"), "module=Net asks for num_features, but .* numbers and array"),
    ],
    ids=["value", "more", "no module", "two fields"],
)
def test_what_makes_no_module_is_refused(module, kinds, message, shape_of):
    with pytest.raises(UserError, match=message):
        as_builder(module)(shape_of(*kinds))
