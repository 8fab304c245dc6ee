"""A small model on several CPU workers: its gradients are averaged at once, after a backward pass.

The one decision: DDP sends while the backward pass goes on, which pays where there is much to send.
Where all gradients are one small message, its hooks and its reducer cost more than the message, so
here the pass ends first and one sum follows. Who has a gradient is added up along with them: what
no worker has used in a step stays without one, as it would in one process.
"""

import contextlib
import functools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from distml.train.exchange import MOST_BYTES, Exchange

__all__ = ["Replica", "is_small"]


def is_small(model: nn.Module) -> bool:
    """Whether a model's gradients are so few that one exchange after the pass is the quickest.

    Not where layers keep running statistics, which DDP sends too, or make sparse gradients.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return sum(parameter.nbytes for parameter in learning) <= MOST_BYTES and not any(
        hasattr(module, "running_mean") or getattr(module, "sparse", False)
        for module in model.modules()
    )


class Replica(nn.Module):
    """A model whose gradients, after each backward pass, are the mean over all workers.

    All workers make it, with the same model, and begin with the weights of the first; each calls
    `backward` as often as the others.

    Args:
        module: on the CPU.
        exchange: adds up over the workers.

    Raises:
        RuntimeError: of `backward`: a worker is not there any more.
    """

    def __init__(self, module: nn.Module, exchange: Exchange) -> None:
        super().__init__()
        self.module = module
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.detach(), src=0)
        learning: list[Any] = [p for p in module.parameters() if p.requires_grad]
        self._mean = _Mean(exchange, learning)
        for parameter in learning:
            parameter.register_post_accumulate_grad_hook(self._mean.expect)

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the model makes of it."""
        return self.module(*args, **options)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, backward passes add to this worker's gradients without telling the others."""
        self._mean.is_told = False
        try:
            yield
        finally:
            self._mean.is_told = True


class _Mean:
    """Takes the mean of gradients at the end of a backward pass in which there was one."""

    def __init__(self, exchange: Exchange, learning: Sequence[nn.Parameter]) -> None:
        self.is_told = True
        self._exchange = exchange
        self._is_expected = False
        # A parameter keeps its hook in a way that the garbage collector cannot follow.
        self._learning = [weakref.ref(parameter) for parameter in learning]
        # The message: all gradients, and for each the share of workers that have it.
        sizes = [*(p.numel() for p in learning), len(learning)]
        dtype = functools.reduce(torch.promote_types, (p.dtype for p in learning), torch.float32)
        self._flat: Any = torch.empty(sum(sizes), dtype=dtype)
        *parts, self._shares = torch.split(self._flat, sizes)
        self._parts = [part.view(p.shape) for part, p in zip(parts, learning, strict=True)]

    def expect(self, _: torch.Tensor) -> None:
        """A gradient is there: take the mean when the pass is over."""
        if self.is_told and not self._is_expected:
            self._is_expected = True
            engine: Any = torch.autograd.Variable._execution_engine
            engine.queue_callback(self._take)

    def _take(self) -> None:
        self._is_expected = False
        learning: list[Any] = [each() for each in self._learning]
        own = [p.grad for p in learning]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        torch._foreach_copy_(self._parts, grads)
        self._shares.copy_(torch.tensor([grad is not None for grad in own]))
        self._exchange.add(self._flat.div_(self._exchange.world_size))
        torch._foreach_copy_(grads, self._parts)
        if any(grad is None for grad in own):
            for parameter, grad, share in zip(learning, grads, self._shares.tolist(), strict=True):
                parameter.grad = grad if share else None
