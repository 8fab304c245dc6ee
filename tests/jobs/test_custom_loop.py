from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

import distml


def test_an_epoch_prices_diamonds_better_than_one_price_for_all(
    custom_job: ModuleType, tmp_path: Path
) -> None:
    job = replace(custom_job.job(epochs=1, data=tmp_path / "diamonds"), report=False)

    done = distml.run(job, storage=tmp_path / "runs")

    told = done.metrics["best"]
    assert next(iter(told)) == "val_loss"
    # The quantiles of all prices, whatever the diamond, come to .25.
    assert told["val_loss"] < 0.1
    assert 0.5 < told["test_coverage"] < 1.0
    assert sum(done.record.details["rows"].values()) == 53_940


def test_quantiles_do_not_cross(custom_job: ModuleType) -> None:
    shape = {"numbers": _Field(width=2), "categories": _Field(num_values=(3, 4))}
    network = custom_job.Prices(shape)

    outputs = network(torch.randn(50, 2) * 10, torch.zeros(50, 2, dtype=torch.int64))

    assert outputs.shape == (50, 3)
    assert bool((outputs.diff(dim=1) > 0).all())


def test_pinball_loss_weighs_the_rarer_side_more(custom_job: ModuleType) -> None:
    losses = custom_job.pinball(torch.zeros(2, 3), torch.tensor([[1.0], [-1.0]]))

    assert losses[0].tolist() == pytest.approx([0.1, 0.5, 0.9])
    assert losses[1].tolist() == pytest.approx([0.9, 0.5, 0.1])


class _Field:
    def __init__(self, width: int = 0, num_values: tuple[int, ...] = ()) -> None:
        self.width, self.num_values = width, num_values
