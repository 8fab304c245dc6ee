"""The job files as modules, loaded by path as `distml run` loads them."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

JOBS = Path(__file__).parents[2] / "jobs"


def load(name: str) -> ModuleType:
    # A job may import another that lies beside it, as it may when `distml run` loads it.
    if str(JOBS) not in sys.path:
        sys.path.append(str(JOBS))
    spec = importlib.util.spec_from_file_location(name, JOBS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def flights_job() -> ModuleType:
    return load("flights_stacking")


@pytest.fixture(scope="session")
def diamonds_job() -> ModuleType:
    return load("diamonds_bagging")


@pytest.fixture(scope="session")
def custom_job() -> ModuleType:
    return load("custom_loop")


@pytest.fixture(scope="session")
def load_job() -> Callable[[str], ModuleType]:
    return load
