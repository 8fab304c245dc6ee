"""What does a diamond cost at least, probably, and at most? A network and a loop of one's own.

Trains    a network that says the 10 %, 50 % and 90 % quantile of the price at once, by the pinball
          loss on its logarithm, with gradients clipped and a one-cycle schedule.
Data      53,940 diamonds (PyPI plotnine, MIT): carat, depth and measures as numbers; cut, colour
          and clarity as categories with embeddings. Written once as 4 Parquet shards.
Tested    on a fifth of the rows, chosen by a hash of the whole row. Which epoch is the best is told
          by another tenth, `validation`, so no row of `test` was ever looked at before.
Takes     about 15 seconds on 2 cores.
Expect    .802 of the prices of `test` between the outer quantiles, which .8 should be, and a median
          that is off by 312 dollars on average (four seeds: .791 to .803, 297 to 312 dollars).
Command   distml run jobs/custom_loop.py
          distml run jobs/custom_loop.py --epochs 3 --workers 2
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import csv
from torch import nn
from torch.nn.functional import softplus

import distml

QUANTILES = (0.1, 0.5, 0.9)


class Prices(nn.Module):
    """Quantiles of the logarithm of the price, which cannot cross: two steps away from the middle.

    Args:
        shape: What the rows look like; the layers are sized by it.
    """

    def __init__(self, shape: Any, width: int = 128) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(
            nn.Embedding(num_values, 4) for num_values in shape["categories"].num_values
        )
        num_inputs = shape["numbers"].width + 4 * len(self.embeddings)
        self.layers = nn.Sequential(
            nn.Linear(num_inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, len(QUANTILES)),
        )  # fmt: skip

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """Three quantiles of shape (n, 3) of numbers that are standardised already."""
        columns = zip(self.embeddings, categories.T, strict=True)
        embedded = [embed(codes) for embed, codes in columns]
        middle, below, above = self.layers(torch.cat([numbers, *embedded], dim=1)).unbind(1)
        # Prices lie between 300 and 20,000 dollars, so their logarithms around 8.
        middle = middle + 8.0
        return torch.stack(
            [middle - softplus(below - 2), middle, middle + softplus(above - 2)], dim=1
        )


def train_loop(
    train: distml.Train, epochs: int = 30, batch_size: int = 256, lr: float = 5e-3
) -> None:
    """The training as it would be written without distml, but for the lines that begin `train.`.

    Args:
        train: Brings the batches, keeps the checkpoints, takes the reports.
        epochs: How often all rows are seen.
        batch_size: Rows of a step, over all workers.
        lr: Highest learning rate.
    """
    model = train.prepare(train.network(Prices, num_outputs=len(QUANTILES)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-3)
    steps = epochs * train.num_batches("train", batch_size)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    train.resume(model=model, optimizer=optimizer, scheduler=scheduler)
    for _ in train.epochs(epochs):
        for batch in train.batches("train", batch_size=batch_size):
            loss = batch.mean(pinball(model(batch), batch["y"].log()))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        train.report(
            {f"val_{name}": value for name, value in measure(train, model, "validation").items()}
            | {f"test_{name}": value for name, value in measure(train, model, "test").items()}
        )


def pinball(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How far each quantile is off, the rarer side weighing more: shape (n, 3)."""
    over = target - outputs
    levels = torch.tensor(QUANTILES, device=outputs.device)
    return torch.maximum(levels * over, (levels - 1) * over)


@torch.no_grad()
def measure(train: distml.Train, model: nn.Module, part: str) -> dict[str, float]:
    """The loss, the share of prices between the outer quantiles, and the median's error in dollars.

    The mean of a batch is this worker's share of it, and `report` takes the mean over the workers:
    together they give the mean over all rows, however many workers there are.
    """
    sums = torch.zeros(3, dtype=torch.float64)
    for batch in train.batches(part, batch_size=4096):
        outputs, price = model(batch), batch["y"]
        low, middle, high = outputs.exp().unbind(1)
        inside = (low <= price[:, 0]) & (price[:, 0] <= high)
        rows = [pinball(outputs, price.log()), inside.float(), (middle - price[:, 0]).abs()]
        sums += torch.stack([batch.mean(each) for each in rows]).cpu() * batch.global_rows
    loss, inside, error = (sums / train.parts[part].num_rows).tolist()
    return {"loss": loss, "coverage": inside, "abs_error": error}


def job(
    epochs: int = 30,
    lr: float = 5e-3,
    workers: int = 0,
    seed: int = 0,
    data: Path = Path("data/diamonds"),
) -> distml.Job:
    """Train a network that prices diamonds with a range.

    Args:
        epochs: How often all rows are seen.
        lr: Highest learning rate.
        workers: Over which the batches are spread; 0 trains in one process.
        seed: Everything random comes from it.
        data: Folder of the shards; written if it is not there.
    """
    return distml.Job(
        task=distml.Loop(
            train_loop,
            data=prepare(data),
            label="price",
            task="regression",
            split=distml.Split(
                {"test": distml.ByHash(0.2), "validation": distml.ByHash(0.125)}, seed=seed
            ),
            params={"epochs": epochs, "lr": lr},
            metric="val_loss",
            num_workers=workers,
            # A step is too little work to be shared by threads.
            cpus_per_worker=1,
        ),
        seed=seed,
    )


def prepare(folder: Path) -> distml.ShardedDataset:
    """The diamonds as shards in `folder`, written the first time."""
    return distml.write_shards(diamonds, folder, num_shards=4, key="plotnine diamonds, version 1")


def diamonds() -> pa.Table:
    """The table of the package plotnine, which is read as a file and never imported."""
    package = find_spec("plotnine")
    if package is None or package.origin is None:
        raise distml.DataError("plotnine is not installed; pip install --no-deps plotnine")
    return csv.read_csv(Path(package.origin).parent / "data" / "diamonds.csv")
