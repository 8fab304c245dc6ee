"""`distml cluster up` beside bare `ray up`: three hosts of namespaces, real SSH, the file we ship.

Needs root, as the tests on such hosts do. Hosts are fresh each time; both end when the head is up,
and distml's has a warden on it and a tunnel to it by then.
"""

import sys
import time
from argparse import Namespace
from pathlib import Path

from measure import Figures, compare, median, table, write

CONTENDERS = ("ray up", "distml cluster up")
ALLOWED = 1.2
"""Of the time of `ray up`."""


def measure(contender: str, _: Namespace) -> Figures:
    """Seconds until a command that brings a cluster up has ended."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.hosts.cloud_user import CloudUser
    from tests.hosts.onprem import TOKEN, OnPremises, filled_in
    from tests.hosts.world import World

    with World() as world:
        cluster = OnPremises(world)
        head, *workers = (host.address for host in cluster.hosts)
        user = CloudUser(world, filled_in(head, workers), jobs=())
        started = time.perf_counter()
        if contender == "ray up":
            world.client.run(["ray", "up", "-y", cluster.file], env=TOKEN, timeout_s=200)
        else:
            told = user.distml("cluster up cluster/it.yaml --max-hours 1")
            if told.code:
                sys.exit(repr(told))
        return {"seconds": time.perf_counter() - started}


def main() -> None:
    """Print the ratio and write it."""
    results, arguments = compare(CONTENDERS, measure, rounds=4)
    bare, ours = (median(results, name, "seconds") for name in CONTENDERS)
    print(table(("", "s", "ratio", "allowed"), [
        ("ray up", bare, 1.0, 1.0), ("distml cluster up", ours, ours / bare, ALLOWED),
    ]))  # fmt: skip
    write("cluster_up", {"up": ours / bare}, results, **vars(arguments))


if __name__ == "__main__":
    main()
