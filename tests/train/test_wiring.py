import numpy as np
import pytest
import torch
from torch import nn

from distml.errors import UserError
from distml.train.modules import CNN, MLP, RNN, Autoencoder
from distml.train.shape import Field, Scale, Shape
from distml.train.wiring import Wired, describe

NUMBERS = Field(kind="numbers", size=(2,))
TOKENS = Field(kind="tokens", num_values=(9,))


def shape(*fields, num_outputs=3):
    return Shape(fields=fields or (NUMBERS,), num_outputs=num_outputs)


class Echo(nn.Module):
    """Notes how it was called."""

    def note(self, **given):
        self.given = {name: value for name, value in given.items() if value is not None}
        return torch.zeros(2, 3)


class OneTensor(Echo):
    def forward(self, x):
        return self.note(x=x)


class WithLengths(Echo):
    def forward(self, x, lengths):
        return self.note(x=x, lengths=lengths)


class Named(Echo):
    def forward(self, tokens, numbers=None):
        return self.note(tokens=tokens, numbers=numbers)


class Everything(Echo):
    def forward(self, **fields):
        return self.note(**fields)


class LikeKeras(Echo):
    def forward(self, *args, **kwargs):
        return self.note(first=args[0])


TOKEN_BATCH = {
    "tokens": torch.ones(2, 4, dtype=torch.int64),
    "lengths": torch.tensor([4, 1]),
    "y": torch.zeros(2),
}


@pytest.mark.parametrize(
    ("module", "given"),
    [
        (OneTensor(), {"x"}),
        (WithLengths(), {"x", "lengths"}),
        (Named(), {"tokens"}),
        (Everything(), {"tokens", "lengths"}),
        (LikeKeras(), {"first"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_forward_is_called_as_it_is_written(module, given):
    Wired(module, shape(TOKENS))(TOKEN_BATCH)
    assert module.given.keys() == given


def test_several_fields_go_by_keyword():
    module = Named()
    Wired(module, shape(NUMBERS, TOKENS))({**TOKEN_BATCH, "numbers": torch.ones(2, 2)})
    assert module.given.keys() == {"numbers", "tokens"}


@pytest.mark.parametrize(
    ("module", "fields"),
    [(OneTensor(), (NUMBERS, TOKENS)), (Named(), (NUMBERS,)), (nn.Bilinear(2, 2, 3), (NUMBERS,))],
    ids=["one for two", "one is missing", "two for one"],
)
def test_forward_that_does_not_fit_is_refused(module, fields):
    with pytest.raises(UserError, match=f"forward of {type(module).__name__} takes"):
        Wired(module, shape(*fields))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(2, 7), r"Linear gives outputs of shape \(B, 7\), but the label has 3 classes"),
        (nn.Unflatten(1, (1, 2)), r"shape \(B, 1, 2\)"),
        (nn.LSTM(2, 3), "LSTM gives a tuple"),
    ],
    ids=["width", "dimensions", "tuple"],
)
def test_outputs_that_do_not_match_the_label_are_refused(module, message):
    with pytest.raises(UserError, match=message):
        Wired(module, shape())({"numbers": torch.ones(2, 2)})


def test_one_output_may_come_without_a_dimension_of_its_own():
    module = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    assert Wired(module, shape(num_outputs=1))({"numbers": torch.ones(5, 2)}).shape == (5, 1)


def test_numbers_are_standardised_and_missing_ones_are_the_mean():
    scale = Scale(mean=np.array([10.0, 0.0]), std=np.array([2.0, 1.0]))
    wired = Wired(nn.Linear(2, 3), shape(), {"numbers": scale})
    batch = {"numbers": torch.tensor([[14.0, -1.0], [np.nan, 3.0]])}
    assert wired.prepare(batch)["numbers"].tolist() == [[2.0, -1.0], [0.0, 3.0]]
    assert batch["numbers"][0].tolist() == [14.0, -1.0]


def test_missing_numbers_do_not_reach_the_weights():
    scale = Scale(mean=np.zeros(2), std=np.ones(2))
    wired = Wired(MLP(hidden=(4,)).build(shape()), shape(), {"numbers": scale})
    wired({"numbers": torch.tensor([[1.0, np.nan], [np.nan, np.nan]])}).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in wired.parameters())


def test_bytes_become_shares_of_one():
    wired = Wired(nn.Flatten(), shape(Field(kind="array", size=(3,))))
    batch = {"array": torch.tensor([[0, 51, 255]], dtype=torch.uint8)}
    assert wired(batch).tolist() == [[0.0, pytest.approx(0.2), 1.0]]


def test_pixels_of_a_matrix_share_one_scale():
    scale = Scale(mean=np.array([0.0, 4.0]), std=np.array([0.0, 2.0]))
    module = CNN(channels=(2,), image_shape=(1, 2)).build(shape())
    wired = Wired(module, shape(), {"numbers": scale})
    assert wired.numbers_mean.tolist() == [2.0, 2.0]
    assert wired.numbers_factor.tolist() == pytest.approx([6**-0.5, 6**-0.5])


def test_scale_is_saved_with_the_weights():
    scale = Scale(mean=np.array([1.0, 2.0]), std=np.array([4.0, 1.0]))
    wired = Wired(nn.Linear(2, 3), shape(), {"numbers": scale})
    empty = Wired(nn.Linear(2, 3), shape(), {"numbers": Scale(mean=np.zeros(2), std=np.ones(2))})
    empty.load_state_dict(wired.state_dict())
    batch = {"numbers": torch.randn(4, 2)}
    assert torch.equal(wired(batch), empty(batch))


def test_without_a_label_the_input_is_said_again():
    plain = shape(num_outputs=0)
    wired = Wired(Autoencoder(hidden=(4,)).build(plain), plain)
    assert wired({"numbers": torch.ones(5, 2)}).shape == (5, 2)


def test_layers_and_their_parameters_add_up():
    module = RNN(hidden_size=3, hidden=(4,)).build(shape(NUMBERS, TOKENS))
    layers = describe(module)
    assert sum(layer["parameters"] for layer in layers) == sum(
        p.numel() for p in module.parameters()
    )
    assert {"name": "reader.cells", "kind": "LSTM", "parameters": 828} in layers
    assert {"name": "head", "kind": "Linear", "parameters": 15} in layers
    assert {"name": "body.1", "kind": "ReLU", "parameters": 0} in layers


def test_shared_parameters_count_once():
    layer = nn.Linear(2, 2)
    module = nn.Sequential(layer, nn.Linear(2, 2))
    module[1].weight = layer.weight
    assert [each["parameters"] for each in describe(module)] == [6, 2]
