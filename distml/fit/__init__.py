"""The Fit task: one estimator on one sharded dataset, evaluated beside its baselines."""

from distml.fit.task import Fit

__all__ = ["Fit"]
