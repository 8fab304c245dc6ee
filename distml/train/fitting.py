"""The loop of the estimators: a function of a `Train`, like any user's loop.

The one decision: all that a fit of a network depends on is one plain value, `Training`, so the same
function runs in this process, in the unit of an ensemble and on the workers of Ray Train, and is
carried on after whatever ends it. The step reads as the method is described: forward, loss over the
whole global batch, backward, clip, step, schedule.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from distml.errors import UserError
from distml.train.batch import Batch
from distml.train.context import Train
from distml.train.optimize import (
    freeze_weights,
    make_optimizer,
    make_scheduler,
    set_to_train,
    weight_groups,
)
from distml.train.parallel import are_finite, bare
from distml.train.state import to_cpu
from distml.train.telling import Telling, device_name
from distml.train.training import DivergedError, Fitted, Training

__all__ = ["fit_network"]

_LOOK_EVERY = 16
"""Steps between two looks at the loss: a look waits for the GPU."""


def fit_network(train: Train, training: Training) -> Fitted:
    """Train a network from its beginning, or from the last checkpoint, to its end.

    Args:
        train: batches, workers and checkpoints.
        training: what to do.

    Returns:
        The weights of the best epoch where there are validation rows, else of the last.

    Raises:
        UserError: something does not suit the network.
        DivergedError: the loss is not finite any more.
        StoppedError: it was asked to stop; a checkpoint has been left.
    """
    loop = _Loop(train, training)
    for epoch in train.epochs(training.begin.epoch + training.epochs):
        if loop.has_converged():
            break
        loop.run_epoch(epoch)
    train.save(wait=True)
    loop.telling.done()
    return loop.fitted()


@dataclass(kw_only=True, slots=True)
class _Course:
    """What a checkpoint has to hold beside network and optimizer."""

    loss: float = 0.0
    """Sum over the rows of this epoch so far, of all workers."""
    rows: float = 0.0
    seconds: float = 0.0
    """Spent on this epoch so far."""
    lr_scale: float = 1.0
    best_weights: dict[str, torch.Tensor] | None = None
    best_epoch: int | None = None
    snapshots: list[dict[str, torch.Tensor]] = field(default_factory=list)


class _Loop:
    """Network, optimizer and schedule of one worker, and what is done with them."""

    def __init__(self, train: Train, training: Training) -> None:
        self._train, self._training = train, training
        self._course = _Course()
        self._recent: list[tuple[int, torch.Tensor, int]] = []
        torch.manual_seed(training.seed)
        model = training.build()
        if training.weights is not None:
            model.load_state_dict(dict(training.weights), strict=False)
        freeze_weights(model, training.freeze)
        self._model = train.prepare(model)
        self._optimizer = self._begin_optimizer()
        steps = training.epochs * train.num_batches("train", training.batch_size)
        self._scheduler = make_scheduler(
            training.scheduler,
            self._optimizer,
            total_steps=steps,
            warmup=training.warmup,
            cycle_ends=training.cycle_ends,
        )
        self._scaler = train.parallel.scaler()
        resumed = train.resume(
            model=self._model,
            optimizer=self._optimizer,
            scheduler=self._scheduler,
            scaler=self._scaler,
            course=self,
        )
        if not resumed:
            train.position = replace(training.begin)
        self._lower_rate()
        self.telling = Telling(train)
        self.telling.start(
            epochs=training.begin.epoch + training.epochs,
            steps=training.begin.step + steps,
            batch_size=training.batch_size,
            may_stop=training.patience is not None,
        )

    def state_dict(self) -> dict[str, Any]:
        """The course so far. A network that has diverged leaves no checkpoint: this raises."""
        self._look(also_weights=True)
        return {name: getattr(self._course, name) for name in _Course.__slots__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._course = _Course(**state)

    def run_epoch(self, epoch: int) -> None:
        """Train on every batch that is left of the epoch, validate, report."""
        train, course = self._train, self._course
        begun = time.perf_counter() - course.seconds
        set_to_train(self._model)
        for batch in train.batches("train", batch_size=self._training.batch_size):
            self._step(batch)
            if train.position.step % _LOOK_EVERY == 0:
                course.seconds = time.perf_counter() - begun
                self._look(also_weights=False)
            self.telling.step(course.loss, course.rows, course.seconds)
        self._look(also_weights=True)
        seconds = time.perf_counter() - begun
        metrics = {
            "train_loss": course.loss / max(course.rows, 1.0),
            "lr": float(self._optimizer.param_groups[0]["lr"]),
            "rows_per_s": course.rows / max(seconds, 1e-9),
            "seconds": seconds,
        }
        if "validation" in train.parts:
            metrics |= self._validate()
        if train.best.take(metrics, train.position.step):
            course.best_weights, course.best_epoch = self._weights(), epoch
        if self._training.ends_cycle(epoch):
            course.snapshots.append(self._weights())
        course.loss = course.rows = course.seconds = 0.0
        train.report({"epoch": float(epoch), **metrics})

    def has_converged(self) -> bool:
        """Whether no epoch of the last few was better than one before."""
        patience, best = self._training.patience, self._course.best_epoch
        if patience is None or best is None:
            return False
        return self._train.position.epoch - 1 - best >= patience

    def fitted(self) -> Fitted:
        """What came of it."""
        train, course = self._train, self._course
        cuda = train.device.type == "cuda"
        return Fitted(
            # Of a sharded model only the first worker has them.
            weights=self._weights() if course.best_weights is None else course.best_weights,
            history=train.history,
            best_epoch=course.best_epoch,
            snapshots=course.snapshots,
            optimizer_state=to_cpu(train.parallel.optimizer_state(self._model, self._optimizer)),
            num_steps=train.position.step,
            device=device_name(train.device),
            num_workers=train.world_size if train.world_size > 1 else 0,
            peak_bytes=self.telling.peak_bytes,
            peak_gpu_bytes=torch.cuda.max_memory_allocated() if cuda else 0,
        )

    def _begin_optimizer(self) -> torch.optim.Optimizer:
        training = self._training
        groups = weight_groups(bare(self._model), training.lr, training.lr_factors)
        optimizer = make_optimizer(
            training.optimizer, groups, lr=training.lr, weight_decay=training.weight_decay
        )
        if training.optimizer_state is not None:
            self._train.parallel.go_on(self._model, optimizer, training.optimizer_state)
        return optimizer

    def _step(self, batch: Batch) -> None:
        training, parallel = self._training, self._train.parallel
        *parts, last = batch.split(training.accumulate)
        for part in parts:
            with parallel.unsynchronised(self._model):
                self._backward(part)
        self._backward(last)
        if training.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._model.parameters(), training.clip_norm)
        if self._scaler.is_enabled():
            self._scaler.step(self._optimizer)
            self._scaler.update()
        else:
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._scheduler.step()

    def _backward(self, batch: Batch) -> None:
        with self._train.parallel.autocast():
            # A compiled network is called faster with a dict than with a class of one's own.
            outputs = self._called(dict(batch))
        total = self._training.objective.row_losses(outputs.float(), batch).sum()
        loss: Any = self._scaler.scale(total * batch.scale)
        loss.backward()
        if batch.num_rows:
            self._recent.append((self._train.position.step, total.detach(), batch.num_rows))

    def _called(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        try:
            found: torch.Tensor = self._model(batch)
            return found
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                "module: it normalises by the spread of a batch, and the last one has one row for "
                "a worker; choose another batch_size, or LayerNorm"
            ) from error

    def _look(self, *, also_weights: bool) -> None:
        """Add the losses since the last look to the epoch's, over all workers.

        Args:
            also_weights: see to it that the weights are finite as well: those that the last step
                left have had no loss yet.

        Raises:
            DivergedError: something is not finite.
        """
        losses = (
            torch.stack([loss for _, loss, _ in self._recent]).double() if self._recent else None
        )
        rows = sum(rows for *_, rows in self._recent)
        own = 0.0 if losses is None else float(losses.sum())
        if also_weights and not are_finite(self._model):
            own = math.nan
        total, count = self._train.parallel.sum([own, float(rows)])
        if not math.isfinite(total):
            raise DivergedError(self._last_words())
        self._course.loss += total
        self._course.rows += count
        self._recent.clear()

    def _last_words(self) -> str:
        bad = [step for step, loss, _ in self._recent if not math.isfinite(float(loss))]
        step = bad[0] if bad else self._train.position.step
        self._train.close()
        place = self._train.checkpoints
        kept = place.steps() if place is not None else []
        where = "no checkpoint was kept"
        if place and kept:
            where = f"the last good checkpoint is {place.path(kept[-1])}"
        lr = self._optimizer.param_groups[0]["lr"]
        return (
            f"the loss is not finite at step {step} (learning rate {lr:.3g}); {where}; lower lr, "
            "set clip_norm, or use on_nan='rollback'"
        )

    def _validate(self) -> dict[str, float]:
        train, objective = self._train, self._training.objective
        # Its weights are in parts where it is sharded, and only the wrapper puts them together.
        model = self._model if train.parallel.strategy == "fsdp" else bare(self._model)
        model.eval()
        sums = torch.zeros(5, dtype=torch.float64, device=train.device)
        with torch.no_grad(), train.parallel.autocast():
            for batch in train.batches("validation", batch_size=self._training.batch_size):
                outputs = model(batch)
                if batch.num_rows:
                    sums += objective.sums(outputs.float(), batch)
        set_to_train(model)
        added = train.parallel.sum(sums.tolist())
        return objective.metrics(added, "val", self._training.num_outputs)

    def _weights(self) -> dict[str, torch.Tensor]:
        return dict(to_cpu(self._train.parallel.weights(self._model)))

    def _lower_rate(self) -> None:
        """After a rollback, go on with a lower rate than the checkpoint's."""
        # A checkpoint after a rollback has the lower rate, whoever resumes from it.
        scale = min(self._training.lr_scale, self._course.lr_scale)
        factor = scale / self._course.lr_scale
        if factor != 1.0:
            for group in self._optimizer.param_groups:
                group["lr"] *= factor
                if "initial_lr" in group:
                    group["initial_lr"] *= factor
            self._scheduler.base_lrs = [rate * factor for rate in self._scheduler.base_lrs]
        self._course.lr_scale = scale
