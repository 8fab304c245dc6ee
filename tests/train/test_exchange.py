import socket
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed as dist
from torch import multiprocessing

from distml.train.exchange import Exchange, _who, peers_of
from distml.train.workers import misses_a_peer

SECRET = bytes(range(16))


def simulated(values):
    """What `Exchange.add` does, round after round, on numbers in one process."""
    size = len(values)
    plans = [peers_of(rank, size) for rank in range(size)]
    for rank, (rounds, aside) in enumerate(plans):
        if rounds and aside is not None:
            values[rank] += values[aside]
    for turn in range(len(plans[0][0])):
        before = list(values)
        for rank, (rounds, _) in enumerate(plans):
            if rounds:
                values[rank] += before[rounds[turn]]
    for rank, (rounds, aside) in enumerate(plans):
        if not rounds and aside is not None:
            values[rank] = values[aside]
    return values


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20))
def test_every_worker_ends_with_the_sum_of_all(values):
    assert simulated(list(values)) == [sum(values)] * len(values)


@pytest.mark.parametrize("world_size", [2, 3, 4, 7])
def test_peers_are_each_others_peers(world_size):
    plans = [peers_of(rank, world_size) for rank in range(world_size)]
    for rank, (rounds, aside) in enumerate(plans):
        assert all(plans[peer][0][turn] == rank for turn, peer in enumerate(rounds))
        assert aside is None or plans[aside][1] == rank


def _worker(rank, world_size, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world_size
    )
    torch.set_num_threads(1)
    exchange = Exchange("127.0.0.1")
    sums = []
    for size in (1, 1000, 300_000):
        tensor = torch.arange(size, dtype=torch.float32) * (rank + 1)
        exchange.add(tensor)
        sums.append(torch.equal(tensor, torch.arange(size) * sum(range(1, world_size + 1))))
    torch.save(sums, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_sums_are_those_of_all_workers(tmp_path, monkeypatch):
    # The processes import this file by its name.
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    world_size = 3  # Two that swap, and one that stands aside.
    multiprocessing.spawn(_worker, (world_size, str(tmp_path)), nprocs=world_size)
    for rank in range(world_size):
        assert torch.load(tmp_path / f"{rank}.pt") == [True] * 3


def test_a_worker_that_has_gone_is_said_to_be_missed(tmp_path):
    method = f"file://{tmp_path}/group"
    dist.init_process_group("gloo", init_method=method, rank=0, world_size=1)
    exchange = Exchange("127.0.0.1")
    dist.destroy_process_group()
    own, other = socket.socketpair()
    exchange._rounds, exchange._sockets = [1], {1: own}
    other.close()
    with own, pytest.raises(RuntimeError) as raised:
        exchange.add(torch.zeros(3))
    assert misses_a_peer(raised.value)


@pytest.mark.parametrize(
    ("said", "rank"),
    [(SECRET + b"\0\0\0\3", 3), (bytes(len(SECRET) + 4), None), (b"", None)],
    ids=["peer", "stranger", "nothing"],
)
def test_only_who_knows_the_secret_is_let_in(said, rank):
    caller, server = socket.socketpair()
    with caller, server:
        caller.sendall(said)
        caller.shutdown(socket.SHUT_WR)
        assert _who(server, SECRET) == rank
