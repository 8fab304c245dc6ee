"""`distml verify` over machines of their own: the client, and a cluster that is started for it."""

import pytest

from tests.hosts.cloud_user import CloudUser
from tests.hosts.onprem import filled_in

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

ADDRESSES = {"head": "10.79.0.11", "one": "10.79.0.12"}


def test_a_stack_comes_to_the_same_on_other_machines(world):
    hosts = [world.start_host(f"v-{name}", at) for name, at in ADDRESSES.items()]
    head, *workers = ADDRESSES.values()
    user = CloudUser(world, filled_in(head, workers), jobs=("tests/hosts/small_stack.py",))
    storage = world.storage.bucket_uri("verified")
    try:
        told = user.distml(
            "verify small_stack.py --seconds 0.2 --cv 3 --on debug --on cloud:cluster/it.yaml",
            storage=storage,
            timeout_s=800,
        )
    finally:
        for host in hosts:
            host.kill()

    assert told.code == 0, told
    assert told.out.splitlines()[-1] == "the same in all 2 places"
    units = next(line for line in told.out.splitlines() if line.startswith("cloud:"))
    assert units.count("the same") == 4, told  # units, values, origin, environment
