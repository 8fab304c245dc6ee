"""Networks as small parameter objects that build a module once the shape of the data is known.

Names are resolved on first use, so that one network does not load the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distml.train.modules.autoencoder import Autoencoder
    from distml.train.modules.cnn import CNN
    from distml.train.modules.mlp import MLP
    from distml.train.modules.rnn import RNN
    from distml.train.modules.transformer import Transformer

__all__ = ["CNN", "MLP", "RNN", "Autoencoder", "Transformer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{name.lower()}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
