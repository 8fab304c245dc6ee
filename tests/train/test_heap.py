"""Tests of the heap that is kept while a training goes on."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distml.train.heap import kept_heap

needs_glibc = pytest.mark.skipif(sys.platform != "linux", reason="glibc is the C library of Linux")

STEPS = """
import resource, sys, threading
import torch
from distml.train.heap import kept_heap

def faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

def step():
    layers = [torch.ones(8192, 128) for _ in range(6)]
    return sum(float(layer[0, 0]) for layer in layers)

def many():
    for _ in range(3):
        step()
    before = faults()
    for _ in range(20):
        step()
    return (faults() - before) / 20

def work():
    told.append(many())
    with kept_heap():
        told.append(many())

told = []
if sys.argv[1] == "thread":
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
print(*told)
"""


@needs_glibc
@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_step_asks_for_no_page_that_the_step_before_has_had(where):
    # 24 MB a step are 6,144 pages; workers of Ray Train train in a thread.
    done = subprocess.run(
        [sys.executable, "-c", STEPS, where], capture_output=True, text=True, check=True
    )
    before, inside = map(float, done.stdout.split())
    assert inside < before / 20
    assert inside < 100


@needs_glibc
def test_memory_is_given_back_afterwards():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    with kept_heap():
        layers = [torch.ones(1 << 20) for _ in range(64)]
        full = resident()
        del layers
        kept = resident()
    assert full - kept < 64 << 20
    assert full - resident() > 200 << 20
