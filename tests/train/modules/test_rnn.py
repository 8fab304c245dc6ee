import pytest
import torch

from distml.train.modules import RNN


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_last_state_is_that_of_the_last_step_of_each_row(cell, shape_of, batch_of):
    shape = shape_of("sequence")
    reader = RNN(cell, hidden_size=3).build(shape).eval().reader
    batch = batch_of(shape, lengths=(5, 2))
    states, _ = reader.cells(batch["sequence"])
    assert torch.allclose(reader(**batch), torch.stack([states[0, 4], states[1, 1]]), atol=1e-6)


def test_mean_is_over_the_steps_that_there_are(shape_of, batch_of):
    shape = shape_of("sequence")
    reader = RNN(hidden_size=3, pool="mean").build(shape).eval().reader
    batch = batch_of(shape, lengths=(5, 2))
    states, _ = reader.cells(batch["sequence"])
    judge = torch.stack([states[0].mean(0), states[1, :2].mean(0)])
    assert torch.allclose(reader(**batch), judge, atol=1e-6)


def test_both_ends_are_read(shape_of, batch_of):
    shape = shape_of("sequence")
    reader = RNN(hidden_size=3, bidirectional=True, num_layers=2).build(shape).eval().reader
    assert reader(**batch_of(shape)).shape == (3, reader.width) == (3, 6)
