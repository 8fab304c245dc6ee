"""How far the training of a network is: a pure fold of its events.

The one decision: what a loop of the user's own reports is enough. Only epochs are known of such a
training, so there is no estimate of the rest; all else is shown as far as it is told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["Training", "advance_training", "figures", "whereabouts"]

_SHOWN = 3
"""Scores of the last epoch that are shown."""
_GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Where a training stands after some of its events."""

    epochs: int | None = None
    """Epochs there will be at most; `None` where nobody said."""
    steps: int | None = None
    """Steps there will be at most."""
    may_stop: bool = False
    """Whether it may end before."""
    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Steps done."""
    loss: float | None = None
    """Mean training loss of the epoch so far, or of the last."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """What the last epoch was validated with."""
    rows_per_s: float | None = None
    """Rows a second, of all workers together."""
    gpu_bytes: int | None = None
    """GPU memory that worker 0 holds."""
    peak_bytes: tuple[int, ...] = ()
    """Memory that each worker held at its peak, once it is over."""
    num_workers: int = 0
    """Workers; 0 for this process."""
    begun_at: float | None = None
    """When it began, or went on, in Unix seconds."""
    begun_step: int = 0
    """Steps that were done then."""
    seconds: float | None = None
    """What it took, once it is over."""

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self.seconds is not None

    def eta_s(self, now: float) -> float | None:
        """Seconds until the last step, from how long the steps so far took; `None`: not known."""
        done = self.step - self.begun_step
        if self.done or self.steps is None or self.begun_at is None or done < 1:
            return None
        return (now - self.begun_at) / done * max(0, self.steps - self.step)


def advance_training(training: Training | None, event: Mapping[str, Any]) -> Training | None:
    """Take one more event into account.

    Args:
        training: where it stood; `None` if none has begun.
        event: an event with `t` and `kind`; other kinds leave all as it is.

    Returns:
        Where it stands now.

    Raises:
        KeyError: a known kind lacks a field.
    """
    step = _STEPS.get(event["kind"])
    if step is None:
        return training
    return step(training or Training(begun_at=float(event["t"])), event)


def _started(training: Training, event: Mapping[str, Any]) -> Training:
    """A training that begins, or goes on after something was mended: its figures stay."""
    before = Training() if training.done or not event["step"] else training
    return replace(
        before,
        epochs=event["epochs"],
        steps=event["steps"],
        may_stop=bool(event.get("may_stop")),
        epoch=event.get("epoch", 0),
        step=event["step"],
        begun_step=event["step"],
        begun_at=float(event["t"]),
        num_workers=event.get("num_workers", 0),
    )


def _stepped(training: Training, event: Mapping[str, Any]) -> Training:
    return replace(
        training,
        step=event["step"],
        # Nothing is known yet where an epoch has just begun.
        loss=_else(event.get("loss"), training.loss),
        rows_per_s=_else(event.get("rows_per_s"), training.rows_per_s),
        gpu_bytes=_else(event.get("gpu_bytes"), training.gpu_bytes),
    )


def _epoch(training: Training, event: Mapping[str, Any]) -> Training:
    metrics = event["metrics"]
    number = metrics.get("epoch")
    scores = {name: value for name, value in metrics.items() if name.startswith("val_")}
    return replace(
        training,
        epoch=training.epoch + 1 if number is None else int(number) + 1,
        step=event.get("step", training.step),
        loss=metrics.get("train_loss", metrics.get("loss", training.loss)),
        scores=scores or training.scores,
        rows_per_s=metrics.get("rows_per_s", training.rows_per_s),
    )


def _workers(training: Training, event: Mapping[str, Any]) -> Training:
    return replace(training, num_workers=event["num_workers"])


def _done(training: Training, event: Mapping[str, Any]) -> Training:
    begun_at = training.begun_at
    seconds = 0.0 if begun_at is None else float(event["t"]) - begun_at
    return replace(training, seconds=seconds, peak_bytes=tuple(event.get("peak_bytes") or ()))


_STEPS: dict[str, Callable[[Training, Mapping[str, Any]], Training]] = {
    "training_started": _started,
    "workers": _workers,
    "step": _stepped,
    "epoch": _epoch,
    "training_done": _done,
}
"""Kind of event → what it changes."""


def _else(value: Any, former: Any) -> Any:
    return former if value is None else value


def whereabouts(training: Training) -> str:
    """Where a training stands, such as `epoch 3 of 20, step 1,234 of 8,000`."""
    if training.done:
        return f"trained {training.epoch} epoch{'' if training.epoch == 1 else 's'}"
    # The one that is under way.
    most = training.epochs
    epoch = training.epoch + 1 if most is None else min(training.epoch + 1, most)
    said = [f"epoch {epoch}{'' if most is None else f' of {most}'}"]
    if training.step or training.steps is not None:
        of = "" if training.steps is None else f" of {training.steps:,}"
        said.append(f"step {training.step:,}{of}")
    return ", ".join(said)


def figures(training: Training) -> str:
    """What a training has reached and how fast it is; empty before its first step."""
    said = [] if training.loss is None else [f"loss {training.loss:.4g}"]
    said += [f"{name} {value:.4g}" for name, value in [*training.scores.items()][:_SHOWN]]
    if training.rows_per_s is not None:
        said.append(f"{training.rows_per_s:,.0f} rows/s")
    if training.num_workers > 1:
        said.append(f"{training.num_workers} workers")
    if training.peak_bytes:
        each = " each" if len(training.peak_bytes) > 1 else ""
        said.append(f"at most {max(training.peak_bytes) / _GIB:.2g} GiB{each}")
    if training.gpu_bytes:
        said.append(f"GPU {training.gpu_bytes / _GIB:.1f} GiB")
    return ", ".join(said)
