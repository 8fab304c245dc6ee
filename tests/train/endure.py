"""A fit that takes its time, run by tests that kill parts of it: `endure.py FOLDER WORKERS [MOST]`.

Writes `started` when the first epoch is done, and `weights.npz` and `facts.json` at the end.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import make_classification

from distml import session
from distml.runs.events import use_events
from distml.runs.units import UnitStore, use_units
from distml.train import MLP, NeuralClassifier

folder, least = Path(sys.argv[1]), int(sys.argv[2])
workers = (least, int(sys.argv[3])) if len(sys.argv) > 3 else least
EPOCHS = int(os.environ.get("EPOCHS", "25"))
X, y = make_classification(16_000, 10, random_state=0)
events = []


def listen(kind, **fields):
    events.append({"kind": kind, **fields})
    if kind == "epoch":
        (folder / "started").touch()
    if kind == "workers":
        with (folder / "workers").open("a") as file:
            file.write(f"{fields['num_workers']}\n")


network = NeuralClassifier(
    MLP(hidden=(256, 256), dropout=0.2),
    epochs=EPOCHS,
    batch_size=128,
    num_workers=workers,
    cpus_per_worker=1,
    checkpoint_every_s=0.3,
    random_state=0,
)
with use_units(UnitStore(folder / "units")), use_events(listen):
    network.fit(X, y)
session.disconnect()
np.savez(folder / "weights.npz", **network.weights_)
(folder / "facts.json").write_text(
    json.dumps(
        {
            "lost": network.counters_.lost,
            "preempted": network.counters_.preempted,
            "epochs": [epoch["epoch"] for epoch in network.history_],
            "losses": [epoch["train_loss"] for epoch in network.history_],
            "logs": [event["message"] for event in events if event["kind"] == "log"],
        }
    )
)
