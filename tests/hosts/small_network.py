"""A network on two workers, each of which takes all CPUs of a host."""

from pathlib import Path

import numpy as np
import pyarrow as pa

import distml


def job(epochs: int = 20, data: Path = Path("/tmp/dots")) -> distml.Job:
    """Learn on which side of a plane dots are."""
    return distml.Job(
        task=distml.Fit(
            data=distml.write_shards(dots, data, num_shards=2, key="dots"),
            label="side",
            estimator=distml.NeuralClassifier(
                distml.MLP(hidden=(16,)),
                epochs=epochs,
                batch_size=256,
                num_workers=2,
                cpus_per_worker=2,
                random_state=0,
            ),
            split=distml.Split({"hold_out": distml.ByHash(0.25, key=["row"])}, seed=0),
            metrics=("accuracy", "neg_log_loss"),
        ),
        seed=0,
    )


def dots() -> pa.Table:
    """4,000 dots in six dimensions, some on the wrong side."""
    random = np.random.default_rng(0)
    values = random.normal(size=(4000, 6)).astype("float32")
    side = (values @ np.arange(6) + random.normal(size=4000) > 0).astype(int)
    columns = {f"x{i}": values[:, i] for i in range(6)}
    return pa.table({"row": range(4000), "side": side, **columns})
