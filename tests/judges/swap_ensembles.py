"""A pytest plugin: scikit-learn's tests of its ensembles import ours instead.

Loaded by `test_sklearn_suites.py` in a process of its own (`pytest -p swap_ensembles`), whose tests
share one Ray. `JUDGED_MODULE=sklearn.ensemble` judges scikit-learn's own classes. The swap holds
while the test files are imported and no longer: our classes inherit what they replace.
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
_JUDGED = importlib.import_module(os.environ.get("JUDGED_MODULE", "distml.ensemble"))
_REPLACED = {name: getattr(sklearn.ensemble, name) for name in CLASSES}


def pytest_configure() -> None:
    for name in CLASSES:
        setattr(sklearn.ensemble, name, getattr(_JUDGED, name))
    session.connect(num_cpus=2)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Undo the swap; refuse tests that hold on to a class of scikit-learn's: they judge nothing."""
    for name, replaced in _REPLACED.items():
        setattr(sklearn.ensemble, name, replaced)
        judged = getattr(_JUDGED, name)
        for module in {item.module for item in session.items}:
            if getattr(module, name, judged) is not judged:
                raise pytest.UsageError(f"{module.__name__}.{name} was imported before the swap")


def pytest_unconfigure() -> None:
    session.disconnect()
