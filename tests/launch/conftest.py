"""What the launchers' tests share."""

from collections.abc import Iterator

import pytest

from tests.launch.head import running_head


@pytest.fixture(scope="session")
def ray_head() -> Iterator[str]:
    """`http://127.0.0.1:PORT` of a Ray head that asks for `TOKEN`."""
    with running_head() as address:
        yield address
