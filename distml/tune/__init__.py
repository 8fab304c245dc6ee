"""Search for hyper-parameters: every fold of every trial a unit of the flat graph."""

from distml.tune.estimator import TuneSearchCV

__all__ = ["TuneSearchCV"]
