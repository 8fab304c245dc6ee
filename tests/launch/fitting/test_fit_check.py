"""What fits, how long it takes and what it costs, before anything is spent."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.errors import UserError
from distml.launch.fitting.fit_check import (
    Expectation,
    cheapest_within,
    expected,
    fastest_within,
    fit_check,
)
from distml.launch.fitting.fleet import Fleet, fleets
from distml.launch.fitting.simulate import Constants
from distml.launch.fitting.starts import CONSTANTS, starts_of
from distml.launch.fitting.work import Span, Work
from tests.launch.planned import GIB, head, member, node, plan, shape, span, workers

NOTHING = Constants()
AWS = starts_of("aws")
ALREADY = dataclasses.replace(starts_of("running"), driver_s=Span(0.0, 0.0, 0.0), is_assumed=False)


def work(*members, **fields):
    return Work.of(plan(*members, **fields))


def laid_out(job, fleet, starts=ALREADY, constants=NOTHING):
    return Expectation(work=job, fleet=fleet, starts=starts, constants=constants)


def fleet_of(cluster, **counts):
    return Fleet(shape=cluster, counts={**{each.name: 0 for each in cluster.node_types}, **counts})


MEMBERS = st.lists(
    st.builds(
        member,
        fit=st.sampled_from(["forest", "boosting", "linear", "network"]),
        units=st.integers(1, 30),
        seconds=st.floats(1.0, 900.0),
        peak=st.integers(0, 8).map(lambda gib: gib * GIB),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda each: each["fit"],
)
SHAPES = st.builds(
    lambda cpus, head_cpus, most, kinds: shape(
        head(cpus=head_cpus),
        *(
            node(f"kind{number}", cpus=cpus + number, price=price, most=most)
            for number, price in enumerate(kinds)
        ),
        most=most,
    ),
    st.integers(1, 16),
    st.sampled_from([0, 2]),
    st.integers(1, 12),
    st.lists(st.floats(0.05, 3.0), min_size=1, max_size=3),
)


@given(MEMBERS, SHAPES)
@settings(max_examples=60, deadline=None)
def test_time_lies_between_the_work_there_is_and_doing_it_one_by_one(members, cluster):
    job = work(*members)
    for each in fit_check(job, cluster, constants=NOTHING):
        starts = starts_of("aws")
        for bound in ("value", "low", "high"):
            cpus = sum(kind.num_cpus * count for kind, count in each.fleet.types())
            units = [job.kinds[m["fit"]] for m in members for _ in range(m["units"])]
            seconds = [unit.seconds.at(bound) for unit in units]
            begun = starts.head_s.at(bound) + starts.driver_s.at(bound) + job.driver_s.at(bound)
            taken = each.seconds.at(bound)
            assert taken >= begun + max(sum(seconds) / cpus, max(seconds)) - 1e-6
            assert taken <= begun + sum(seconds) + 2 * starts.worker_s.at(bound) + 1e-6
        assert each.seconds.low <= each.seconds.value <= each.seconds.high
        assert each.cost.low <= each.cost.value <= each.cost.high


@given(MEMBERS, SHAPES, st.floats(300, 20_000), st.floats(0.1, 30.0))
@settings(max_examples=60, deadline=None)
def test_the_choice_is_the_best_of_all_counts_of_all_kinds(members, cluster, deadline_s, budget):
    job = work(*members)
    every = [
        laid_out(job, fleet_of(cluster, head=1, **{kind.name: num}), AWS, CONSTANTS)
        for kind in cluster.node_types[1:]
        for num in range(1, cluster.max_workers + 1)
    ]
    if cluster.node_types[0].num_cpus:
        every.append(laid_out(job, fleet_of(cluster, head=1), AWS, CONSTANTS))
    found = fit_check(job, cluster)

    in_time = [each.cost.value for each in every if each.seconds.value <= deadline_s]
    in_budget = [each.seconds.value for each in every if each.cost.value <= budget]

    if in_time:
        # No more machines than have something to do are looked at, and those cost less.
        assert cheapest_within(found, deadline_s).cost.value <= min(in_time) + 1e-9
        assert cheapest_within(found, deadline_s).seconds.value <= deadline_s
    else:
        with pytest.raises(UserError, match=r"no fleet of cluster/aws.* ends within"):
            cheapest_within(found, deadline_s)
    if in_budget:
        assert fastest_within(found, budget).seconds.value <= min(in_budget) + 1e-9
        assert fastest_within(found, budget).cost.value <= budget
    else:
        with pytest.raises(UserError, match=r"no fleet of cluster/aws.* does it for"):
            fastest_within(found, budget)


def test_units_are_laid_out_over_the_cpus_stage_after_stage():
    job = work(
        member("fold", units=8, seconds=100.0),
        member("final", units=1, seconds=30.0),
        stages=[{"fold": 8}, {"final": 1}],
    )
    cluster = shape()

    one, two = (laid_out(job, fleet_of(cluster, head=1, cpu=num)) for num in (1, 2))

    # 15 s in the driver, two waves or one of folds, then the final one; machines join at once here.
    assert one.seconds.value == pytest.approx(15 + 200 + 30)
    assert two.seconds.value == pytest.approx(15 + 100 + 30)
    assert (one.at_once, two.at_once) == (4, 8)
    assert one.idle_share == pytest.approx(1 - 830 / 4 / 230)


def test_machines_are_paid_for_from_when_they_are_asked_for_until_they_are_gone():
    starts = dataclasses.replace(
        ALREADY, head_s=Span(200.0, 200.0, 200.0), worker_s=Span(100.0, 100.0, 100.0), down_s=60.0
    )

    found = laid_out(work(), fleet_of(shape(), head=1, cpu=2), starts)

    # 200 s for the head, 15 s in the driver, 100 s for the workers, 100 s of work.
    assert found.seconds.value == pytest.approx(415)
    assert found.cost.value == pytest.approx((475 * 0.2 + 2 * 275 * 0.4) / 3600)


def test_memory_bounds_how_many_run_at_once():
    # 15.2 GiB are usable; data take 1, Ray's servers 0.4: room for three of 4 GiB and libraries.
    [one] = [laid_out(work(member(units=6, peak=4 * GIB)), fleet_of(shape(), head=1, cpu=1))]

    assert one.at_once == 3


def test_a_network_has_its_workers_on_several_machines():
    job = work(member("net", units=2, seconds=60.0, workers=workers(num=6)))
    cluster = shape()

    found = laid_out(job, fleet_of(cluster, head=1, cpu=2))

    # Measured on one worker: at best six share it, and it takes its start of five seconds.
    assert found.at_once == 1
    assert found.seconds.value == pytest.approx(15 + 2 * (60 / 6 + 5))
    assert found.seconds.high == pytest.approx(30 + 2 * (120 + 10))
    assert all(each.fleet.counts["cpu"] >= 2 for each in fit_check(job, cluster))


def test_gpus_come_from_the_cheapest_kind_that_has_them_and_the_rest_goes_elsewhere():
    cluster = shape(
        head(), node(), node("dear", num_gpus=8, price=9.0), node("gpu", price=1.0, num_gpus=1)
    )
    job = work(member("net", units=1, workers=workers(num=2, gpus=1)), member("forest", units=16))

    found = fit_check(job, cluster)
    with_cpus = [
        each.fleet.counts for each in found if each.fleet.extra and each.fleet.extra.name == "cpu"
    ]

    assert with_cpus[:2] == [
        {"head": 1, "cpu": 1, "dear": 0, "gpu": 2},
        {"head": 1, "cpu": 2, "dear": 0, "gpu": 2},
    ]


def test_trials_follow_each_other_and_machines_start_once():
    search = {"trials": 5, "each": span(1), "time_budget_s": None, "fitting": None}
    job = work(search=search, phases={"read": span(50.0)})
    starts = dataclasses.replace(ALREADY, worker_s=Span(100.0, 100.0, 100.0))

    found = laid_out(job, fleet_of(shape(), head=1, cpu=2), starts)

    assert found.seconds.value == pytest.approx(50 + 100 + 5 * 100)


def test_trials_side_by_side_share_the_machines():
    search = {"trials": 6, "each": span(1), "time_budget_s": None, "fitting": None, "at_once": 2}
    job = work(search=search, phases={"read": span(6 * 10.0)})

    found = laid_out(job, fleet_of(shape(), head=1, cpu=2))

    # Three rounds of sixteen fits on eight CPUs, each behind ten seconds in the drivers.
    assert found.seconds.value == pytest.approx(3 * (10 + 200))
    assert job.driver_bytes.value == 2 * GIB


def test_a_search_begins_no_trial_after_its_time():
    search = {"trials": 50, "each": span(1), "time_budget_s": 250.0, "fitting": 5}
    found = laid_out(work(search=search, phases={}), fleet_of(shape(), head=1, cpu=2))

    assert found.seconds.value == pytest.approx(300)


def test_all_of_it_in_the_driver_needs_the_head_alone():
    [only] = fit_check(work(phases={"fit": span(100.0)}, stages=[{}]), shape())

    assert only.fleet.counts == {"head": 1, "cpu": 0}
    assert only.seconds.value == pytest.approx(240 + 4 + 100)


def test_a_running_cluster_is_as_it_is():
    cluster = shape(
        head(cpus=2, price=None), node(min_count=3, most=3, price=None),
        provider="running", most=3,
    )  # fmt: skip

    [only] = fit_check(work(), cluster)

    assert only.fleet.counts == {"head": 1, "cpu": 3}
    assert only.cost is None
    assert only.seconds.value == pytest.approx(4 + 15 + 100, rel=0.1)


def test_more_machines_are_expected_only_where_they_have_something_to_do():
    found = fit_check(work(member(units=10)), shape())

    assert [each.fleet.counts["cpu"] for each in found] == [1, 2, 3]
    assert expected(found).fleet.counts["cpu"] == 3


def test_without_prices_the_smallest_fleet_in_time_is_chosen():
    cluster = shape(head(price=None), node(price=None))
    found = fit_check(work(member(units=32, seconds=600.0)), cluster)

    chosen = cheapest_within(found, 4000.0)

    assert chosen.cost is None
    slower = [each for each in found if each.fleet.num_machines < chosen.fleet.num_machines]
    assert all(each.seconds.value > 4000 or each.seconds.value > chosen.seconds.value
               for each in slower)  # fmt: skip
    with pytest.raises(UserError, match=r"prices of cluster/aws.* are not known"):
        fastest_within(found, 10.0)


def test_a_job_that_no_sample_tells_the_time_of_has_neither_time_nor_price():
    job = work(
        members=[], left=[], workers=workers(num=4), phases={}, seconds=None,
        memory={"peak_bytes": None, "driver_bytes": None, "matrix_bytes": None},
    )  # fmt: skip

    found = fit_check(job, shape())

    assert found[0].fleet.counts == {"head": 1, "cpu": 1}
    assert found[0].seconds is found[0].cost is None
    for choose, limit in ((cheapest_within, 1.0), (fastest_within, 1.0)):
        with pytest.raises(UserError, match="needs to know how long the job takes"):
            choose(found, limit)


def test_networks_that_may_end_early_reach_down_in_the_range():
    whole, early = (
        laid_out(work(early_share=share), fleet_of(shape(), head=1, cpu=1)).seconds
        for share in (0.0, 0.5)
    )

    assert early.low == pytest.approx(whole.low / 2)
    assert (early.value, early.high) == (whole.value, whole.high)


def test_thousands_of_units_on_hundreds_of_machines_are_laid_out_in_a_moment():
    cluster = shape(head(), node(most=1000), most=1000)

    found = fit_check(work(member(units=5000, seconds=20.0)), cluster)

    cheapest_within(found, 1e9)
    counts = [each.fleet.counts["cpu"] for each in found]
    assert counts[:16] == list(range(1, 17))
    assert counts[-1] == 1000
    assert len(counts) < 60


def test_a_plan_of_before_there_were_other_places_is_refused():
    with pytest.raises(UserError, match="the plan is of an older distml"):
        Work.of({"members": [], "stages": []})


def test_fleets_never_have_more_than_the_cluster_may():
    cluster = shape(head(), node(min_count=2, most=6), node("other", most=3), most=5)

    counts = [fleet.counts for fleet in fleets(work(member(units=200)), cluster)]

    assert counts[0] == {"head": 1, "cpu": 2, "other": 0}
    assert max(each["cpu"] for each in counts) == 5
    assert max(each["other"] for each in counts) == 3
    assert all(sum(each.values()) <= 6 for each in counts)


def test_machines_join_in_growing_batches():
    cluster = shape(head(), node(most=200), most=200)
    fleet = fleet_of(cluster, head=1, cpu=200)
    starts = dataclasses.replace(ALREADY, worker_s=Span(10.0, 10.0, 10.0))

    ready = [machine.ready_s for machine in fleet.machines(work(), starts, "value")]

    assert ready.count(0.0) == 1
    assert ready.count(10.0) == 10
    assert ready.count(20.0) == 110
    assert ready.count(30.0) == 80
    assert not math.isinf(CONSTANTS.bytes_per_s)
