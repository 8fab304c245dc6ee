import pytest
import torch

from distml.train.modules import Autoencoder


@pytest.mark.parametrize(
    ("sizes", "channels"),
    [
        pytest.param({"numbers": (5,)}, (), id="numbers"),
        pytest.param({"array": (4, 3)}, (), id="dense over an array"),
        pytest.param({"array": (9,)}, (2, 3), id="signal"),
        pytest.param({"array": (1,)}, (2, 3), id="one number"),
        pytest.param({"array": (28, 27)}, (2, 3, 4), id="image"),
        pytest.param({"array": (3, 8, 5)}, (2,), id="channels first"),
        pytest.param({"array": (8, 5, 3)}, (2, 2), id="channels last"),
    ],
)
def test_reconstruction_has_the_shape_of_the_input_and_every_weight_a_gradient(
    sizes, channels, shape_of
):
    (kind, size), *_ = sizes.items()
    spec = Autoencoder(hidden=(6,), code_size=2, channels=channels)
    module = spec.build(shape_of(num_outputs=0, **sizes))
    values = torch.randn(3, *size)
    outputs = module(**{kind: values})
    assert outputs.shape == values.shape
    outputs.sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    code = module.encode(values)
    assert code.shape == (3, 2)
    assert torch.equal(module.decode(code), outputs)


def test_noise_is_added_in_training_only(shape_of):
    module = Autoencoder(hidden=(6,), noise=0.5).build(shape_of(num_outputs=0, numbers=(5,)))
    values = torch.randn(3, 5)
    assert not torch.equal(module(numbers=values), module(numbers=values))
    module.eval()
    assert torch.equal(module(numbers=values), module(numbers=values))


def test_it_learns_a_line(shape_of):
    torch.manual_seed(0)
    line = torch.randn(64, 1) @ torch.tensor([[1.0, -2.0, 0.5]])
    module = Autoencoder(hidden=(8,), code_size=1).build(shape_of(num_outputs=0, numbers=(3,)))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(200):
        loss = (module(numbers=line) - line).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * float(line.square().mean())
