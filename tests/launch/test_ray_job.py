"""What a job is told of the cluster it is handed to."""

import json
from dataclasses import replace

import pytest

from distml import session
from distml.launch.files.nodes import ClusterShape, NodeType
from distml.launch.ray_job import MAY_START, may_have, may_start

GIB = 1 << 30


def shape(*kinds, max_workers):
    head = NodeType(name="head", num_cpus=0, max_count=1, is_head=True)
    return ClusterShape(
        name="x", provider="aws", node_types=(head, *kinds), max_workers=max_workers
    )


GPU = NodeType(name="gpu", num_cpus=8, num_gpus=1, memory_bytes=32 * GIB, max_count=2)
CPU = NodeType(name="cpu", num_cpus=4, max_count=3, resources={"fast": 1})


def test_workers_that_may_start_are_no_more_than_the_cluster_may_have():
    told = json.loads(may_start(shape(GPU, CPU, max_workers=4)))

    assert told == [{"CPU": 4, "fast": 1}] * 3 + [
        {"CPU": 8, "GPU": 1, "memory": pytest.approx(0.65 * 32 * GIB)}
    ]


def test_memory_that_a_file_gives_away_is_what_work_may_ask_for():
    told = json.loads(may_start(shape(replace(CPU, task_memory_bytes=5 * GIB), max_workers=1)))

    assert told == [{"CPU": 4, "fast": 1, "memory": 5 * GIB}]


def test_cluster_can_have_what_its_largest_machines_have_together():
    fleet = shape(GPU, CPU, max_workers=4)
    known = replace(fleet, node_types=[replace(k, memory_bytes=GIB) for k in fleet.node_types])

    assert may_have(fleet)["has"] == {"cpus": 2 * 8 + 2 * 4, "gpus": 2, "memory_bytes": None}
    assert may_have(known)["has"]["memory_bytes"] == 5 * GIB


def test_cluster_that_grows_counts_as_what_it_may_become(monkeypatch):
    import ray

    head = {"CPU": 0, "memory": 7.0, "node:__internal_head__": 1}
    there = [{"Alive": True, "Resources": head}, {"Alive": False, "Resources": {"CPU": 99}}]
    monkeypatch.setattr(ray, "nodes", lambda: there)
    monkeypatch.setenv(MAY_START, json.dumps([{"CPU": 4}, {"CPU": 4, "memory": 5}]))

    assert MAY_START == session.MAY_START
    assert session.nodes() == [head, {"CPU": 4, "memory": 7}, {"CPU": 4, "memory": 5}]
    there.append({"Alive": True, "Resources": {"CPU": 3, "memory": 6.0}})
    assert session.nodes()[1:] == [{"CPU": 3, "memory": 6}, {"CPU": 4, "memory": 5}]
    assert session.resources()["CPU"] == 7
