"""Gradients of CPU workers added up over plain sockets, where they are few.

The one decision: gloo is asked for what is large, where it works while the backward pass goes on.
Of 50 kB it makes 0.4 to 1.8 ms, as much as the step of a small network takes, because its threads
wake one another; sockets of one's own make 0.1 ms of it (two workers on one host of 2 cores). So
what is small is added by recursive doubling (Thakur, Rabenseifner, Gropp 2005): in each round a
worker gives what it has to one other and adds what it gets, and all end with the same bits.
"""

import hmac
import os
import secrets
import socket
import struct
import time
import weakref
from typing import Any

import torch
from torch import distributed as dist

__all__ = ["MOST_BYTES", "Exchange", "peers_of"]

MOST_BYTES = 1 << 20
"""Above this gloo is as fast."""
_AT_ONCE = 1 << 16
"""Both sides send so much before they read: it has to fit into the buffers of the sockets."""
_TIMEOUT_S = 300
_SPIN_S = 200e-6
"""For so long a worker asks again and again: workers are about as fast as each other, and one that
sleeps is woken late."""
_GREETING_S = 10.0
_SECRET_BYTES = 16


def peers_of(rank: int, world_size: int) -> tuple[list[int], int | None]:
    """With whom a worker adds.

    Returns:
        A peer a round, and the worker that stands aside meanwhile (where their number is no power
        of two): one that gives its part before and takes the sum after. For the one that stands
        aside: no rounds, and who adds for it.
    """
    inside = 1 << (world_size.bit_length() - 1)
    if rank >= inside:
        return [], rank - inside
    rounds = [rank ^ (1 << bit) for bit in range(inside.bit_length() - 1)]
    return rounds, rank + inside if rank + inside < world_size else None


class Exchange:
    """Open sockets from one worker to those it adds with.

    Opening and adding are collective: all workers of the default process group take part.

    Args:
        host: Address of this machine, by which the others reach it.

    Raises:
        RuntimeError: a worker is not there (any more).
    """

    def __init__(self, host: str) -> None:
        rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self._rounds, self._aside = peers_of(rank, self.world_size)
        peers = [*self._rounds, *([] if self._aside is None else [self._aside])]
        self._sockets = _connect(host, rank, self.world_size, peers)
        # Nobody is told when the last model lets go of it.
        weakref.finalize(self, _close, list(self._sockets.values()))

    def add(self, tensor: torch.Tensor) -> None:
        """Add a tensor up over all workers, in place; contiguous, on the CPU."""
        other = torch.empty_like(tensor)
        own, received = _bytes_of(tensor), _bytes_of(other)
        try:
            if self._aside is not None and not self._rounds:
                self._sockets[self._aside].sendall(own)
                _receive(self._sockets[self._aside], own)
                return
            if self._aside is not None:
                _receive(self._sockets[self._aside], received)
                tensor.add_(other)
            for peer in self._rounds:
                _swap(self._sockets[peer], own, received)
                tensor.add_(other)
            if self._aside is not None:
                self._sockets[self._aside].sendall(own)
        except OSError as error:
            raise RuntimeError(f"Connection closed by peer ({error})") from error


def _connect(host: str, rank: int, world_size: int, peers: list[int]) -> dict[int, socket.socket]:
    """Sockets to the peers; only who knows what was said in the process group is let in."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    with socket.create_server((host, 0)) as server:
        told: list[Any] = [None] * world_size
        dist.all_gather_object(told, (server.getsockname(), secret))
        sockets = {peer: _call(rank, *told[peer]) for peer in peers if peer < rank}
        server.settimeout(_TIMEOUT_S)
        while len(sockets) < len(peers):
            caller, _ = server.accept()
            peer = _who(caller, secret)
            if peer is None:
                caller.close()
            else:
                sockets[peer] = caller
    for each in sockets.values():
        # The kernel's timeouts: Python's own would wait before each call.
        each.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            each.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _TIMEOUT_S, 0))
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            each.setsockopt(socket.SOL_SOCKET, buffer, 2 * _AT_ONCE)
    return sockets


def _call(rank: int, address: tuple[str, int], secret: bytes) -> socket.socket:
    peer = socket.create_connection(address, timeout=_TIMEOUT_S)
    peer.sendall(secret + rank.to_bytes(4, "big"))
    return peer


def _who(caller: socket.socket, secret: bytes) -> int | None:
    """The rank of who calls; `None` for a stranger."""
    caller.settimeout(_GREETING_S)
    greeting = bytearray(_SECRET_BYTES + 4)
    try:
        _receive(caller, memoryview(greeting))
    except OSError:
        return None
    known = hmac.compare_digest(bytes(greeting[:_SECRET_BYTES]), secret)
    return int.from_bytes(greeting[_SECRET_BYTES:], "big") if known else None


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    array: Any = tensor.view(-1).numpy()
    return memoryview(array).cast("B")


def _swap(peer: socket.socket, own: memoryview, received: memoryview) -> None:
    for start in range(0, len(own), _AT_ONCE):
        peer.sendall(own[start : start + _AT_ONCE])
        _receive(peer, received[start : start + _AT_ONCE])


def _receive(peer: socket.socket, into: memoryview) -> None:
    count, until = 0, time.perf_counter() + _SPIN_S
    while count < len(into):
        spins = time.perf_counter() < until
        try:
            found = peer.recv_into(into[count:], 0, socket.MSG_DONTWAIT if spins else 0)
        except BlockingIOError:
            if not spins:
                raise
            os.sched_yield()
            continue
        if not found:
            raise ConnectionError("it ended")
        count += found


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()
