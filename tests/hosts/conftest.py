"""One world of hosts for the whole session; it is small until tests start hosts in it."""

from collections.abc import Iterator

import pytest

from tests.hosts.namespaces import why_not
from tests.hosts.onprem import OnPremises
from tests.hosts.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world with its client and its storage, without any further host."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def cluster(world: World) -> Iterator[OnPremises]:
    """Three hosts that `ray up` has made a cluster, for the tests of one module in their order."""
    cluster = OnPremises(world)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.end()
