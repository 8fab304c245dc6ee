"""Search for hyper-parameters: every fold of every trial a unit of the flat graph.

Names are resolved on first use, so that a process that runs trials loads what they need and no
more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distml.tune.ensemble import TunedEnsemble
    from distml.tune.estimator import TuneSearchCV
    from distml.tune.task import Tune

__all__ = ["Tune", "TuneSearchCV", "TunedEnsemble"]

_HOME = {"Tune": "task", "TuneSearchCV": "estimator", "TunedEnsemble": "ensemble"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
