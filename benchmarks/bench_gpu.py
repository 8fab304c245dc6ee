"""A network on one GPU: beside a bare loop over tensors, in bf16, compiled, and short of memory.

Needs a GPU and about five minutes; nothing else in the project does. Each contender trains the same
network on the same rows with as many steps; the first epoch, in which kernels are chosen and
compiled, is left out.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from distml import session
from distml.train import MLP, NeuralClassifier, prefetch

ROWS, COLUMNS, BATCH, HIDDEN = 2_000_000, 100, 8192, (2048, 2048, 2048)


def rows(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that a linear rule does not part."""
    random = np.random.default_rng(0)
    X = random.standard_normal((num_rows, COLUMNS), dtype=np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int64)


def bare(X: np.ndarray, y: np.ndarray, epochs: int, *, precision: str, compiled: bool) -> float:
    """Rows a second of a loop as people write it, everything on the GPU."""
    sizes = (COLUMNS, *HIDDEN)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    model: Any = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 2)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    if compiled:
        model = torch.compile(model)
    features, labels = torch.from_numpy(X).cuda(), torch.from_numpy(y).cuda()
    speeds = []
    for _ in range(epochs):
        order = torch.randperm(len(X), device="cuda")
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for start in range(0, len(X), BATCH):
            chosen = order[start : start + BATCH]
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
                outputs = model(features[chosen])
            loss = nn.functional.cross_entropy(outputs.float(), labels[chosen])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        speeds.append(len(X) / (time.perf_counter() - begun))
    return statistics.median(speeds[1:])


def network(epochs: int, **parameters: Any) -> NeuralClassifier:
    """The same network as an estimator."""
    return NeuralClassifier(
        MLP(hidden=HIDDEN),
        epochs=epochs,
        batch_size=BATCH,
        standardize=False,
        random_state=0,
        **parameters,
    )


def speed(X: np.ndarray, y: np.ndarray, epochs: int, **parameters: Any) -> float:
    """Rows a second of the estimator."""
    fitted = network(epochs, **parameters).fit(X, y)
    return statistics.median(epoch["rows_per_s"] for epoch in fitted.history_[1:])


def beside_a_bare_loop(X: np.ndarray, y: np.ndarray, epochs: int) -> dict[str, float]:
    """Speed by precision, with and without compilation, and where batches come from."""
    found: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        for compiled in (False, True):
            name = f"{precision}{' compiled' if compiled else ''}"
            theirs = bare(X, y, epochs, precision=precision, compiled=compiled)
            ours = speed(X, y, epochs, precision=precision, compile=compiled)
            found |= {
                f"{name} bare": theirs,
                f"{name} distml": ours,
                f"{name} ratio": ours / theirs,
            }
    share, prefetch._RESIDENT_SHARE = prefetch._RESIDENT_SHARE, 0.0
    found["bf16 pinned"] = speed(X, y, epochs, precision="bf16")
    found["bf16 pinned of resident"] = found["bf16 pinned"] / found["bf16 distml"]
    prefetch._RESIDENT_SHARE = share
    found["fp16 distml"] = speed(X, y, epochs, precision="fp16")
    return found


def too_little_memory(X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """A batch that does not fit ends with the weights of one that was cut by hand."""
    X, y = X[:200_000], y[:200_000]
    parameters = {"batch_size": 100_000, "epochs": 2}
    wide = network(2).set_params(**parameters, accumulate=16).fit(X, y)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.2e9 / total)
    tight = network(2).set_params(**parameters).fit(X, y)
    torch.cuda.set_per_process_memory_fraction(1.0)
    gaps = [float(np.abs(wide.weights_[n] - tight.weights_[n]).max()) for n in wide.weights_]
    return {
        "out of memory": tight.counters_.out_of_memory,
        "largest gap of weights": max(gaps),
        "gap of losses": abs(wide.history_[-1]["train_loss"] - tight.history_[-1]["train_loss"]),
    }


def two_workers(X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Two workers on the one GPU: the same curve as one, and FSDP's memory beside DDP's."""
    X, y = X[:500_000], y[:500_000]
    found: dict[str, float] = {}
    one = network(2).fit(X, y)
    found["one worker loss"] = one.history_[-1]["train_loss"]
    session.connect(4)
    for strategy in ("ddp", "fsdp"):
        try:
            two = network(2, num_workers=2, gpus_per_worker=0.5, strategy=strategy).fit(X, y)
        except Exception as error:
            print(f"two workers, {strategy}: {type(error).__name__}: {error}"[:600])
            continue
        found[f"{strategy} loss"] = two.history_[-1]["train_loss"]
        found[f"{strategy} rows_per_s"] = two.history_[-1]["rows_per_s"]
        found[f"{strategy} peak MB"] = two.peak_gpu_bytes_ / 1e6
    session.disconnect()
    return found


def main() -> None:
    """Print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_gpu.py: there is no GPU here")
    X, y = rows(arguments.rows)
    figures: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    for name, measure in (
        ("beside a bare loop", lambda: beside_a_bare_loop(X, y, arguments.epochs)),
        ("too little memory", lambda: too_little_memory(X, y)),
        ("two workers on one GPU", lambda: two_workers(X, y)),
    ):
        begun = time.perf_counter()
        try:
            figures[name] = measure()
        except Exception as error:
            figures[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
        print(f"\n{name} ({time.perf_counter() - begun:.0f} s)")
        for key, value in figures[name].items():
            print(f"  {key:32} {value:,.4g}" if isinstance(value, float) else f"  {key:32} {value}")
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
