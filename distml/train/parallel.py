"""One model over one or several workers: its device, its wrapper, its precision, its whole state.

The one decision: torch's own wrappers do the communication (DDP, FSDP2), but for models so small
that there is nothing to do meanwhile. A state that leaves here is always whole and on the CPU under
the names of the bare model, so a training may go on with another strategy, another number of
workers or none.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import distributed as dist
from torch import nn

from distml.errors import UserError
from distml.rehearsal import is_rehearsal
from distml.train.exchange import Exchange
from distml.train.momenta import begin_with_momenta, check_kind, load_momenta, momenta
from distml.train.replica import Replica, is_small

__all__ = [
    "Parallel",
    "Precision",
    "Strategy",
    "are_finite",
    "bare",
    "check_precision",
    "choose_device",
]

Precision = Literal["fp32", "bf16", "fp16"]
Strategy = Literal["ddp", "fsdp"]

_KEPT: list[Any] = []
"""Process groups of replicas, until this process ends: DDP, were it the last to let go of one,
waits for its threads while it holds Python's lock, for which they wait to let go of their work."""
_REPLICAS = (nn.parallel.DistributedDataParallel, Replica)
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(gpus: float | None) -> torch.device:
    """The device of a worker.

    Args:
        gpus: GPUs it has; a part of one is one. `None`: one if this process sees any.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    if gpus is None:
        gpus = float(torch.cuda.is_available())
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if is_rehearsal():
            return torch.device("cpu")
        raise UserError(
            f"gpus_per_worker={gpus:g}: torch sees no GPU here; use 0, or num_workers=1 on a "
            "cluster that has one"
        )
    return torch.device("cuda", torch.cuda.current_device())


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device has no arithmetic for.

    Raises:
        UserError: it has none.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision='fp16' needs a GPU; on a CPU use 'bf16' or 'fp32'")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        name = torch.cuda.get_device_name(device)
        raise UserError(f"precision='bf16' is not supported by {name}; use 'fp16' or 'fp32'")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """How a model is trained over the workers of this process group."""

    device: torch.device
    """Where this worker computes."""
    world_size: int = 1
    """Workers; a process group of that size exists if it is more than one."""
    strategy: Strategy = "ddp"
    """`ddp`: each worker has the whole model. `fsdp`: each has a part of every layer."""
    precision: Precision = "fp32"
    """What the forward pass computes in; weights and optimizer stay in fp32."""
    compile: bool = False
    """Compile the model by `torch.compile`."""
    exchange: Exchange | None = None
    """Adds up what is small, of workers that compute on CPUs."""

    def __post_init__(self) -> None:
        check_precision(self.precision, self.device)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Bring a model to the device and spread it over the workers."""
        model = model.to(self.device)
        if self.world_size > 1:
            model = self._sharded(model) if self.strategy == "fsdp" else self._replicated(model)
        return torch.compile(model) if self.compile else model  # type: ignore[return-value]

    def _replicated(self, model: nn.Module) -> nn.Module:
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model
        if self.exchange is not None and is_small(model):
            return Replica(model, self.exchange)
        # Sent at every step: not for the mean and deviation of the inputs, which never change.
        moves = any(hasattr(module, "running_mean") for module in model.modules())
        replica = nn.parallel.DistributedDataParallel(
            model, gradient_as_bucket_view=True, forward_sync_buffers=moves
        )
        _KEPT.append(dist.group.WORLD)
        return replica

    def _sharded(self, model: nn.Module) -> nn.Module:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        dtype = _DTYPES.get(self.precision)
        reduce = None if dtype is None else torch.float32
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=reduce)
        for layer in _layers(model):
            fully_shard(layer, mp_policy=policy)
        fully_shard(model, mp_policy=policy)
        return model

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Inside, the forward pass computes in the precision asked for."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _DTYPES[self.precision])

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps fp16 gradients in range; does nothing in other precisions."""
        enabled = self.precision == "fp16"
        return torch.amp.GradScaler(self.device.type, enabled=enabled)

    @contextlib.contextmanager
    def unsynchronised(self, model: nn.Module) -> Iterator[None]:
        """Inside, backward passes add to this worker's gradients without telling the others."""
        inner: Any = _uncompiled(model)
        if isinstance(inner, _REPLICAS):
            with inner.no_sync():
                yield
        elif hasattr(inner, "set_requires_gradient_sync"):
            inner.set_requires_gradient_sync(False)
            try:
                yield
            finally:
                inner.set_requires_gradient_sync(True)
        else:
            yield

    def weights(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The whole model's weights by the names of the bare model. All workers call it."""
        if self._is_sharded(model):
            from torch.distributed.checkpoint.state_dict import get_model_state_dict

            state: Any = get_model_state_dict(_uncompiled(model), options=_whole())
            return dict(state)
        return dict(bare(model).state_dict())

    def load_weights(self, model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """Undo `weights`. All workers call it.

        Raises:
            RuntimeError: names or shapes do not fit.
        """
        if self._is_sharded(model):
            from torch.distributed.checkpoint.state_dict import set_model_state_dict

            set_model_state_dict(_uncompiled(model), dict(weights), options=_whole())
        else:
            bare(model).load_state_dict(weights)

    def optimizer_state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """The whole optimizer's state, see `momenta`. All workers call it."""
        if self._is_sharded(model):
            from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

            state: Any = get_optimizer_state_dict(_uncompiled(model), optimizer, options=_whole())
            return {"kind": type(optimizer).__name__, **state}
        return momenta(bare(model), optimizer)

    def load_optimizer(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
    ) -> None:
        """Undo `optimizer_state`. All workers call it.

        Raises:
            ValueError: it is the state of another optimizer.
        """
        if self._is_sharded(model):
            from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict

            check_kind(optimizer, state)
            kept = {name: state[name] for name in ("state", "param_groups")}
            set_optimizer_state_dict(_uncompiled(model), optimizer, kept, options=_whole())
        else:
            load_momenta(bare(model), optimizer, state)

    def go_on(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, former: Mapping[str, Any]
    ) -> None:
        """Let a new optimizer go on where a former was, as far as they are of one kind."""
        state = begin_with_momenta(momenta(bare(model), optimizer), former)
        if state is not None:
            self.load_optimizer(model, optimizer, state)

    def sum(self, values: list[float]) -> list[float]:
        """Each number added up over all workers, in double precision. All workers call it."""
        if self.world_size == 1:
            return values
        kind = torch.device("cpu") if dist.get_backend() == "gloo" else self.device
        tensor = torch.tensor(values, dtype=torch.float64, device=kind)
        if self.exchange is None:
            dist.all_reduce(tensor)
        else:
            self.exchange.add(tensor)
        return list(tensor.tolist())

    def _is_sharded(self, model: nn.Module) -> bool:
        return self.strategy == "fsdp" and self.world_size > 1


def bare(model: nn.Module) -> nn.Module:
    """The model inside its wrappers."""
    inner: Any = _uncompiled(model)
    return inner.module if isinstance(inner, _REPLICAS) else inner


def are_finite(model: nn.Module) -> bool:
    """Whether all weights of a model are numbers; of a sharded one, this worker's."""
    for weight in model.parameters():
        own: Any = getattr(weight, "to_local", weight.detach)()
        if not torch.isfinite(own).all():
            return False
    return True


def _uncompiled(model: nn.Module) -> nn.Module:
    return getattr(model, "_orig_mod", model)


def _whole() -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, cpu_offload=True)


def _layers(model: nn.Module) -> list[nn.Module]:
    """The layers worth sharding by themselves: the children of the longest list of layers."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
