"""Data-parallel training of networks: as scikit-learn estimators, and as loops of one's own.

Names are resolved on first use, so that naming an estimator does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distml.train.context import Train
    from distml.train.estimator import NeuralClassifier, NeuralRegressor, NeuralTransformer
    from distml.train.inputs import Inputs
    from distml.train.loop import Loop
    from distml.train.modules import CNN, MLP, RNN, Autoencoder, Transformer

__all__ = [
    "CNN",
    "MLP",
    "RNN",
    "Autoencoder",
    "Inputs",
    "Loop",
    "NeuralClassifier",
    "NeuralRegressor",
    "NeuralTransformer",
    "Train",
    "Transformer",
]

_HOME = {
    "CNN": "modules",
    "MLP": "modules",
    "RNN": "modules",
    "Autoencoder": "modules",
    "Inputs": "inputs",
    "Loop": "loop",
    "NeuralClassifier": "estimator",
    "NeuralRegressor": "estimator",
    "NeuralTransformer": "estimator",
    "Train": "context",
    "Transformer": "modules",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
