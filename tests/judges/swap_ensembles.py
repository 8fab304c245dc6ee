"""A pytest plugin: scikit-learn's ensemble classes become ours before its tests import them.

Loaded by `test_sklearn_suites.py` in a process of its own (`pytest -p swap_ensembles`), whose tests
share one Ray. `JUDGED_MODULE=sklearn.ensemble` judges scikit-learn's own classes.
"""

import importlib
import os

import pytest
import sklearn.ensemble

from distml import session

CLASSES = (
    "BaggingClassifier",
    "BaggingRegressor",
    "StackingClassifier",
    "StackingRegressor",
    "VotingClassifier",
    "VotingRegressor",
)


def pytest_configure() -> None:
    judged = importlib.import_module(os.environ.get("JUDGED_MODULE", "distml.ensemble"))
    for name in CLASSES:
        setattr(sklearn.ensemble, name, getattr(judged, name))
    session.connect(num_cpus=2)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run tests that hold on to a class of scikit-learn's: they would judge nothing."""
    for module in {item.module for item in session.items}:
        for name in CLASSES:
            swapped = getattr(sklearn.ensemble, name)
            if getattr(module, name, swapped) is not swapped:
                raise pytest.UsageError(f"{module.__name__}.{name} was imported before the swap")


def pytest_unconfigure() -> None:
    session.disconnect()
