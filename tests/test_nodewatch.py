import pytest

from distml.errors import StorageError
from distml.job import Result
from distml.nodewatch import NodeWatch, counted, on_nodes
from distml.runs.store import RunStore
from distml.runs.submissions import Submission, save_submission


def node(name="host-1", group=None, head=False, alive=True):
    """As `ray.nodes()` of Ray 2.60 has it."""
    return {
        "Alive": alive,
        "NodeManagerHostname": name,
        "Labels": {"ray.io/node-id": "ab", **({"ray.io/node-group": group} if group else {})},
        "Resources": {"CPU": 4.0, **({"node:__internal_head__": 1.0} if head else {})},
    }


@pytest.mark.parametrize(
    ("nodes", "types"),
    [
        ([node(group="spot"), node("host-2", group="spot")], {"spot": 2}),
        ([node(head=True), node("host-2")], {"head": 1, "host-2": 1}),
        ([node(head=True, group="main"), node("b", alive=False)], {"main": 1}),
        ([], {}),
    ],
    ids=["typed", "hosts", "dead", "none"],
)
def test_nodes_are_counted_by_their_type(nodes, types):
    assert counted(nodes) == types


def test_only_changes_are_told():
    told = []
    watch = NodeWatch(lambda kind, **fields: told.append((kind, fields["nodes"])))

    for nodes in ({"head": 1}, {"head": 1}, None, {"head": 1, "spot": 2}, {}):
        watch.tell(nodes)

    assert told == [
        ("nodes", {"head": 1}), ("nodes", {"head": 1, "spot": 2}), ("nodes", {}),
    ]  # fmt: skip
    assert watch.spending.most == {"head": 1, "spot": 2}


def test_a_storage_that_refuses_does_not_end_the_watch():
    def refuse(kind, **fields):
        raise StorageError("full")

    watch = NodeWatch(refuse)
    watch.tell({"head": 1})

    assert watch.spending.nodes == {"head": 1}


def test_without_a_cluster_nothing_is_watched(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = Result(metrics={}, details={"rows": 3})

    assert on_nodes(RunStore(tmp_path), "one", print, lambda: result) is result


def test_the_result_says_what_the_nodes_came_to(tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    monkeypatch.setattr("distml.nodewatch._nodes", lambda: {"spot": 2})
    submission = Submission(
        run_id="one", submission_id="one", launcher="x", submitted_at=0.0, prices={"spot": 3600.0}
    )
    save_submission(store.storage, submission)
    told = []

    found = on_nodes(
        store, "one", lambda *a, **f: told.append(f["nodes"]), lambda: Result(metrics={})
    )

    nodes = found.details["nodes"]
    assert nodes["most"] == {"spot": 2}
    assert nodes["cost"] == pytest.approx(nodes["seconds"]["spot"])
    assert told == [{"spot": 2}, {}]
