"""Pieces of work: here or over Ray, with the same values, and errors that name the piece."""

import math
import os

import pytest

from distml import session, spread
from distml.errors import DataError, DistmlError


def power(shared, piece, cpus):
    if piece == 666:
        raise ZeroDivisionError("no such\nluck")
    if piece == 667:
        os._exit(1)
    if piece == 668:
        raise DataError("as it is")
    return shared**piece, os.getpid(), cpus


def work(**changes):
    fields = {"do": power, "shared": 2, "name": lambda piece: f"piece {piece}: raising"}
    return spread.Work(**{**fields, **changes})


def run(pieces, *, seconds=math.inf, **changes):
    started = []
    found = list(spread.spread(work(**changes), pieces, started.append, seconds=seconds))
    assert sorted(started) == sorted(pieces)
    return found


def test_in_this_process_pieces_come_one_after_another():
    with session.inline():
        assert run([3, 1, 2]) == [(n, (2**n, os.getpid(), None)) for n in (3, 1, 2)]


@pytest.mark.parametrize("seconds", [None, 0.1], ids=["unknown", "known"])
def test_what_is_over_before_ray_has_started_stays_here(seconds):
    assert {pid for _, (_, pid, _) in run([1, 2, 3], seconds=seconds)} == {os.getpid()}


@pytest.mark.ray
def test_over_ray_values_are_the_same():
    found = run(range(7))
    assert {piece: value for piece, (value, _, _) in found} == {n: 2**n for n in range(7)}
    assert os.getpid() not in {pid for _, (_, pid, _) in found}
    assert {cpus for _, (_, _, cpus) in found} == {1}


@pytest.mark.ray
def test_few_pieces_share_the_cpus_they_can_use():
    assert [cpus for _, (_, _, cpus) in run([1, 2], most_cpus=math.inf)] == [2, 2]


@pytest.mark.ray
@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (666, r"^piece 666: raising failed \(ZeroDivisionError: no such luck\)$"),
        (667, r"^piece 667: raising failed, its worker died .*fewer CPUs"),
        (668, r"^as it is$"),
    ],
    ids=["error", "death", "our own error"],
)
def test_a_piece_that_fails_in_a_worker_is_named(piece, words):
    with pytest.raises(DistmlError, match=words) as caught:
        run([piece])
    assert "\n" not in str(caught.value)


WIDE = {"num_workers": 2, "cpus_per_worker": 1, "gpus_per_worker": 0}


@pytest.mark.parametrize(
    ("params", "needs"),
    [
        ({}, None),
        ({"num_workers": 1, "cpus_per_worker": 4}, None),
        ({"net__num_workers": 2, "net__cpus_per_worker": None}, WIDE),
        ({"num_workers": (3, 8), "cpus_per_worker": 2, "gpus_per_worker": None},
         {"num_workers": 3, "cpus_per_worker": 2, "gpus_per_worker": 0}),
        ({"num_workers": 0, "gpus_per_worker": 0.5},
         {"num_workers": 1, "cpus_per_worker": 1, "gpus_per_worker": 0.5}),
        ({"a__num_workers": 8, "b__num_workers": 2, "b__gpus_per_worker": 1},
         {"num_workers": 2, "cpus_per_worker": 1, "gpus_per_worker": 1}),
    ],
    ids=["none", "one", "a network within", "from three to eight", "part of a GPU", "the widest"],
)  # fmt: skip
def test_workers_that_a_fit_asks_for_are_read_from_its_parameters(params, needs):
    assert spread.workers_of(params) == needs
