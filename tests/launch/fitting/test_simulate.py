"""The simulated schedule: between its bounds whatever the units, and exact where it can be told."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.launch.fitting.simulate import Constants, Load, Machine, room, simulate

LOADS = st.lists(
    st.builds(
        Load,
        name=st.just("unit"),
        seconds=st.floats(0.01, 100.0),
        count=st.integers(1, 20),
    ),
    min_size=1,
    max_size=6,
)


def load(seconds=10.0, **fields):
    return Load(**{"name": "unit", "seconds": seconds, **fields})


def machines(num, **fields):
    return [Machine(**{"cpus": 2, "is_head": not number, **fields}) for number in range(num)]


def seconds(stages, fleet, constants=None, **fields):
    return simulate(stages, fleet, constants, **fields).seconds


@given(LOADS, st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_the_end_lies_between_what_is_possible_and_grahams_bound(loads, num, cpus):
    result = simulate([loads], [Machine(cpus=cpus) for _ in range(num)])

    slots = num * cpus
    work = sum(each.seconds * each.count for each in loads)
    longest = max(each.seconds for each in loads)
    least = max(work / slots, longest)
    assert least - 1e-6 <= result.seconds
    # Graham (1969): no list schedule takes longer than this.
    assert result.seconds <= work / slots + longest * (1 - 1 / slots) + 1e-6
    assert result.busy_s == pytest.approx(work)
    assert result.most_at_once == min(slots, sum(each.count for each in loads))


@given(
    LOADS,
    st.floats(0, 1),
    st.floats(0, 0.1),
    st.floats(0, 5),
    st.lists(st.floats(0, 60), min_size=1, max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_with_all_constants_it_is_no_sooner_and_no_later_than_each_alone(
    loads, unit_s, dispatch_s, start_s, ready
):
    constants = Constants(unit_s=unit_s, dispatch_s=dispatch_s, worker_start_s=start_s)
    fleet = [Machine(cpus=2, ready_s=at) for at in ready]

    taken = seconds([loads], fleet, constants)

    count = sum(each.count for each in loads)
    work = sum((each.seconds + unit_s) * each.count for each in loads)
    longest = max(each.seconds for each in loads) + unit_s
    slots = 2 * len(fleet)
    assert taken >= max(work / slots, longest, count * dispatch_s) + min(ready) - 1e-6
    most = work / slots + longest + slots * start_s + count * dispatch_s + max(ready)
    assert taken <= most + 1e-6


@given(LOADS, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_stages_wait_for_each_other(loads, num):
    result = simulate([loads, loads], machines(num))

    assert result.stage_ends[1] == pytest.approx(2 * result.stage_ends[0])
    assert result.seconds == result.stage_ends[1]


@pytest.mark.parametrize(
    ("stages", "fleet", "expected"),
    [
        ([], machines(1), 0.0),
        ([[load(count=4)]], machines(1), 20.0),
        ([[load(count=4)]], machines(2), 10.0),
        ([[load(4.0, count=3), load(6.0, count=2)]], machines(1), 14.0),
        ([[load(count=2, num_workers=2)]], machines(1), 20.0),
        ([[load(count=1, num_workers=3), load(5.0)]], machines(2), 10.0),
        ([[load(count=2, gpus=1)]], [*machines(1), Machine(cpus=2, gpus=1)], 20.0),
        ([[load(count=2, gpus=0.5)]], [Machine(cpus=2, gpus=1)], 10.0),
        ([[load(count=2, memory_bytes=60)]], machines(1, memory_bytes=100), 20.0),
        ([[load(count=2)]], [Machine(cpus=0, is_head=True), Machine(cpus=1, ready_s=30)], 50.0),
        ([[load(count=2)]], [Machine(cpus=1), Machine(cpus=1, ready_s=4)], 14.0),
        ([[load(count=2, cpus=0.5)]], [Machine(cpus=1)], 10.0),
    ],
    ids=[
        "nothing", "two at a time", "four at a time", "longest first", "workers take all",
        "workers over machines", "one GPU", "half a GPU each", "memory for one",
        "a head without CPUs", "a machine that joins later", "half a CPU each",
    ],
)  # fmt: skip
def test_units_have_what_they_need(stages, fleet, expected):
    assert seconds(stages, fleet) == pytest.approx(expected)


def test_the_driver_hands_out_one_unit_after_another():
    constants = Constants(dispatch_s=0.5, unit_s=0.1)

    assert seconds([[load(1.0, count=10)]], machines(10), constants) == pytest.approx(
        5.0 + 1.1, abs=0.01
    )


def test_a_worker_loads_its_libraries_once():
    assert seconds([[load(1.0, count=6)]], machines(1), Constants(worker_start_s=3.0)) == 6.0


def test_data_goes_from_machine_to_machine_in_doubling_rounds():
    constants = Constants(bytes_per_s=100.0)

    taken = [
        seconds([[load(1.0, count=num)]], machines(num, cpus=1), constants, shared_bytes=200.0)
        for num in (1, 2, 4, 8)
    ]

    # The head has it; one round for the first, two for three, three for seven.
    assert taken == pytest.approx([1.0, 3.0, 5.0, 7.0])


def test_what_has_room_nowhere_is_an_error():
    with pytest.raises(ValueError, match="unit has room on none"):
        simulate([[load(gpus=1)]], machines(3))


def test_a_thousand_machines_are_soon_laid_out():
    result = simulate([[load(count=20_000, cpus=1)]], machines(1000, cpus=4))

    assert result.seconds == pytest.approx(50.0)
    assert result.most_at_once == 4000


@pytest.mark.parametrize(
    ("free", "needs", "expected"),
    [
        ((4, 0, math.inf), {}, 4),
        ((4, 1, math.inf), {"gpus": 0.5}, 2),
        ((4, 0, 100), {"memory_bytes": 30}, 3),
        ((0.3, 0, math.inf), {"cpus": 0.1}, 3),
        ((-1, 0, math.inf), {}, 0),
    ],
    ids=["cpus", "gpus", "memory", "parts that add up", "less than nothing"],
)
def test_room_is_what_is_scarcest(free, needs, expected):
    assert room(*free, load(**needs)) == expected
