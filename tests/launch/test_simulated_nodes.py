"""What the simulator says of one to three nodes, beside what a fit takes on nodes that are real."""

import json
import subprocess
import sys

import pytest

from distml.launch.fitting.simulate import Load, Machine, simulate
from distml.launch.fitting.starts import CONSTANTS

# As in the benchmark: members that sleep, on nodes whose CPUs are numbers only.
CPUS, UNITS, UNIT_S = 2, 60, 0.4


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("num_nodes", [1, 2, 3])
def test_a_fit_on_nodes_takes_as_long_as_the_simulator_says(num_nodes, request):
    name = "1 node" if num_nodes == 1 else f"{num_nodes} nodes"
    # In a process of its own: this one may have joined another Ray.
    command = [sys.executable, "bench_cluster.py", "--contender", name]
    done = subprocess.run(
        command, cwd=request.config.rootpath / "benchmarks", capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    took = json.loads(done.stdout.splitlines()[-1])["seconds"]

    load = Load(name="unit", seconds=UNIT_S, count=UNITS)
    told = simulate([[load]], [Machine(cpus=CPUS)] * num_nodes, CONSTANTS).seconds

    # All workers have begun before; constants hold them to begin once.
    told -= CONSTANTS.worker_start_s
    assert told >= UNITS * UNIT_S / (CPUS * num_nodes)
    # A busy machine takes longer, never less than the members sleep.
    assert 0.6 * took <= told <= 1.1 * took
