"""Jobs that a cluster can never run are refused in one line, with the nearest that would."""

import pytest

from distml.errors import UserError
from distml.launch.fitting.shortfall import check_room
from distml.launch.fitting.work import Work
from tests.launch.planned import GIB, head, member, node, plan, shape, span, workers

NET = member("net", units=1, workers=workers(num=2, gpus=1))
WIDE = member("net", units=1, workers=workers(num=8, cpus=2))
BIG = member("forest", peak=100 * GIB)


def work(*members, **fields):
    return Work.of(plan(*members, **fields))


def resources(**asked):
    return {"num_cpus": None, "num_gpus": None, "memory_bytes": None, **asked}


WITH_GPUS = shape(
    head(), node("gpu", num_gpus=1, instance_type="g2.large"), name="cluster/gcp.yaml"
)
LARGE = shape(
    head(memory=256 * GIB, instance_type="m.8xlarge"),
    node("large", memory=128 * GIB, instance_type="m.4xlarge"),
    node("huge", memory=512 * GIB),
    name="cluster/large.yaml",
)
DRIVER = {
    "peak_bytes": span(9 * GIB),
    "driver_bytes": span(40 * GIB),
    "matrix_bytes": span(GIB, low=GIB),
    "process_bytes": GIB // 4,
}


@pytest.mark.parametrize(
    ("job", "cluster", "words"),
    [
        (work(NET), shape(),
         ["net wants 2 workers with 1 GPU each; no node type of cluster/aws.yaml has a GPU; ",
          "gpu (g2.large) of cluster/gcp.yaml would do"]),
        (work(member("net", workers=workers(num=1, gpus=2))), WITH_GPUS,
         ["net wants 2 GPUs; the most that a machine of cluster/gcp.yaml has is 1; ",
          "gpus_per_worker=0"]),
        (work(member("net", workers=workers(num=2, cpus=8))), shape(),
         ["net wants 2 workers with 8 CPUs each; the largest machine of cluster/aws.yaml has 4; ",
          "cpus_per_worker=4"]),
        (work(BIG), shape(),
         ["forest needs a machine of 107.", "the largest of cluster/aws.yaml, cpu, has 16.0 GiB",
          "of its 100,000 rows or large (m.4xlarge) of cluster/large.yaml would do"]),
        (work(WIDE), shape(head(), node(most=2), most=2),
         ["net wants 8 workers with 2 CPUs each; all machines that cluster/aws.yaml may have "
          "take 4: set num_workers=4, or max_workers=4 in cluster/aws.yaml"]),
        (work(WIDE), shape(head(cpus=2), node(min_count=1, most=1), provider="running", most=1),
         ["take 3: set num_workers=3, or add machines to cluster/aws.yaml"]),
        (work(memory=DRIVER), shape(),
         ["the driver needs 2", "on the head, and head of cluster/aws.yaml has 16.0 GiB; ",
          "of its 100,000 rows or large (m.4xlarge) as the head would do"]),
        (work(resources=resources(num_cpus=100)), shape(),
         ["resources: num_cpus=100 is more than cluster/aws.yaml can have (32 CPUs); ask for at "
          "most 32, or allow more machines than max_workers=8"]),
        (work(resources=resources(num_gpus=1)), shape(),
         ["resources: num_gpus=1 is more than", "(0 GPUs)"]),
    ],
    ids=["no GPU", "too few GPUs", "too few CPUs", "too little memory", "too few machines",
         "too few machines that run", "a head too small", "CPUs over all", "GPUs over all"],
)  # fmt: skip
def test_what_is_short_is_named_with_what_would_do(job, cluster, words):
    with pytest.raises(UserError) as caught:
        check_room(job, cluster, [WITH_GPUS, LARGE])

    message = str(caught.value)
    assert "\n" not in message
    for part in words:
        assert part in message


@pytest.mark.parametrize(
    ("job", "cluster"),
    [
        (work(), shape()),
        (work(NET), WITH_GPUS),
        (work(member("net", workers=workers(num=4, gpus=0.5))), WITH_GPUS),
        (work(WIDE), shape()),
        (work(BIG), LARGE),
        (work(BIG), shape(head(memory=None), node(memory=None))),
        (work(member(peak=3 * GIB)), shape(head(cpus=2), most=0)),
        (work(resources=resources(num_cpus=32)), shape()),
    ],
    ids=["plain", "GPUs", "half a GPU each", "workers over machines", "large", "memory not known",
         "a head alone", "just enough"],
)  # fmt: skip
def test_what_has_room_is_not_refused(job, cluster):
    check_room(job, cluster)


def test_rows_that_would_do_are_rows_that_do():
    with pytest.raises(UserError) as caught:
        check_room(work(BIG), shape())

    fewer = int(str(caught.value).split("; ")[-1].split(" of its")[0].replace(",", ""))
    share = fewer / 100_000
    smaller = member("forest", peak=share * 100 * GIB)
    memory = {**DRIVER, "matrix_bytes": span(share * GIB, low=share * GIB), "driver_bytes": None}
    check_room(work(smaller, memory=memory), shape())


def test_without_a_larger_machine_a_refusal_still_says_what_to_do():
    with pytest.raises(UserError, match=r"100,000 rows would do$"):
        check_room(work(BIG), shape())
    with pytest.raises(UserError, match="take a larger machine or fewer rows"):
        check_room(work(BIG, rows=None), shape())
    with pytest.raises(UserError, match="add a node type that has them, or ask for less"):
        check_room(work(NET), shape())
