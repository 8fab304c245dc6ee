"""What a user's loop leaves behind: scores of its best and last report, weights, history.

The one decision: a loop has no model that could be served, since only its own code knows how to
call its network. It leaves the weights under their names in a plain safetensors file, and the
checkpoints, which hold all else that it kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
import torch

from distml.job import Result, RunContext
from distml.runs.paths import RunPaths
from distml.runs.storage import join_uri, open_storage
from distml.runs.strict_json import dumps
from distml.train.checkpoint import Checkpoints
from distml.train.loop_data import LoopData
from distml.train.own_loop import Course
from distml.train.position import Best
from distml.train.recovery import Counters

__all__ = ["Outcome"]

_FORMAT = 1
"""Of `evaluation.json`; see `distml.fit.evaluation`."""
_MOST_LAYERS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A loop that is over."""

    name: str
    """What to call it."""
    course: Course
    """How it went."""
    data: LoopData
    """What it was given."""
    label: str | None
    """Name of the label."""
    checkpoints: Checkpoints
    """What it kept."""
    counters: Counters
    """What was mended on the way."""
    precision: str
    """What its forward pass may have computed in."""
    metric: str
    """Which metric tells the best report."""
    mode: str
    """`min` or `max`."""

    def write(self, context: RunContext, seconds: float) -> dict[str, str]:
        """Write evaluation and weights into the run's directory.

        Args:
            context: the run.
            seconds: what the training took, since it was last begun.

        Returns:
            Name of each artifact → its path there.

        Raises:
            StorageError: the storage refuses or is full.
        """
        run, paths = open_storage(context.run_uri), RunPaths("")
        run.write(paths.evaluation, dumps(self._evaluation(seconds)).encode())
        artifacts = {"evaluation": paths.evaluation}
        steps = self.checkpoints.steps()
        if not steps:
            return artifacts
        best = self.course.best_step
        # Nothing but the last is kept where no report has the metric.
        step = best if best is not None and best in steps else steps[-1]
        state, _ = self.checkpoints.read(step)
        weights = _weights(state)
        if weights:
            run.write(paths.weights, safetensors.torch.save(weights))
            artifacts["weights"] = paths.weights
        artifacts["checkpoint"] = join_uri(paths.checkpoints, Checkpoints.file_name(step))
        return artifacts

    def result(
        self, artifacts: Mapping[str, str], details: Mapping[str, Any], seconds: float
    ) -> Result:
        """What the run's record says of it.

        Args:
            artifacts: what `write` gave.
            details: what else to say.
            seconds: what the training took, since it was last begun.
        """
        metrics = self._metrics()
        row = {"model": self.name, "kind": "loop", "fit_s": seconds, **metrics}
        trained = {"epochs": self.course.epochs, "steps": self.course.steps}
        return Result(
            metrics=metrics,
            table=[row] if metrics else [],
            artifacts=artifacts,
            details={
                "data": self.data.source,
                "rows": self._num_rows,
                "features": list(self.data.columns),
                **trained,
                "num_workers": self.course.num_workers,
                "peak_bytes": self.course.peak_bytes or None,
                "counters": asdict(self.counters),
                **details,
            },
        )

    def remark(self) -> str | None:
        """What a user should know of the metric that was watched."""
        names = list(dict.fromkeys(name for row in self.course.history for name in row))
        if not names:
            return f"{self.name}() reported nothing: the run has no scores; call train.report()"
        if self._best_index() is None:
            return (
                f"no report has a {self.metric!r}, so there is no best one; it reports "
                f"{', '.join(names)}: choose metric= of them"
            )
        return None

    def _evaluation(self, seconds: float) -> dict[str, Any]:
        classes = self.data.classes
        return {
            "format": _FORMAT,
            "task": self.data.task,
            "label": self.label,
            "classes": None if classes is None else classes.tolist(),
            "model": self.name,
            "sets": {},
            "networks": [self._network(seconds)],
        }

    def _network(self, seconds: float) -> dict[str, Any]:
        """The loop as an entry of `networks`; see `distml.fit.networks`."""
        course, best, metrics = self.course, self._best_index(), self._metrics()
        counters = {name: number for name, number in asdict(self.counters).items() if number}
        return {
            "name": self.name,
            "kind": "Loop",
            "module": course.module,
            "parameters": sum(layer["parameters"] for layer in course.layers),
            "epochs": course.epochs,
            "best_epoch": None if best is None else best + 1,
            "steps": course.steps,
            "seconds": seconds,
            "best": metrics.get("best") or metrics.get("last") or {},
            "device": course.device,
            "precision": self.precision,
            "num_workers": course.num_workers,
            "peak_bytes": course.peak_bytes or None,
            "peak_gpu_bytes": course.peak_gpu_bytes or None,
            "counters": counters,
            "transfer": None,
            "history": _columns(course.history),
            "layers": course.layers[:_MOST_LAYERS],
        }

    def _metrics(self) -> dict[str, dict[str, float]]:
        """The best report, the watched metric first, and the last."""
        history, best = self.course.history, self._best_index()
        if not history:
            return {}
        told = {"last": _first(history[-1], self.metric)}
        return told if best is None else {"best": _first(history[best], self.metric), **told}

    def _best_index(self) -> int | None:
        best = Best(metric=self.metric, mode=self.mode)
        for number, metrics in enumerate(self.course.history):
            best.take(metrics, number)
        return best.step

    @property
    def _num_rows(self) -> dict[str, int]:
        return {name: part.num_rows for name, part in self.data.parts.items()}


def _first(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    """The metrics, the one of that name first."""
    return {name: metrics[name], **metrics} if name in metrics else dict(metrics)


def _columns(history: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Metric → values over the reports, which are counted as epochs, from 1."""
    names = dict.fromkeys(name for report in history for name in report if name != "epoch")
    columns = {name: [report.get(name) for report in history] for name in names}
    return {"epoch": [float(number) for number in range(1, len(history) + 1)], **columns}


def _weights(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of all networks in a state; by their bare names if there is one network."""
    networks = {name: kept for name, kept in state.items() if _is_network(kept)}
    if len(networks) == 1:
        return {key: tensor.clone() for key, tensor in next(iter(networks.values())).items()}
    return {
        f"{name}.{key}": tensor.clone()
        for name, kept in networks.items()
        for key, tensor in kept.items()
    }


def _is_network(kept: Any) -> bool:
    return (
        isinstance(kept, Mapping)
        and bool(kept)
        and all(isinstance(value, torch.Tensor) for value in kept.values())
    )
