"""What holds for every network: it can be described, built, fitted, and fed what it takes."""

import pickle

import pytest
import skops.io
import torch
from sklearn.base import clone

from distml.errors import UserError
from distml.train import modules
from distml.train.modules import CNN, MLP, RNN, Autoencoder, Transformer

SPECS = [
    pytest.param(MLP(hidden=(8, 4)), ("numbers", "categories", "array"), id="mlp"),
    pytest.param(MLP(hidden=()), ("numbers",), id="linear"),
    pytest.param(MLP(hidden=(8,), norm="batch", dropout=0.1), ("categories",), id="mlp batch norm"),
    pytest.param(MLP(hidden=(8,), norm="layer", activation="gelu"), ("array",), id="layer norm"),
    pytest.param(CNN(channels=(4,), hidden=(8,)), ("array", "numbers"), id="cnn"),
    pytest.param(CNN(channels=(4, 4), dims=1, norm="layer", dropout=0.1), ("array",), id="cnn 1-d"),
    pytest.param(RNN(hidden_size=5), ("sequence",), id="lstm"),
    pytest.param(RNN("gru", hidden_size=5, pool="mean"), ("tokens", "categories"), id="gru mean"),
    pytest.param(
        RNN(hidden_size=5, bidirectional=True, num_layers=2, dropout=0.1, hidden=(6,)),
        ("tokens",),
        id="bidirectional lstm",
    ),
    pytest.param(RNN(hidden_size=5), ("array",), id="lstm over an array"),
    pytest.param(Transformer(8, num_heads=2, num_layers=1), ("tokens",), id="transformer"),
    pytest.param(
        Transformer(8, num_heads=2, num_layers=1, pool="cls", hidden=(6,)),
        ("sequence", "numbers"),
        id="transformer cls",
    ),
]
RAGGED = [spec for spec in SPECS if {"sequence", "tokens"} & set(spec.values[1])]


@pytest.mark.parametrize(("spec", "kinds"), SPECS)
def test_outputs_have_the_shape_of_the_label_and_every_weight_a_gradient(
    spec, kinds, shape_of, batch_of
):
    torch.manual_seed(0)
    shape = shape_of(*kinds)
    module = spec.build(shape)
    outputs = module(**batch_of(shape))
    assert outputs.shape == (3, 4)
    outputs.square().sum().backward()
    without = [name for name, p in module.named_parameters() if p.grad is None]
    assert without == []
    assert module.features(**batch_of(shape)).shape == (3, module.head.in_features)


@pytest.mark.parametrize(("spec", "kinds"), RAGGED)
def test_padding_does_not_change_a_row(spec, kinds, shape_of, batch_of):
    torch.manual_seed(0)
    shape = shape_of(*kinds)
    module = spec.build(shape).eval()
    batch = batch_of(shape, lengths=(5, 1, 3))
    with torch.no_grad():
        together = module(**batch)
        for row, length in enumerate([5, 1, 3]):
            alone = {name: tensor[row : row + 1] for name, tensor in batch.items()}
            for kind in {"sequence", "tokens"} & alone.keys():
                alone[kind] = alone[kind][:, :length]
            assert torch.allclose(module(**alone), together[row], atol=1e-6)


@pytest.mark.parametrize(("spec", "kinds"), RAGGED)
def test_what_stands_beyond_the_end_of_a_row_is_not_read(spec, kinds, shape_of, batch_of):
    torch.manual_seed(0)
    shape = shape_of(*kinds)
    module = spec.build(shape).eval()
    batch = batch_of(shape, lengths=(5, 1, 3))
    with torch.no_grad():
        clean = module(**batch)
        for kind in {"sequence", "tokens"} & batch.keys():
            batch[kind][1, 1:] = 7
        assert torch.allclose(module(**batch), clean, atol=1e-6)


@pytest.mark.parametrize(("spec", "kinds"), SPECS)
def test_same_seed_gives_the_same_weights(spec, kinds, shape_of):
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(spec.build(shape_of(*kinds)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


ALL = [MLP(), CNN(), RNN(), Transformer(), Autoencoder()]


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: type(spec).__name__)
def test_description_is_a_parameter_object(spec):
    name = next(iter(spec.get_params()))
    changed = clone(spec).set_params(**{name: "other"})
    assert getattr(changed, name) == "other"
    assert repr(changed) == f"{type(spec).__name__}({name}='other')"
    assert clone(spec).get_params() == spec.get_params()
    assert pickle.loads(pickle.dumps(spec)).get_params() == spec.get_params()


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: type(spec).__name__)
def test_description_is_kept_by_skops(spec):
    content = skops.io.dumps(spec)
    trusted = skops.io.get_untrusted_types(data=content)
    assert trusted == [f"distml.train.modules.{type(spec).__name__.lower()}.{type(spec).__name__}"]
    assert skops.io.loads(content, trusted=trusted).get_params() == spec.get_params()


@pytest.mark.parametrize(
    ("spec", "kinds", "message"),
    [
        (MLP(), ("sequence",), r"MLP takes numbers, categories and arrays of one size, and the "
         r"data has sequence \(heart\): rows of varying length are for RNN or Transformer"),
        (CNN(), ("tokens",), r"CNN takes .* tokens \(tweet\): use RNN or Transformer"),
        (CNN(), ("numbers",), r"CNN reads arrays .* only numbers \(a, b, c\); .*image_shape"),
        (CNN(image_shape=(2, 2)), ("numbers",), r"image_shape=\(2, 2\) has 4 numbers, .* has 3"),
        (RNN(), ("numbers",), r"RNN reads sequences, .* only numbers \(a, b, c\); use MLP"),
        (Transformer(), ("categories",), "Transformer reads sequences"),
        (Autoencoder(), ("categories",), "Autoencoder takes numbers and arrays of one size"),
        (Autoencoder(), ("numbers", "array"), "drop the columns of one"),
        (Autoencoder(channels=(4,)), ("numbers",), "channels need arrays"),
        (Transformer(9, num_heads=2), ("tokens",), "dim=9 must be a multiple of num_heads=2"),
        (MLP(hidden=(8, 0)), ("numbers",), r"hidden=\(8, 0\) must be whole numbers from 1"),
        (MLP(dropout=1), ("numbers",), "dropout=1 must be at least 0 and below 1"),
        (MLP(activation="step"), ("numbers",), "activation='step' must be one of 'relu'"),
        (MLP(norm="group"), ("numbers",), "norm='group' must be one of None, 'batch', 'layer'"),
        (MLP(embedding_dim=0), ("categories",), "embedding_dim=0 must be a whole number"),
        (RNN("elman"), ("tokens",), "cell='elman' must be one of 'lstm', 'gru'"),
        (RNN(num_layers=True), ("tokens",), "num_layers=True must be a whole number"),
        (Autoencoder(noise=-1), ("numbers",), "noise=-1 must be at least 0"),
        (CNN(dims=3), ("array",), "dims=3 must be one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_in_one_line(spec, kinds, message, shape_of):
    with pytest.raises(UserError, match=message) as caught:
        spec.build(shape_of(*kinds))
    assert "\n" not in str(caught.value)


def test_networks_for_a_label_need_one(shape_of):
    with pytest.raises(UserError, match="MLP predicts a label; use Autoencoder"):
        MLP().build(shape_of("numbers", num_outputs=0))


def test_public_names_resolve_on_first_use():
    assert set(modules.__all__) <= set(dir(modules))
    with pytest.raises(AttributeError, match="GAN"):
        modules.GAN  # noqa: B018
