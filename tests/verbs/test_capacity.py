import pytest

from distml.verbs.capacity import (
    check_cpus,
    check_disk,
    check_memory,
    check_open_files,
    check_shared_memory,
    check_socket_folder,
    size,
)

GIB = 1 << 30


@pytest.mark.parametrize(
    ("available", "state"), [(8 * GIB, "ok"), (GIB, "warning"), (GIB // 4, "problem")]
)
def test_memory_is_judged_by_what_is_free(available, state):
    check = check_memory(available, 16 * GIB, None)

    assert check.state == state
    assert (check.mend == "") == (state == "ok")


def test_a_limit_of_the_container_is_named_and_to_be_raised():
    check = check_memory(GIB, 2 * GIB, 2 * GIB)

    assert "limit of the container or job: 2.0 GiB" in check.found
    assert check.mend.startswith("raise the limit")


@pytest.mark.parametrize(
    ("usable", "there", "state", "found"),
    [(8, 8, "ok", "8"), (2, 64, "ok", "2 of the machine's 64"), (1, 1, "warning", "1")],
)
def test_one_cpu_is_few(usable, there, state, found):
    check = check_cpus(usable, there)

    assert (check.state, check.found) == (state, found)


@pytest.mark.parametrize(
    ("free", "state"), [(50 * GIB, "ok"), (2 * GIB, "warning"), (GIB // 4, "problem")]
)
def test_a_disk_needs_room(free, state):
    check = check_disk("storage's disk", "/data", free, 100 * GIB)

    assert check.state == state
    assert "/data" in check.found


@pytest.mark.parametrize(
    ("free", "state"), [(None, "ok"), (8 * GIB, "ok"), (64 << 20, "warning")],
    ids=["none", "enough", "Docker's 64 MiB"],
)  # fmt: skip
def test_shared_memory_holds_rays_object_store(free, state):
    check = check_shared_memory(free, 20 * GIB)

    assert check.state == state
    assert ("--shm-size=6g" in check.mend) == (state == "warning")


def test_rays_folder_leaves_room_for_the_names_of_sockets():
    assert check_socket_folder("/tmp").state == "ok"
    assert check_socket_folder("/tmp/" + "x" * 80).state == "problem"


@pytest.mark.parametrize(
    ("soft", "hard", "state"),
    [(1024, 65536, "ok"), (1024, -1, "ok"), (1024, 1024, "warning")],
    ids=["can be raised", "no limit", "low"],
)
def test_the_limit_of_open_files_is_the_one_that_ray_can_raise_to(soft, hard, state):
    assert check_open_files(soft, hard).state == state


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 MiB"), (64 << 20, "64 MiB"), (3 * GIB // 2, "1.5 GiB")]
)
def test_sizes_are_told_in_binary_units(num_bytes, text):
    assert size(num_bytes) == text
