"""The numbers that a job leaves to chance, fixed by its seed."""

import numpy as np
from sklearn.base import BaseEstimator, clone

__all__ = ["seeded"]


def seeded(estimator: BaseEstimator, seed: int) -> BaseEstimator:
    """A clone in which every `random_state` left at `None` has a number of its own from the seed.

    What a job does not fix is fixed by its seed, so a run can be resumed and reproduced. A number
    goes by its parameter's name, so a member keeps its own when others come, go, or are stacked in
    another way.
    """
    estimator = clone(estimator)
    return estimator.set_params(
        **{
            name: _number(seed, name)
            for name, value in estimator.get_params(deep=True).items()
            if name.split("__")[-1] == "random_state" and value is None
        }
    )


def _number(seed: int, name: str) -> int:
    """A number from 0 to 2**31 - 1, the most that every estimator takes."""
    return int(np.random.SeedSequence([seed, *name.encode()]).generate_state(1)[0] % (2**31))
