"""One Ray for the session, started by the first test marked `ray` and stopped at the end."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from distml import session

NUM_CPUS = 4
"""Logical CPUs of the shared Ray: enough to run with 1, 2 and 4 workers, on two cores as well."""


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A running Ray with `NUM_CPUS` CPUs, its files in a folder that goes away with it."""
    # The path is short because Ray puts sockets under it, whose names may have 107 characters.
    folder = tempfile.mkdtemp(prefix="dml")
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    session.connect(num_cpus=NUM_CPUS)
    yield
    session.disconnect()
    if before is None:
        del os.environ["RAY_TMPDIR"]
    else:
        os.environ["RAY_TMPDIR"] = before
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _ray_for_marked_tests(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray") is not None:
        request.getfixturevalue("ray_session")
