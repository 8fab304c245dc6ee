import time

import numpy as np
import pytest

from distml import machine
from distml.errors import UserError
from distml.job import Resources

HOST = {"cpus": 2, "memory_bytes": 2**30}


@pytest.mark.parametrize(
    ("resources", "there"),
    [
        (Resources(num_cpus=3), "num_cpus=3 is more than this machine has (2 CPUs)"),
        (Resources(num_gpus=10_000), "num_gpus=10000 is more than this machine has"),
        (Resources(memory_bytes=2**31), f"({2**30} bytes of memory); ask for at most {2**30}"),
    ],
    ids=["CPUs", "GPUs", "memory"],
)
def test_what_the_machine_does_not_have_is_refused(resources, there):
    with pytest.raises(UserError) as caught:
        machine.check_fits(resources, HOST)

    assert there in str(caught.value)


@pytest.mark.parametrize(
    "resources", [Resources(), Resources(num_cpus=2, num_gpus=0, memory_bytes=2**30)]
)
def test_what_the_machine_has_fits(resources):
    machine.check_fits(resources, HOST)


def test_what_is_not_known_of_a_place_refuses_nothing():
    place = {"cpus": 2, "gpus": 0, "memory_bytes": None}

    machine.check_fits(Resources(num_cpus=2, memory_bytes=2**50), place)
    with pytest.raises(UserError, match="num_cpus=3 is more than the cluster has"):
        machine.check_fits(Resources(num_cpus=3), place, "the cluster")


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_do_not_count(monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)

    assert machine.num_gpus() == 0


def test_a_memory_watch_sees_what_was_held_for_a_moment():
    watch = machine.MemoryWatch()
    with watch.watching():
        pass
    before, patience = watch.peak_bytes, 600
    with watch.watching():
        held = np.ones(8 * 2**20)
        while watch.peak_bytes < before + 50 * 2**20 and (patience := patience - 1):
            time.sleep(0.05)

    assert before > 0
    assert watch.peak_bytes - before > 0.8 * held.nbytes
