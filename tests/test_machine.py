import os

import pytest

from distml import machine
from distml.errors import UserError
from distml.job import Resources


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A made-up cgroup tree: `groups(own, {path: text})`."""

    def _groups(own, files):
        (tmp_path / "own").write_text(own)
        for path, text in files.items():
            file = tmp_path / "cgroup" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cgroup")
    return _groups


GIB = 2**30


@pytest.mark.parametrize(
    ("own", "files", "memory_bytes", "num_cpus"),
    [
        ("0::/\n", {"memory.max": f"{GIB}\n", "cpu.max": "100000 100000\n"}, GIB, 1),
        ("0::/a/b\n", {"a/memory.max": f"{GIB}", "a/b/memory.max": "max"}, GIB, None),
        ("0::/a\n", {"a/cpu.max": "50000 100000"}, None, 1),
        ("0::/\n", {"memory.max": "max", "cpu.max": "max 100000"}, None, None),
        (
            "4:memory:/pod\n1:cpu:/\n",
            {
                "memory/pod/memory.limit_in_bytes": f"{GIB}",
                "cpu/cpu.cfs_quota_us": "100000",
                "cpu/cpu.cfs_period_us": "100000",
            },
            GIB,
            1,
        ),
        ("", {}, None, None),
    ],
    ids=["v2", "v2 nested", "part of a CPU", "v2 unlimited", "v1", "no groups"],
)
def test_a_containers_limits_count(groups, own, files, memory_bytes, num_cpus):
    groups("", {})
    whole = (machine.memory_bytes(), machine.num_cpus())
    groups(own, files)

    assert (machine.memory_bytes(), machine.num_cpus()) == (
        memory_bytes or whole[0],
        num_cpus or whole[1],
    )


def test_hidden_gpus_do_not_count(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    assert machine.num_gpus() == 0


@pytest.mark.parametrize(
    "resources",
    [
        Resources(num_cpus=os.cpu_count() + 1),
        Resources(num_gpus=10_000),
        Resources(memory_bytes=2**60),
    ],
    ids=["CPUs", "GPUs", "memory"],
)
def test_what_the_machine_does_not_have_is_refused(resources):
    with pytest.raises(
        UserError, match=r"is more than this machine has \(\d+ .*ask for at most \d+"
    ):
        machine.check_fits(resources)


def test_what_the_machine_has_fits():
    machine.check_fits(Resources(num_cpus=1, num_gpus=0, memory_bytes=1))
