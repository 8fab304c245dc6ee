"""Of each node of a cluster: can it reach the storage of runs, and is it the same software?

One decision: it is asked where the work will be done, by a task on each node, before the run
exists. What would spoil results is refused (another Python, other versions between nodes, a storage
that is not shared); where only the submitter's machine differs, the log says so. A node that joins
later is asked the same, and what is wrong with it is told: what runs is not ended for it.
"""

import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from typing import Any

from distml import session
from distml.errors import DistmlError, StorageError, UserError
from distml.runs.digest import digest
from distml.runs.provenance import host_facts, library_versions
from distml.runs.storage import open_storage, shown
from distml.runs.submissions import Submission, load_submission

__all__ = ["Latecomers", "check_nodes", "differences", "node_facts"]

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 60.0
_AGAIN_S = 0.5
_PACKAGES = "packages installed"
_asked_ids: set[str] = set()
"""Nodes that this process has asked; Ray gives no id twice."""


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
    own = _own()
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


class Latecomers:
    """Nodes that join while a run goes on: each is asked once, and not waited for.

    Args:
        storage: URI of the storage of runs.
        run_id: The run, whose submission is noted there.
    """

    def __init__(self, storage: str, run_id: str) -> None:
        self._storage, self._run_id = storage, run_id
        self._waiting: dict[Any, tuple[Mapping[str, Any], float]] = {}

    def look(self, nodes: Iterable[Mapping[str, Any]]) -> list[str]:
        """Ask the nodes that are new, and hear those that were asked before.

        Args:
            nodes: As `ray.nodes()` lists them.

        Returns:
            A line for each thing that is wrong with one.
        """
        alive = {node["NodeID"]: node for node in nodes if node["Alive"]}
        for node_id in alive.keys() - _asked_ids:
            reference = _ask(alive[node_id], self._storage, self._run_id)
            self._waiting[reference] = alive[node_id], time.monotonic()
        # One that has gone again has nothing to say, whatever became of its task.
        waiting = {key: told for key, told in self._waiting.items() if told[0]["NodeID"] in alive}
        self._waiting = waiting
        return [words for reference in list(waiting) for words in self._heard(reference)]

    def _heard(self, reference: Any) -> Iterator[str]:
        import ray

        node, since = self._waiting[reference]
        name = node["NodeManagerHostname"]
        done, _ = ray.wait([reference], timeout=0)
        if not done and time.monotonic() - since < _TIMEOUT_S:
            return
        del self._waiting[reference]
        if not done:
            yield _silent(name, self._storage)
            return
        try:
            facts = ray.get(reference)
        except (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError):
            return
        except ray.exceptions.RayError as error:
            yield f"node {name} could not be asked: {_one_line(error)}"
            return
        if facts["problem"] is not None:
            yield facts["problem"]
        yield from differences(self._own, [facts])

    @cached_property
    def _own(self) -> dict[str, Any]:
        return _own()


def _own() -> dict[str, Any]:
    return {"node": "the driver's", "versions": _versions()}


def _ask(node: Mapping[str, Any], storage: str, run_id: str) -> Any:
    """A task that runs on this node, whatever else runs there."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask: Any = ray.remote(node_facts)
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    _asked_ids.add(node["NodeID"])
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
    return ask.options(**options).remote(storage, run_id)


def _asked(storage: str, run_id: str) -> list[dict[str, Any]]:
    """What each node says; one that goes away meanwhile, as spot machines do, is none.

    Ray believes in a machine that has gone for some seconds more, so what fails is tried again.
    """
    session.connect()
    import ray

    asked, end = _alive(), time.monotonic() + _TIMEOUT_S
    waiting = {_ask(node, storage, run_id): node_id for node_id, node in asked.items()}
    facts, errors = dict[str, dict[str, Any]](), dict[str, Exception]()
    while asked.keys() - facts.keys():
        done, _ = ray.wait(list(waiting), timeout=_AGAIN_S) if waiting else ([], [])
        for reference in done:
            node_id = waiting.pop(reference)
            try:
                facts[node_id] = ray.get(reference)
            except ray.exceptions.RayError as error:
                errors[node_id] = error
        if done and not errors:
            continue
        if time.monotonic() > end:
            raise _unheard(
                {
                    asked[i]["NodeManagerHostname"]: errors.get(i)
                    for i in asked.keys() - facts.keys()
                },
                storage,
            )
        gone = asked.keys() - _alive().keys()
        asked = {node_id: node for node_id, node in asked.items() if node_id not in gone}
        waiting = {key: node_id for key, node_id in waiting.items() if node_id not in gone}
        for node_id in errors.keys() & asked.keys() - set(waiting.values()) - facts.keys():
            time.sleep(_AGAIN_S)
            waiting[_ask(asked[node_id], storage, run_id)] = node_id
    return [facts[node_id] for node_id in asked]


def _alive() -> dict[str, Mapping[str, Any]]:
    import ray

    nodes: Any = ray.nodes
    return {node["NodeID"]: node for node in nodes() if node["Alive"]}


def _unheard(nodes: Mapping[str, Exception | None], storage: str) -> UserError | StorageError:
    """Why no answer came from these, the last error of each if there was one."""
    for name, error in nodes.items():
        if error is not None:
            return StorageError(f"node {name} could not be asked: {_one_line(error)}")
    return UserError(_silent(", ".join(nodes), storage))


def _versions() -> dict[str, str]:
    """Versions that matter, and one figure for all packages installed."""
    installed = sorted({(d.name or "", d.version) for d in metadata.distributions()})
    return {**library_versions(), _PACKAGES: digest([repr(installed)])[:12]}


def _silent(names: str, storage: str) -> str:
    return (
        f"no answer within {_TIMEOUT_S:.0f} s from {names}: its disk may be full, or the "
        f"storage {shown(storage)} be out of its reach"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _not_shared(storage: str, name: str) -> str:
    return (
        f"storage {shown(storage)} of node {name} is not the one the job was submitted with; "
        "give --storage a URI that both reach, such as s3://bucket/runs"
    )
