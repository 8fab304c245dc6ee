import torch

from distml.train.modules import Transformer


def test_steps_beyond_the_longest_length_are_not_read(shape_of, batch_of):
    shape = shape_of("tokens")
    module = Transformer(8, num_heads=2, max_length=3).build(shape).eval()
    batch = batch_of(shape, lengths=(5, 4))
    short = {"tokens": batch["tokens"][:, :3], "lengths": torch.tensor([3, 3])}
    assert torch.allclose(module(**batch), module(**short), atol=1e-6)


def test_order_of_steps_matters(shape_of, batch_of):
    torch.manual_seed(0)
    shape = shape_of("tokens")
    module = Transformer(8, num_heads=2).build(shape).eval()
    batch = batch_of(shape, lengths=(5, 5))
    turned = {**batch, "tokens": batch["tokens"].flip(1)}
    assert not torch.allclose(module(**batch), module(**turned), atol=1e-4)
