"""A small network on 1,000,000 x 30: rows a second and time to the first step, beside peers.

An MLP of 128 and 64, batches of 1024 rows (and of 2048 and 8192), one thread a worker. Beside
distml in this process and on two workers: a bare loop over tensors, torch's own DataLoader, Ray
Data, and skorch and Lightning where they are installed (`pip install skorch lightning`).
The first epoch is left out of the speed. Two bare loops at one time, each with half of every batch
and nothing to tell the other, show the most that two workers could reach.
"""

import importlib.util
import multiprocessing
import statistics
import time
from argparse import Namespace
from typing import Any

import numpy as np
import torch
from measure import Figures, compare, median, table, write
from torch import nn
from torch.nn.functional import cross_entropy

from distml import session
from distml.train import MLP, NeuralClassifier

EPOCHS = 4
CONTENDERS = [
    "bare", "bare 2048", "bare 8192", "distml", "distml 2048", "distml 8192", "2 bare",
    "2 bare 2048", "2 bare 8192", "2 workers", "2 workers 2048", "2 workers 8192", "loader",
    "ray data",
]  # fmt: skip


def rows(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that a linear rule does not part."""
    random = np.random.default_rng(0)
    X = random.standard_normal((num_rows, 30), dtype=np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int64)


def module() -> nn.Sequential:
    """The network of all contenders."""
    layers = [nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2)]
    return nn.Sequential(*layers)


def loop(batches: Any, num_rows: int) -> Figures:
    """Train on batches as people write it; `batches()` gives those of an epoch."""
    first = time.perf_counter()
    model = module()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    before, speeds = time.perf_counter() - first, []
    for _ in range(EPOCHS):
        begun = time.perf_counter()
        for X, y in batches():
            loss = cross_entropy(model(X), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        speeds.append(num_rows / (time.perf_counter() - begun))
    return {"rows_per_s": statistics.median(speeds[1:]), "before_s": before}


def bare(X: np.ndarray, y: np.ndarray, batch_size: int) -> Figures:
    """A permutation, and rows picked from tensors."""
    features, labels = torch.from_numpy(X), torch.from_numpy(y)

    def batches() -> Any:
        order = torch.randperm(len(X))
        for start in range(0, len(X), batch_size):
            chosen = order[start : start + batch_size]
            yield features[chosen], labels[chosen]

    return loop(batches, len(X))


def two_bare(num_rows: int, batch_size: int) -> Figures:
    """Two bare loops side by side: rows a second of both."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        both = pool.starmap(_half, [(num_rows // 2, batch_size // 2)] * 2, chunksize=1)
    return {"rows_per_s": sum(both), "before_s": 0.0}


def _half(num_rows: int, batch_size: int) -> float:
    torch.set_num_threads(1)
    return float(bare(*rows(num_rows), batch_size)["rows_per_s"])


def loader(X: np.ndarray, y: np.ndarray) -> Figures:
    """The DataLoader of torch over the same tensors, in this process."""
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    made = torch.utils.data.DataLoader(data, batch_size=1024, shuffle=True)
    return loop(lambda: made, len(X))


def skorch(X: np.ndarray, y: np.ndarray) -> Figures:
    """Networks as scikit-learn estimators by skorch."""
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        module(), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, batch_size=1024,
        max_epochs=EPOCHS, train_split=None, iterator_train__shuffle=True, verbose=0,
    )  # fmt: skip
    begun = time.perf_counter()
    net.fit(X, y)
    seconds = time.perf_counter() - begun
    return {"rows_per_s": EPOCHS * len(X) / seconds, "before_s": 0.0}


def lightning(X: np.ndarray, y: np.ndarray) -> Figures:
    """Lightning's trainer over torch's DataLoader, with nothing switched on that can be off."""
    import lightning

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = module()

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), fused=True)

    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    begun = time.perf_counter()
    trainer.fit(Net(), torch.utils.data.DataLoader(data, batch_size=1024, shuffle=True))
    seconds = time.perf_counter() - begun
    return {"rows_per_s": EPOCHS * len(X) / seconds, "before_s": 0.0}


def ray_data(X: np.ndarray, y: np.ndarray) -> Figures:
    """Batches of Ray Data, shuffled within a buffer of ten, in this process."""
    import ray

    session.connect(2)
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.from_numpy(np.column_stack([X, y.astype(np.float32)]))

    def batches() -> Any:
        for batch in data.iter_torch_batches(batch_size=1024, local_shuffle_buffer_size=10_240):
            yield batch["data"][:, :30], batch["data"][:, 30].long()

    figures = loop(batches, len(X))
    session.disconnect()
    return figures


def distml(X: np.ndarray, y: np.ndarray, batch_size: int, num_workers: int) -> Figures:
    """The estimator; what is not spent in epochs comes before the first step or after the last."""
    network = NeuralClassifier(
        MLP(hidden=(128, 64)), epochs=EPOCHS, batch_size=batch_size, standardize=False,
        num_workers=num_workers, cpus_per_worker=1, random_state=0,
    )  # fmt: skip
    if num_workers:
        session.connect(num_workers)
    begun = time.perf_counter()
    network.fit(X, y)
    seconds = time.perf_counter() - begun
    session.disconnect()
    epochs = network.history_
    return {
        "rows_per_s": statistics.median(epoch["rows_per_s"] for epoch in epochs[1:]),
        "before_s": seconds - sum(epoch["seconds"] for epoch in epochs),
    }


PEERS = {"skorch": skorch, "lightning": lightning, "ray data": ray_data}


def measure(contender: str, arguments: Namespace) -> Figures:
    """Train once."""
    torch.set_num_threads(1)
    X, y = rows(arguments.rows)
    last = contender.split()[-1]
    batch_size = int(last) if last.isdigit() else 1024
    if contender == "loader":
        return loader(X, y)
    if contender in PEERS:
        return PEERS[contender](X, y)
    if contender.startswith("2 bare"):
        return two_bare(arguments.rows, batch_size)
    if contender.startswith("bare"):
        return bare(X, y, batch_size)
    return distml(X, y, batch_size, 2 if contender.startswith("2 workers") else 0)


def main() -> None:
    """Print the ratios and write them."""
    there = [name for name in ("skorch", "lightning") if importlib.util.find_spec(name)]
    contenders = [*CONTENDERS, *there]
    results, arguments = compare(contenders, measure, options={"rows": 1_000_000})
    speed = {name: median(results, name, "rows_per_s") for name in contenders}
    before = {name: median(results, name, "before_s") for name in contenders}
    ratios = {}
    for size in ("", " 2048", " 8192"):
        end = size.replace(" ", "_")
        ratios[f"one_of_bare{end}"] = speed[f"distml{size}"] / speed[f"bare{size}"]
        ratios[f"two_bare_of_one{end}"] = speed[f"2 bare{size}"] / speed[f"bare{size}"]
        ratios[f"two_of_one{end}"] = speed[f"2 workers{size}"] / speed[f"distml{size}"]
    ratios |= {
        "one_of_loader": speed["distml"] / speed["loader"],
        "before_over_bare_s": before["distml"] - before["bare"],
        "before_over_bare_two_workers_s": before["2 workers"] - before["bare"],
    }
    for name in ("ray data", *there):
        ratios[f"one_of_{name.replace(' ', '_')}"] = speed["distml"] / speed[name]
    print(f"an MLP of 128 and 64 on {arguments.rows} x 30, one thread a worker")
    cells = [(name, speed[name], speed[name] / speed["bare"], before[name]) for name in contenders]
    print(table(("", "rows/s", "of bare", "seconds beside epochs"), cells))
    for name, value in ratios.items():
        print(f"{name:34} {value:.3g}")
    print(write("network", ratios, results, rows=arguments.rows, epochs=EPOCHS))


if __name__ == "__main__":
    main()
