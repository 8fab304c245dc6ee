"""Weights that know photographs, taken over by a network that looks at drawings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

import distml


@pytest.fixture(scope="module")
def emoji_job(load_job: Callable[[str], ModuleType]) -> ModuleType:
    return load_job("transfer_learning")


@pytest.fixture(scope="module")
def few(emoji_job: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emoji") / "few"
    distml.write_shards(emoji_job.emoji(every=12), folder, key=emoji_job.KEY)
    return folder


def accuracy(job: distml.Job, storage: Path) -> float:
    done = distml.run(replace(job, report=False), storage=storage)
    return float(done.metrics["hold_out"]["accuracy"])


def test_drawings_have_categories_and_no_skin_tones(emoji_job: ModuleType, few: Path) -> None:
    table = distml.ShardedDataset.open(few).to_table()
    assert len(set(table["category"].to_pylist())) == 8
    assert not any("1f3fd" in code for code in table["emoji"].to_pylist())
    assert emoji_job._code("0023-FE0F-20E3") == "23-20e3"


def test_every_weight_but_the_head_is_taken_over(emoji_job: ModuleType, few: Path) -> None:
    network = emoji_job.job(epochs=0, data=few).task.estimator
    table = distml.ShardedDataset.open(few).to_table().slice(0, 64)
    network.fit(table.select(["image"]), table["category"].to_numpy())
    assert {name for name in network.transfer_.missing if "head" not in name} == set()
    assert network.transfer_.unused == network.transfer_.mismatched == ()


def test_what_is_known_keeps_its_statistics_in_training(emoji_job: ModuleType) -> None:
    images = torch.rand(4, 64, 64, 3)
    for module, moves in ((emoji_job.Emoji(8), False), (emoji_job.ignorant(8), True)):
        before = module.net._bn0.running_mean.clone()
        assert module.train()(images).shape == (4, 8)
        assert (not torch.equal(before, module.net._bn0.running_mean)) is moves


def test_a_new_head_alone_is_better_than_guessing(
    emoji_job: ModuleType, few: Path, tmp_path: Path
) -> None:
    assert accuracy(emoji_job.job(learns="head", epochs=4, data=few), tmp_path) > 0.4


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_photographs_are_worth_more_than_the_stated_margin(
    emoji_job: ModuleType, tmp_path: Path
) -> None:
    known, random = (
        accuracy(emoji_job.job(weights=weights, epochs=4, data=tmp_path / "data"), tmp_path / "run")
        for weights in ("imagenet", "random")
    )
    assert known - random > 0.12
