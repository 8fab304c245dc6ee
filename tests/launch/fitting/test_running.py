"""What runs at an address, read from replies of Ray's dashboard."""

import pytest

from distml.errors import UserError
from distml.launch.fitting.running import shape_of_nodes

GIB = 2**30


def reply(cpus=4.0, gpus=0.0, memory=10 * GIB, is_head=False, state="ALIVE", group=None):
    """One node, as Ray 2.60 tells of it."""
    resources = {
        "memory": float(memory),
        "node:192.0.2.2": 1.0,
        "object_store_memory": 4.0 * GIB,
    }
    resources |= {"CPU": cpus} if cpus else {}
    resources |= {"GPU": gpus, "accelerator_type:L4": 1.0} if gpus else {}
    resources |= {"node:__internal_head__": 1.0} if is_head else {}
    return {
        "node_id": "051e588f", "node_ip": "192.0.2.2", "is_head_node": is_head, "state": state,
        "state_message": None, "node_name": "192.0.2.2", "resources_total": resources,
        "labels": {"ray.io/node-id": "051e588f", **({"ray.io/node-group": group} if group else {})},
        "start_time_ms": 1795779922623, "end_time_ms": 0,
    }  # fmt: skip


def test_nodes_that_are_alike_are_one_kind():
    nodes = [
        reply(group="cpu"),
        reply(is_head=True, cpus=0.0),
        reply(group="cpu", memory=10 * GIB - 5 * 2**20),
        reply(gpus=1.0),
        reply(state="DEAD"),
    ]

    shape = shape_of_nodes("http://head:8265", nodes)

    assert (shape.name, shape.provider, shape.max_workers) == ("http://head:8265", "running", 3)
    told = {kind.name: (kind.max_count, kind.num_cpus, kind.num_gpus) for kind in shape.node_types}
    assert told == {"head": (1, 0, 0), "cpu": (2, 4, 0), "node": (1, 4, 1)}
    assert [kind.is_head for kind in shape.node_types] == [True, False, False]
    assert all(kind.min_count == kind.max_count for kind in shape.node_types)
    assert {kind.name: kind.memory_bytes for kind in shape.node_types}["cpu"] == (
        14 * GIB - 5 * 2**20
    )


def test_kinds_without_a_name_are_numbered():
    shape = shape_of_nodes("x", [reply(is_head=True), reply(cpus=2.0), reply(cpus=8.0)])

    assert [kind.name for kind in shape.node_types] == ["head", "node", "node-2"]


@pytest.mark.parametrize(
    "nodes", [[], [reply(is_head=True, cpus=0.0), reply(state="DEAD")]], ids=["none", "no CPU"]
)
def test_a_cluster_without_cpus_is_refused_with_what_to_do(nodes):
    with pytest.raises(UserError, match=r"has no CPU for work now .* plan with its file"):
        shape_of_nodes("http://head:8265", nodes)


@pytest.mark.ray
@pytest.mark.slow
def test_a_real_head_is_told(ray_head, monkeypatch):
    from distml.launch.fitting.shapes import shape_of
    from tests.launch.head import TOKEN

    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)

    shape = shape_of(f"cluster:{ray_head}")

    [head] = shape.node_types
    assert (head.name, head.is_head, head.num_cpus, head.max_count) == ("head", True, 4, 1)
    assert head.memory_bytes > GIB
