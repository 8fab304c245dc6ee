"""What machines a run has, and what they cost meanwhile."""

import pytest

from distml.meter import Meter

KINDS = {
    "head": {"cpus": 0, "gpus": 0, "is_head": True, "price_per_hour": 0.36},
    "cpu": {"cpus": 4, "gpus": 0, "is_head": False, "price_per_hour": 3.6},
    "gpu": {"cpus": 4, "gpus": 1, "is_head": False, "price_per_hour": None},
}
HEAD = {"Resources": {"node:__internal_head__": 1.0}, "Labels": {}}
CPU = {"Resources": {"CPU": 4.0}}
GPU = {"Resources": {"CPU": 4.0, "GPU": 1.0}}
LABELLED = {"Resources": {"CPU": 3.0}, "Labels": {"ray.io/node-group": "cpu"}}


def looked(*looks):
    meter = Meter(KINDS)
    for now, nodes in looks:
        meter.look(now, nodes)
    return meter


def test_machines_are_paid_for_while_they_are_there():
    meter = looked((0, None), (10, [HEAD, CPU, LABELLED]), (110, [HEAD, CPU]), (210, [HEAD]))

    assert meter.cost == pytest.approx(210 * 0.0001 + (2 * 100 + 100) * 0.001)
    assert meter.machines == {"head": 1, "cpu": 2}


def test_a_run_without_ray_has_the_head():
    meter = looked((0, None), (3600, None))

    assert (meter.machines, meter.cost) == ({"head": 1}, pytest.approx(0.36))


def test_machines_stay_when_ray_is_left_before_the_end():
    meter = looked((0, [HEAD, CPU]), (1000, None))

    assert meter.cost == pytest.approx(1000 * 0.0011)


def test_without_a_price_there_is_no_cost():
    assert looked((0, [HEAD, GPU]), (10, [HEAD])).cost is None
    strange = looked((0, [{"Resources": {"CPU": 64.0}}]), (10, []))
    assert (strange.machines, strange.cost) == ({"64 CPUs": 1}, None)


def test_a_block_is_watched_from_its_beginning_to_its_end():
    meter = Meter(KINDS)

    with meter.watching():
        pass

    assert sum(meter.machines.values()) >= 1
    assert meter.cost is None or meter.cost >= 0
