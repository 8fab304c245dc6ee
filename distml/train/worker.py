"""A worker's side of a training: it joins the others, runs the loop, and tells what went wrong."""

import importlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import cloudpickle
import torch
from torch import distributed as dist

from distml import session
from distml.errors import DistmlError
from distml.train.context import Train
from distml.train.exchange import Exchange
from distml.train.heap import kept_heap
from distml.train.lean import train_functions
from distml.train.mailbox import MailboxChannel
from distml.train.parallel import Parallel, choose_device
from distml.train.position import Best
from distml.train.setup import Setup

__all__ = ["Order", "run_worker"]

_COLLECTIVE_TIMEOUT = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What each worker is given."""

    body: Callable[[Train, Any], Any]
    work: Any
    setup: Setup
    parts: Any
    """Reference to the rows."""
    mailbox: Any


def run_worker(config: Mapping[str, Any]) -> Any:
    """What Ray Train runs on each worker.

    Args:
        config: `order`, see `Order`.

    Returns:
        What the loop of worker 0 returns.

    Raises:
        Exception: whatever the loop raises; the driver has been told.
    """
    ray: Any = importlib.import_module("ray")
    order: Order = config["order"]
    context = train_functions().get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    channel = MailboxChannel(order.mailbox, rank)
    setup = order.setup
    torch.set_num_threads(setup.workers.cpus_per_worker or 1)
    try:
        device = choose_device(setup.workers.gpus_per_worker or 0)
        exchange = None
        if world_size > 1:
            _join(rank, world_size, setup)
            exchange = Exchange(_own_address()) if device.type == "cpu" else None
        train = Train(
            parts=ray.get(order.parts),
            seed=setup.seed,
            parallel=Parallel(
                device=device,
                world_size=world_size,
                strategy=setup.strategy,
                precision=setup.precision,
                compile=setup.compile,
                exchange=exchange,
            ),
            rank=rank,
            channel=channel,
            checkpoints=setup.checkpoints,
            checkpoint_every_s=setup.checkpoint_every_s,
            best=Best(**setup.best()),
        )
        channel.emit("workers", num_workers=world_size, host=socket.gethostname())
        try:
            with session.inline(), kept_heap():
                value = order.body(train, order.work)
        finally:
            train.close()
        return value if rank == 0 else None
    except Exception as error:
        ray.get(order.mailbox.post.remote(rank, [("error", {"error": _portable(error)})]))
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(rank: int, world_size: int, setup: Setup) -> None:
    """Make one process group of all workers."""
    # It listens before anybody is told where: who calls too early waits before calling again.
    store = _store(_own_address(), 0, world_size, serves=True) if rank == 0 else None
    host, port = train_functions().broadcast_from_rank_zero(store and (store.host, store.port))
    dist.init_process_group(
        # NCCL refuses two workers on one GPU.
        "nccl" if (setup.workers.gpus_per_worker or 0) >= 1 else "gloo",
        store=store or _store(host, port, world_size, serves=False),
        rank=rank,
        world_size=world_size,
        timeout=_COLLECTIVE_TIMEOUT,
    )


def _store(host: str, port: int, world_size: int, *, serves: bool) -> Any:
    """Where workers tell one another where they are."""
    return dist.TCPStore(  # type: ignore[attr-defined]
        host, port, world_size, serves, _COLLECTIVE_TIMEOUT, wait_for_workers=False
    )


def _own_address() -> str:
    ray: Any = importlib.import_module("ray")
    return str(ray.util.get_node_ip_address())


def _portable(error: Exception) -> Exception:
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return DistmlError(f"{type(error).__name__}: {error}")
    return error
