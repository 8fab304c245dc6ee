import pytest

from distml.workerlog import lines_of


def said(*lines, **fields):
    return list(lines_of({"lines": lines, "pid": 7, "ip": "10.0.0.2", "is_err": True, **fields}))


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({"task_name": "fit forest, fold 1 of 2"}, "unit forest, fold 1 of 2"),
        ({"task_name": "attempt"}, "worker 10.0.0.2 7"),
        ({"actor_name": "RayTrainWorker"}, "worker 10.0.0.2 7"),
        ({}, "worker 10.0.0.2 7"),
    ],
    ids=["unit", "task", "actor", "process"],
)
def test_each_line_says_whose_it_is(fields, mark):
    assert said("one", "", "two", **fields) == [f"[{mark}] one\n", f"[{mark}] two\n"]


def test_a_line_that_says_whose_it_is_is_left_so():
    assert said("[unit net] loss 0.3") == ["[unit net] loss 0.3\n"]


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-27 12:00:00,123\tINFO worker.py:1234 -- Connected to Ray cluster.",
        "2026-11-27 12:00:00,123\tWARNING services.py:12 -- The object store is on a disk.",
        "[2026-11-27 12:00:00,123 E 7 9] core_worker.cc:1: :info_message: lost",
        "\x1b[36m2026-11-27 12:00:00,123\tINFO a.py:1 -- in colours\x1b[0m",
        ":task_name:fit forest",
    ],
)
def test_what_ray_says_of_itself_is_left_out(line):
    assert said("before", line, "after") == [
        "[worker 10.0.0.2 7] before\n", "[worker 10.0.0.2 7] after\n",
    ]  # fmt: skip


def test_the_rest_of_a_message_of_ray_train_goes_with_it():
    first = "2026-11-27 12:00:00,123\tINFO group.py:9 -- Started training worker group of size 2: "
    rest = "- (ip=127.0.0.1, pid=3) world_rank=0, local_rank=0, node_rank=0"

    assert said(first, rest, "- mine") == ["[worker 10.0.0.2 7] - mine\n"]


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-27 12:00:00,123\tERROR train.py:1 -- worker 1 died",
        "2026-11-27 12:00:00,123 WARNING mine: not Ray's format",
    ],
)
def test_errors_and_other_loggers_stay(line):
    assert said(line) == [f"[worker 10.0.0.2 7] {line}\n"]


def test_of_the_autoscaler_only_what_it_does_is_told():
    lines = ["======== Autoscaler status", ":event_summary:Adding 2 node(s) of type spot."]

    assert said(*lines, pid="autoscaler") == ["[cluster] Adding 2 node(s) of type spot.\n"]


def test_the_raylets_own_log_is_left_out():
    assert said("Spilled 3 MiB", pid="raylet") == []
