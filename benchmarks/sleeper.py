"""A classifier whose fit takes a given time and no CPU: the rest of a run's time is overhead."""

import time

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

__all__ = ["Sleeper"]


class Sleeper(ClassifierMixin, BaseEstimator):
    """Sleeps."""

    def __init__(self, seconds=0.2, random_state=None):
        self.seconds = seconds
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        """Sleep for the time given."""
        time.sleep(self.seconds)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        """The first class, always."""
        return np.full(len(X), self.classes_[0])
