import pytest
import torch

from distml.train.modules import MLP
from distml.train.modules.network import Flat, embedding_size
from distml.train.shape import Field


@pytest.mark.parametrize(
    ("num_values", "asked", "size"), [(2, "auto", 1), (7, "auto", 4), (9000, "auto", 50), (7, 3, 3)]
)
def test_embedding_is_sized_by_the_number_of_values(num_values, asked, size):
    assert embedding_size(num_values, asked) == size


def test_unknown_category_begins_as_zeros_and_can_be_learnt():
    flat = Flat([Field(kind="categories", size=(2,), num_values=(3, 5))], embedding_dim=2)
    out = flat(categories=torch.tensor([[0, 1], [2, 0]]))
    assert out.shape == (2, flat.width)
    assert out[0, :2].tolist() == [0, 0]
    assert out[1, 2:].tolist() == [0, 0]
    assert out[0, 2:].abs().sum() > 0
    out.sum().backward()
    assert flat.embeddings[0].weight.grad[0].tolist() == [1, 1]


def test_sizes_are_derived_from_the_shape(shape_of):
    module = MLP(hidden=(8, 4), embedding_dim=5).build(shape_of("numbers", "categories", "array"))
    assert module.flat.width == 3 + 2 * 5 + 12
    assert [tuple(p.shape) for p in module.body.parameters() if p.ndim == 2] == [(8, 25), (4, 8)]
    assert module.head.weight.shape == (4, 4)
