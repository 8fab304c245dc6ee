"""Before a run begins on a cluster: can every node reach the storage, and is it the same software?

One decision: it is asked where the work will be done, by a task on each node, before the run
exists. What would spoil results is refused (another Python, other versions between nodes, a storage
that is not shared); where only the submitter's machine differs, the log says so.
"""

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from distml import session
from distml.errors import DistmlError, StorageError, UserError
from distml.runs.digest import digest
from distml.runs.provenance import host_facts, library_versions
from distml.runs.storage import open_storage, shown
from distml.runs.submissions import Submission, load_submission

__all__ = ["check_nodes", "differences", "node_facts"]

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 60.0
_PACKAGES = "packages installed"


def check_nodes(storage: str, run_id: str) -> Submission:
    """Ask every node of the cluster this driver runs in.

    Args:
        storage: URI of the storage of runs.
        run_id: The run that was submitted.

    Returns:
        The note of its submission.

    Raises:
        UserError: a node does not reach the storage, or has other versions.
    """
    submission = load_submission(open_storage(storage), run_id)
    if submission is None:
        raise UserError(_not_shared(storage, host_facts()["name"]))
    facts = _asked(storage, run_id)
    for node in facts:
        if node["problem"] is not None:
            raise UserError(node["problem"])
    own: dict[str, Any] = {"node": "the driver's", "versions": _versions()}
    refused = list(differences(own, facts))
    if refused:
        raise UserError(f"the nodes differ: {'; '.join(refused)}; give them the same environment")
    here: dict[str, Any] = {
        "node": "where it was submitted",
        "versions": dict(submission.versions),
    }
    apart = list(differences(own, [here]))
    python = [
        _minor(versions.get("python", "")) for versions in (own["versions"], here["versions"])
    ]
    if all(python) and python[0] != python[1]:
        raise UserError(
            f"Python is {python[0]} on the cluster and {python[1]} where the job was submitted; "
            "use the same on both"
        )
    if apart:
        _LOG.warning("versions differ: %s", "; ".join(apart))
    _LOG.info("%d nodes reach %s and have the same software", len(facts), shown(storage))
    return submission


def differences(one: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What has other versions, in words.

    Args:
        one: `node` (its name) and `versions` to compare with.
        others: The same of others; only libraries that both have count.
    """
    for other in others:
        for library, version in one["versions"].items():
            there = other["versions"].get(library, version)
            if there != version:
                yield f"{library} {there} on {other['node']}, {version} on {one['node']}"


def node_facts(storage: str, run_id: str) -> dict[str, Any]:
    """What this node has, and whether it reaches the storage; run once on every node.

    Args:
        storage: URI of the storage of runs.
        run_id: A run whose submission is noted there.

    Returns:
        `node`, `versions`, and `problem`: one line, or `None`.
    """
    name, problem = host_facts()["name"], None
    try:
        reached = open_storage(storage)
        content = secrets.token_bytes(32)
        path = f"submitted/check-{secrets.token_hex(8)}"
        if load_submission(reached, run_id) is None:
            problem = _not_shared(storage, name)
        else:
            reached.write(path, content)
            same = reached.read(path) == content
            reached.delete(path)
            problem = None if same else f"storage {shown(storage)} does not keep what {name} writes"
    except (DistmlError, OSError) as error:
        problem = f"node {name} does not reach the storage: {error}"
    return {"node": name, "versions": _versions(), "problem": problem}


def _asked(storage: str, run_id: str) -> list[dict[str, Any]]:
    session.connect()
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask: Any = ray.remote(node_facts)
    asked = {}
    nodes: Any = ray.nodes
    for node in nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
            asked[ask.options(**options).remote(storage, run_id)] = node["NodeManagerHostname"]
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_TIMEOUT_S)
    if late:
        names = ", ".join(asked[reference] for reference in late)
        raise UserError(
            f"no answer within {_TIMEOUT_S:.0f} s from {names}: its disk may be full, or the "
            f"storage {shown(storage)} be out of its reach"
        )
    try:
        return [ray.get(reference) for reference in done]
    except ray.exceptions.RayError as error:
        raise StorageError(
            f"a node could not be asked: {' '.join(str(error).split())[:300]}"
        ) from error


def _versions() -> dict[str, str]:
    """Versions that matter, and one figure for all packages installed."""
    installed = sorted({(d.name or "", d.version) for d in metadata.distributions()})
    return {**library_versions(), _PACKAGES: digest([repr(installed)])[:12]}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _not_shared(storage: str, name: str) -> str:
    return (
        f"storage {shown(storage)} of node {name} is not the one the job was submitted with; "
        "give --storage a URI that both reach, such as s3://bucket/runs"
    )
