"""A cluster comes up whole or not at all; the provider is made up."""

from types import SimpleNamespace

import pytest

from distml.errors import LaunchError, UserError
from distml.launch.clouds import take_down as module
from distml.launch.clouds.known import KnownCluster, known_clusters, remember
from distml.launch.clouds.machines import Machine
from distml.launch.clouds.take_down import bring_up, take_down


class Cluster:
    """One that comes up as it is told, with machines that end a look after they are told to."""

    name, provider = "x", "aws"
    file = SimpleNamespace(config={"provider": {"type": "aws"}})

    def __init__(self, end):
        self.end, self.left, self.halted = end, ["h", "w"], 0

    def bring_up(self, plan, say):
        remember(KnownCluster(name="x", file="x.yaml", provider="aws"))
        if self.end is not None:
            raise self.end
        remember(KnownCluster(name="x", file="x.yaml", provider="aws", reach={"user": "me"}))
        return "up"

    def machines(self):
        return [
            Machine(machine_id=i, cluster="x", node_type="t", is_head=i == "h", address="a")
            for i in self.left
        ]

    def reach(self):
        self.halted += 1


@pytest.fixture
def said():
    return []


@pytest.fixture(autouse=True)
def provider(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)

    def terminate(config, ids):
        for one in ids:
            CLUSTERS[-1].left.remove(one)

    monkeypatch.setattr(module, "terminate", terminate)


CLUSTERS = []


def cluster(end=None):
    CLUSTERS.append(Cluster(end))
    return CLUSTERS[-1]


def test_cluster_that_is_up_stays(said):
    made = cluster()

    assert bring_up(made, {}, said.append) == "up"
    assert (made.left, said) == (["h", "w"], [])
    take_down(made, "asked", said.append)
    assert (made.left, made.halted, known_clusters()) == ([], 1, [])


@pytest.mark.parametrize(
    ("end", "raised"),
    [
        (LaunchError("setup failed"), "setup failed"),
        (KeyboardInterrupt(), "x was interrupted while it came up"),
    ],
    ids=["failed", "interrupted"],
)
def test_cluster_that_came_up_half_is_taken_down(said, end, raised):
    made = cluster(end)

    with pytest.raises(LaunchError, match=raised):
        bring_up(made, {}, said.append)

    assert (made.left, known_clusters()) == ([], [])
    assert said == ["taking x down again"]


def test_nothing_is_taken_down_that_was_not_started(said, monkeypatch):
    made = cluster()
    monkeypatch.setattr(made, "bring_up", lambda plan, say: _refuse())

    with pytest.raises(UserError, match="no credentials"):
        bring_up(made, {}, said.append)

    assert (made.left, said) == (["h", "w"], [])


def _refuse():
    raise UserError("no credentials")


def test_machines_that_do_not_end_are_named(said, monkeypatch):
    made = cluster()
    monkeypatch.setattr(module, "terminate", lambda config, ids: None)
    monkeypatch.setattr(module, "_GONE_S", -1.0)

    with pytest.raises(LaunchError, match="x still has h, w: end them at the provider"):
        take_down(made, "asked", said.append)
