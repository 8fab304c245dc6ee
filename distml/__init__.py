"""distml: one training job, unchanged from a laptop to a Ray cluster to a cloud that scales itself.

One decision: the public names are resolved when they are first used, from the literal table below,
so that `import distml` and the commands that only read a run's storage load neither ray, torch,
scikit-learn, pandas nor pyarrow.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distml.data import (
        ByGroup,
        ByHash,
        ByTime,
        Encoder,
        ShardedDataset,
        Split,
        Stratified,
        write_shards,
    )
    from distml.ensemble import (
        BaggingClassifier,
        BaggingRegressor,
        SelectionClassifier,
        SelectionRegressor,
        StackingClassifier,
        StackingRegressor,
        VotingClassifier,
        VotingRegressor,
    )
    from distml.errors import DataError, DistmlError, MemberError, StorageError, UserError
    from distml.fit import Fit
    from distml.fit.scoring import Evaluate
    from distml.interactive import Run, run
    from distml.job import Job, Resources, Result, RunContext
    from distml.predict import Predict
    from distml.runs.bundle import load
    from distml.train import (
        CNN,
        MLP,
        RNN,
        Autoencoder,
        Inputs,
        Loop,
        NeuralClassifier,
        NeuralRegressor,
        NeuralTransformer,
        Train,
        Transformer,
    )
    from distml.tune import Tune, TunedEnsemble, TuneSearchCV

__all__ = [
    "CNN",
    "MLP",
    "RNN",
    "Autoencoder",
    "BaggingClassifier",
    "BaggingRegressor",
    "ByGroup",
    "ByHash",
    "ByTime",
    "DataError",
    "DistmlError",
    "Encoder",
    "Evaluate",
    "Fit",
    "Inputs",
    "Job",
    "Loop",
    "MemberError",
    "NeuralClassifier",
    "NeuralRegressor",
    "NeuralTransformer",
    "Predict",
    "Resources",
    "Result",
    "Run",
    "RunContext",
    "SelectionClassifier",
    "SelectionRegressor",
    "ShardedDataset",
    "Split",
    "StackingClassifier",
    "StackingRegressor",
    "StorageError",
    "Stratified",
    "Train",
    "Transformer",
    "Tune",
    "TuneSearchCV",
    "TunedEnsemble",
    "UserError",
    "VotingClassifier",
    "VotingRegressor",
    "__version__",
    "load",
    "run",
    "write_shards",
]

__version__ = "0.1.0"

_HOMES = {
    "distml.data": (
        "ByGroup", "ByHash", "ByTime", "Encoder", "ShardedDataset", "Split", "Stratified",
        "write_shards",
    ),
    "distml.ensemble": (
        "BaggingClassifier", "BaggingRegressor", "SelectionClassifier", "SelectionRegressor",
        "StackingClassifier", "StackingRegressor", "VotingClassifier", "VotingRegressor",
    ),
    "distml.errors": ("DataError", "DistmlError", "MemberError", "StorageError", "UserError"),
    "distml.fit": ("Fit",),
    "distml.fit.scoring": ("Evaluate",),
    "distml.interactive": ("Run", "run"),
    "distml.job": ("Job", "Resources", "Result", "RunContext"),
    "distml.predict": ("Predict",),
    "distml.runs.bundle": ("load",),
    "distml.train": (
        "Autoencoder", "CNN", "Inputs", "Loop", "MLP", "NeuralClassifier", "NeuralRegressor",
        "NeuralTransformer", "RNN", "Train", "Transformer",
    ),
    "distml.tune": ("Tune", "TuneSearchCV", "TunedEnsemble"),
}  # fmt: skip
"""Module → the public names that live there."""


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module 'distml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
