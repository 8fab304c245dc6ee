"""What the three estimators share: parameters, the fit, the outputs, what is saved of them.

The one decision: a fitted network is its parameters and arrays (`weights_`, what the inputs have
learnt), so it is cloned, pickled, hashed and saved like any scikit-learn estimator; the torch
module is made of them when it is asked for. Ray is loaded for several workers only.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from distml.train.building import build_network, check_strategy, try_out
from distml.train.checkpoint import Checkpoints
from distml.train.fitting import fit_network
from distml.train.inputs import Inputs
from distml.train.keeping import place_of
from distml.train.objective import Objective
from distml.train.outputs import outputs_of
from distml.train.parallel import Precision, Strategy
from distml.train.position import Position
from distml.train.recovery import carry_out
from distml.train.rows import Rows
from distml.train.setup import Setup, Workers
from distml.train.snapshots import Snapshots
from distml.train.state import pack, unpack
from distml.train.training import Fitted, Training, rows_of_a_batch
from distml.train.training_data import TrainingData
from distml.train.transfer import check_same, match_weights, read_weights
from distml.train.wiring import describe

__all__ = ["Network"]

Array = npt.NDArray[Any]

_LIGHT_FLOPS = 1e8
"""Of the forward pass of a batch: less is done by one thread before another has begun."""


class Network(Snapshots, BaseEstimator):
    """Parameters of all networks; see `NeuralClassifier` for what each means."""

    def __init__(
        self,
        module: Any = None,
        *,
        epochs: int = 20,
        batch_size: int | str = "auto",
        optimizer: Any = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        scheduler: Any = None,
        warmup: float = 0.0,
        cycles: int = 1,
        average_cycles: bool = False,
        loss: Any = "auto",
        early_stopping: int | None = None,
        validation_fraction: float = 0.1,
        num_workers: int | tuple[int, int] = 0,
        cpus_per_worker: int | None = None,
        gpus_per_worker: float | None = None,
        precision: Precision = "fp32",
        strategy: Strategy = "ddp",
        accumulate: int = 1,
        clip_norm: float | None = None,
        compile: bool = False,  # noqa: A002 - torch's word
        warm_start: bool = False,
        init_from: Any = None,
        freeze: str | list[str] | None = None,
        lr_factors: Mapping[str, float] | None = None,
        class_weight: Any = None,
        standardize: bool = True,
        inputs: Any = None,
        on_nan: str = "stop",
        memory_bytes: int | None = None,
        checkpoint_every_s: float = 60.0,
        random_state: Any = None,
    ) -> None:
        self.module = module
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.scheduler = scheduler
        self.warmup = warmup
        self.cycles = cycles
        self.average_cycles = average_cycles
        self.loss = loss
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.num_workers = num_workers
        self.cpus_per_worker = cpus_per_worker
        self.gpus_per_worker = gpus_per_worker
        self.precision = precision
        self.strategy = strategy
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.compile = compile
        self.warm_start = warm_start
        self.init_from = init_from
        self.freeze = freeze
        self.lr_factors = lr_factors
        self.class_weight = class_weight
        self.standardize = standardize
        self.inputs = inputs
        self.on_nan = on_nan
        self.memory_bytes = memory_bytes
        self.checkpoint_every_s = checkpoint_every_s
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # A missing number is taken for the mean.
        tags.input_tags.allow_nan = self.standardize
        tags.non_deterministic = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        # The torch module is made again of the weights.
        state.pop("_made", None)
        return state

    @property
    def module_(self) -> nn.Module:
        """The fitted network as a torch module, on the CPU, in evaluation mode.

        Raises:
            NotFittedError: it is not fitted.
        """
        check_is_fitted(self, "weights_")
        return self._network(torch.device("cpu"))

    @property
    def architecture_(self) -> list[dict[str, Any]]:
        """Name, kind and number of parameters of each layer.

        Raises:
            NotFittedError: it is not fitted.
        """
        return describe(self.module_)

    def _new_inputs(self) -> Inputs:
        """Unfitted, as the parameters say."""
        return Inputs() if self.inputs is None else clone(self.inputs)

    def _train(
        self,
        data: TrainingData,
        objective: Objective,
        *,
        carry_on: bool = False,
        epochs: int | None = None,
    ) -> None:
        """Fit the network to rows whose targets are numbers already.

        Args:
            data: rows to train and to validate on, and their shape.
            objective: what it is trained for.
            carry_on: begin with the weights and the optimizer that are there.
            epochs: how many, if not `self.epochs`.

        Raises:
            UserError: a parameter makes no sense or does not suit the data.
            DivergedError: the loss is not finite any more.
        """
        build = partial(build_network, self._module(), data.shape, data.scales)
        self.shape_, self.scales_ = data.shape, data.scales
        weights, row_flops = self._first_weights(build, data, carry_on=carry_on)
        batch_size = rows_of_a_batch(self.batch_size, data.parts["train"].num_rows, self.accumulate)
        goes_on = self.warm_start or carry_on or epochs is not None
        epochs = self.epochs if epochs is None else epochs
        began = [self.weights_, self._former_end()] if carry_on else None
        # Without a seed each fit is another, and no checkpoint is one of its own.
        seeded = self.random_state is not None
        place = place_of(self, data, epochs=epochs, began=began) if seeded else None
        setup = self._setup(place, is_light=row_flops * batch_size < _LIGHT_FLOPS)
        training = Training(
            build=build,
            objective=objective,
            num_outputs=max(data.shape.num_outputs, 1),
            epochs=epochs,
            batch_size=batch_size,
            optimizer=self.optimizer,
            lr=self.lr,
            weight_decay=self.weight_decay,
            scheduler=self.scheduler,
            warmup=self.warmup,
            cycles=self.cycles,
            patience=self.early_stopping,
            accumulate=self.accumulate,
            clip_norm=self.clip_norm,
            freeze=self.freeze,
            lr_factors=self.lr_factors,
            weights=weights,
            rollback=self.on_nan == "rollback",
            seed=setup.seed,
            **(self._former_end() if carry_on else {}),
        )
        fitted, self.counters_ = carry_out(fit_network, training, setup, data.parts)
        # Bytes, because a saved model holds no tensors.
        self.optimizer_state_ = pack(fitted.optimizer_state) if goes_on else None
        self._take(fitted, carry_on=carry_on)

    def _take(self, fitted: Fitted, *, carry_on: bool) -> None:
        before = getattr(self, "history_", []) if carry_on else []
        self.history_ = [*before, *fitted.history]
        self.best_epoch_ = fitted.best_epoch
        self.weights_ = {name: tensor.numpy() for name, tensor in fitted.weights.items()}
        self.snapshot_weights_ = [
            {name: tensor.numpy() for name, tensor in weights.items()}
            for weights in fitted.snapshots
        ]
        self.n_iter_ = len(self.history_)
        self.n_steps_ = fitted.num_steps
        self.device_, self.num_workers_ = fitted.device, fitted.num_workers
        self.peak_bytes_, self.peak_gpu_bytes_ = fitted.peak_bytes, fitted.peak_gpu_bytes
        self._made: dict[str, Any] = {}

    def _former_end(self) -> dict[str, Any]:
        """What a further training goes on with, beside the weights."""
        content = getattr(self, "optimizer_state_", None)
        return {
            "optimizer_state": None if content is None else unpack(content)[0],
            "begin": Position(epoch=self.n_iter_, step=self.n_steps_),
        }

    def _setup(self, place: Checkpoints | None, *, is_light: bool) -> Setup:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return Setup(
            workers=Workers(
                num_workers=self.num_workers,
                cpus_per_worker=self.cpus_per_worker,
                gpus_per_worker=self.gpus_per_worker,
            ),
            seed=seed,
            precision=self.precision,
            strategy=self.strategy,
            compile=self.compile,
            is_light=is_light,
            checkpoints=place,
            checkpoint_every_s=self.checkpoint_every_s,
        )

    def _module(self) -> Any:
        from distml.train.modules import MLP

        return MLP() if self.module is None else self.module

    def _first_weights(
        self, build: Callable[[], nn.Module], data: TrainingData, *, carry_on: bool
    ) -> tuple[dict[str, torch.Tensor] | None, float]:
        """The weights to begin with, and the work of a row: the network is tried on two."""
        with torch.random.fork_rng(devices=[]):
            network: Any = build()
        check_strategy(network, self.strategy)
        # As it is, one that gives features need not give its input back.
        as_it_is = self.epochs == 0 and not data.shape.num_outputs
        call = network.encode if as_it_is else None
        open_threads = self.cpus_per_worker is None and self.num_workers in (0, 1)
        row_flops = try_out(network, data.sample, call, counts=open_threads)
        if carry_on and hasattr(self, "weights_"):
            former = {name: torch.from_numpy(value) for name, value in self.weights_.items()}
            check_same(former, network.state_dict())
            return former, row_flops
        if self.init_from is None:
            return None, row_flops
        weights, self.transfer_ = match_weights(read_weights(self.init_from), network.state_dict())
        return weights, row_flops

    def _outputs(
        self,
        blocks: Iterable[Rows],
        call: Callable[[Any, Mapping[str, torch.Tensor]], torch.Tensor] | None = None,
    ) -> Array:
        """What the network says of rows: float32 array of shape (num_rows, ...), by batches."""
        cuda = torch.cuda.is_available() and self.gpus_per_worker != 0
        device = torch.device("cuda" if cuda else "cpu")
        return outputs_of(self._network(device), blocks, device, call)

    def _network(self, device: torch.device) -> nn.Module:
        made: dict[str, Any] = self.__dict__.setdefault("_made", {})
        if str(device) not in made:
            with torch.random.fork_rng(devices=[]):
                network = build_network(self._module(), self.shape_, self.scales_)
            weights = {name: torch.from_numpy(value) for name, value in self.weights_.items()}
            network.load_state_dict(weights, assign=True)
            made[str(device)] = network.to(device).eval()
        return made[str(device)]
