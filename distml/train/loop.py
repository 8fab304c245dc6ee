"""Loop: a training loop of the user's own, over data, workers and checkpoints that distml brings.

One decision: the loop is a plain function whose first argument is a `Train`. It takes its batches
and epochs from there, and so it is resumed, spread and stopped without a line of its own; all else
(network, loss, optimizer, what is measured) is the user's torch code, and stays as it is.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

from distml import session
from distml.data import Split
from distml.errors import UserError
from distml.job import Result, RunContext
from distml.runs.paths import RunPaths
from distml.train.checkpoint import Checkpoints
from distml.train.inputs import Inputs
from distml.train.loop_data import LoopData, LoopTask, Source, read_loop_data
from distml.train.loop_outcome import Outcome
from distml.train.own_loop import Call, call, check_call, name_of_loop
from distml.train.parallel import Precision, Strategy
from distml.train.recovery import carry_out
from distml.train.setup import Setup, Workers

__all__ = ["Loop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """Train by a function of your own: `function(train, **params)`, once on each worker.

    What it may call is in `distml.Train`: `epochs`, `batches`, `prepare`, `resume`, `report`. The
    step is yours. `batch.mean(losses)` is what makes several workers compute what one would, and
    `report` takes the mean over the workers of each number it is given.

    Before each batch of `train`, torch's generator is set by seed, step and worker, so that dropout
    and the like draw after a resume what they would have drawn. `random` and `numpy.random` are
    left as they are; draw from `numpy.random.default_rng([train.seed, train.position.step])` where
    a resumed training shall go on alike. Sums of your own over an epoch begin anew after a resume
    in its middle, unless they are among what `resume` is given.

    With several workers, `ray.train.get_context()` and the rest of Ray Train's functions may be
    called. Where `precision` is not fp32, compute the forward pass within
    `train.parallel.autocast()`, and with fp16 scale the loss by `train.parallel.scaler()`.

    Raises:
        UserError: an argument makes no sense, or the function cannot be called with the params.
    """

    function: Callable[..., Any] = field(kw_only=False)
    """The loop; what it returns is not looked at."""
    data: Source | Mapping[str, Source]
    """The rows: a dataset, or what `ShardedDataset.open` takes; or one for each part, with one
    named `train` among them."""
    label: str | None = None
    """The column that becomes `y`: int64 codes of classes, or float32 numbers of shape (n, 1)."""
    task: LoopTask | None = None
    """Whether the label's values are classes or numbers. `None`: told by its type, unless that is
    whole numbers."""
    split: Split | None = None
    """Parts beside `train`, by name, that one dataset is divided into."""
    features: Sequence[str] | None = None
    """Columns to learn from. `None`: all but the label."""
    inputs: Inputs = field(default_factory=Inputs)
    """How columns become the fields of a batch."""
    memory_bytes: int | None = None
    """What rows may take in memory; if all parts take more, they are streamed, all but the label,
    and kept decoded on the node's disk meanwhile. `None`: they are read whole."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What the function takes beside the `Train`."""
    metric: str = "val_loss"
    """Which reported number tells the best checkpoint."""
    mode: str = "min"
    """Whether less of it is better, `min`, or more, `max`."""
    num_workers: int | tuple[int, int] = 0
    """0 or 1: in the driver's process, 1 where a GPU is if it asks for one and none is there. More:
    by Ray Train. A pair: as many as there is room for."""
    cpus_per_worker: int | None = None
    """CPUs, and threads, of each. `None`: one; in the driver's process all there are. Where a step
    is little work, 1 is fastest."""
    gpus_per_worker: float | None = None
    """`None`: none for several workers, one in the driver's process if there is one."""
    precision: Precision = "fp32"
    """What `train.parallel.autocast()` computes in: `fp32`, `bf16` or `fp16`."""
    strategy: Strategy = "ddp"
    """What `train.prepare` makes: each worker has the whole network, or, with `fsdp`, a part of
    each layer."""
    compile: bool = False
    """Whether `train.prepare` compiles the network."""
    checkpoint_every_s: float = 60.0
    """Seconds between checkpoints in the middle of an epoch; each report makes one, too."""
    num_to_keep: int = 2
    """How many of the last checkpoints stay, beside the best."""
    max_failures: int = 3
    """How often lost workers are replaced. An error of the loop itself ends the run."""

    def __post_init__(self) -> None:
        check_call(self.function, self.params)
        self._check_data()
        for name, choices in (
            ("mode", ("min", "max")),
            ("precision", get_args(Precision)),
            ("strategy", get_args(Strategy)),
            ("task", (None, *get_args(LoopTask))),
        ):
            if getattr(self, name) not in choices:
                said = ", ".join(map(repr, choices))
                raise UserError(f"Loop: {name}={getattr(self, name)!r}; give one of {said}")
        for name, least in (("num_to_keep", 1), ("max_failures", 0), ("checkpoint_every_s", 0)):
            if getattr(self, name) < least:
                raise UserError(f"Loop: {name}={getattr(self, name)} must be at least {least}")
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise UserError(f"Loop: memory_bytes={self.memory_bytes} must be at least 1, or None")
        self._workers()

    def _check_data(self) -> None:
        if isinstance(self.data, Mapping):
            if "train" not in self.data:
                raise UserError(
                    f"Loop: data has {', '.join(map(repr, self.data))}; name one of them 'train'"
                )
            if self.split is not None:
                raise UserError("Loop: data has its parts already; leave split out")
        if isinstance(self.features, str):
            raise UserError(f"features={self.features!r}: give a list, [{self.features!r}]")
        if self.features is not None and self.label in self.features:
            raise UserError(f"features: {self.label!r} is the label; leave it out")

    def run(self, context: RunContext) -> Result:
        """Do the work in a run, or go on with it from its last checkpoint.

        Raises:
            UserError: the data or an argument is wrong.
            LoopError: the function raised.
            WorkersLostError: more workers were lost than `max_failures`.
            StorageError: the run's storage is full or refuses.
            KeyboardInterrupt: it was stopped; a checkpoint has been left.
        """
        seconds: dict[str, float] = {}
        with _phase(context, seconds, "read"):
            data = read_loop_data(
                self.data,
                label=self.label,
                task=self.task,
                features=self.features,
                split=self.split,
                inputs=self.inputs,
                memory_bytes=self.memory_bytes,
            )
        setup = self._setup(context)
        if setup.workers.need_train and session.is_in_process():
            message = f"num_workers={self.num_workers}: debug trains the same batches in one worker"
            context.emit("log", message=message)
        with _phase(context, seconds, "train"):
            course, counters = carry_out(call, self._call(data), setup, data.parts)
            context.emit("training_done")
        assert setup.checkpoints is not None
        outcome = Outcome(
            name=name_of_loop(self.function),
            course=course,
            data=data,
            label=self.label,
            checkpoints=setup.checkpoints,
            counters=counters,
            precision=self.precision,
            metric=self.metric,
            mode=self.mode,
        )
        with _phase(context, seconds, "save"):
            artifacts = outcome.write(context, seconds["train"])
        remark = outcome.remark()
        if remark is not None:
            context.emit("log", message=remark)
        return outcome.result(artifacts, self._details(seconds), seconds["train"])

    def _call(self, data: LoopData) -> Call:
        return Call(
            function=self.function,
            params=self.params,
            shape=data.shape,
            classes=data.classes,
            scales=data.scales,
        )

    def _details(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        split = {} if self.split is None else {"split": self.split.describe()}
        return {**split, "seconds": seconds}

    def _setup(self, context: RunContext) -> Setup:
        place = RunPaths(context.run_uri).checkpoints
        return Setup(
            workers=self._workers(),
            seed=context.seed,
            precision=self.precision,
            strategy=self.strategy,
            compile=self.compile,
            checkpoints=Checkpoints(place, keep=self.num_to_keep),
            checkpoint_every_s=self.checkpoint_every_s,
            metric=self.metric,
            mode=self.mode,
            max_failures=self.max_failures,
        )

    def _workers(self) -> Workers:
        return Workers(
            num_workers=self.num_workers,
            cpus_per_worker=self.cpus_per_worker,
            gpus_per_worker=self.gpus_per_worker,
        )


@contextmanager
def _phase(context: RunContext, seconds: dict[str, float], name: str) -> Iterator[None]:
    """Say what begins, and take its time."""
    context.emit("phase", name=name)
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started
