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
        "NodeID": name,
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
        ([node(head=True, group="headgroup"), node(group="spot")], {"head": 1, "spot": 1}),
        ([node(head=True, group="local.cluster.node")], {"head": 1}),
        ([], {}),
    ],
    ids=["typed", "hosts", "dead", "KubeRay", "by ray up", "none"],
)
def test_nodes_are_counted_by_their_type(nodes, types):
    assert counted(nodes) == types


class Late:
    """Knows what is wrong with nodes; says it once, at the look after."""

    def __init__(self, **wrong):
        self.wrong, self.due = wrong, []

    def look(self, nodes):
        said, self.due = self.due, [self.wrong.pop(n["NodeID"], None) for n in nodes]
        return [words for words in said if words]


def test_a_node_that_joins_late_and_is_not_alike_is_named_at_once(caplog):
    told = []
    watch = NodeWatch(lambda kind, **f: told.append((kind, f)), late=Late(b="torch 1 on b"))

    for nodes in ([node("a")], None, [node("a"), node("b")], [node("a"), node("b")]):
        watch.look(nodes)

    assert watch.problems == ["torch 1 on b"]
    assert told[-1] == ("node_problem", {"words": "torch 1 on b"})
    assert "a node joined that is not like the others: torch 1 on b" in caplog.text


def test_nodes_that_cannot_be_asked_do_not_end_the_watch():
    class Broken:
        def look(self, nodes):
            raise RuntimeError("the head is gone")

    watch = NodeWatch(lambda *a, **f: None, late=Broken())
    watch.look([node(head=True)])

    assert watch.spending.nodes == {"head": 1}


def test_what_a_node_answers_until_the_end_is_heard(monkeypatch):
    monkeypatch.setattr("distml.nodewatch._nodes", lambda: [node("b")])
    watch = NodeWatch(lambda *a, **f: None, late=Late(b="torch 1 on b"))

    with watch.watching():
        pass

    assert watch.problems == ["torch 1 on b"]


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


@pytest.fixture
def submitted(tmp_path, monkeypatch):
    """A run that was handed to a cluster of two nodes, of which no more is asked."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    monkeypatch.setattr("distml.nodewatch.Latecomers", lambda storage, run_id: Late())

    def _submitted(nodes, **noted):
        store = RunStore(tmp_path)
        note = Submission(
            run_id="one", submission_id="one", launcher="x", submitted_at=0.0, **noted
        )
        save_submission(store.storage, note)
        monkeypatch.setattr("distml.nodewatch._nodes", lambda: nodes)
        return store

    return _submitted


@pytest.mark.parametrize(
    ("details", "most", "is_priced"),
    [
        ({"cluster": "mine"}, {"head": 1, "local.cluster.node": 2}, True),
        ({}, {"a": 1, "b": 1, "head": 1}, False),
    ],
    ids=["of a file", "that was there"],
)
def test_ones_own_machines_count_as_their_prices_name_them(submitted, details, most, is_priced):
    nodes = [node("h", head=True), node("a"), node("b")]
    prices = {"head": 3600.0, "local.cluster.node": 3600.0}
    store = submitted(nodes, prices=prices, details=details)

    found = on_nodes(store, "one", lambda *a, **f: None, lambda: Result(metrics={}))

    told = found.details["nodes"]
    assert told["most"] == most
    assert (told["cost"] is not None) == is_priced
    assert "problems" not in told


def test_the_result_says_what_the_nodes_came_to(submitted):
    nodes = [node("a", group="spot"), node("b", group="spot")]
    store = submitted(nodes, prices={"spot": 3600.0})
    told = []

    found = on_nodes(
        store, "one", lambda *a, **f: told.append(f["nodes"]), lambda: Result(metrics={})
    )

    nodes = found.details["nodes"]
    assert nodes["most"] == {"spot": 2}
    assert nodes["cost"] == pytest.approx(nodes["seconds"]["spot"])
    assert told == [{"spot": 2}, {}]
