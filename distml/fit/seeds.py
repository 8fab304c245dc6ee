"""The numbers that a job leaves to chance, fixed by its seed."""

import numpy as np
from sklearn.base import BaseEstimator, clone

__all__ = ["seeded"]


def seeded(estimator: BaseEstimator, seed: int) -> BaseEstimator:
    """A clone in which every `random_state` left at `None` has a number of its own from the seed.

    What a job does not fix is fixed by its seed, so a run can be resumed and reproduced.
    """
    estimator = clone(estimator)
    open_states = [
        name
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.split("__")[-1] == "random_state" and value is None
    ]
    numbers = np.random.SeedSequence(seed).generate_state(len(open_states)) % (2**31)
    return estimator.set_params(**dict(zip(open_states, map(int, numbers), strict=True)))
