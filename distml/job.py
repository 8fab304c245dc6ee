"""What a job is, what a task is given and what it gives back: pure data.

A job says *what*; *where* it runs is the command line's business and does not appear here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from distml.errors import UserError

__all__ = ["Former", "Job", "Resources", "Result", "RunContext", "Task"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a run may use. `None` means all there is.

    Raises:
        UserError: a negative or zero amount.
    """

    num_cpus: int | None = None
    """Logical CPUs over all nodes."""
    num_gpus: int | None = None
    """GPUs over all nodes."""
    memory_bytes: int | None = None
    """Memory for members' fits over all nodes."""

    def __post_init__(self) -> None:
        for name, least in (("num_cpus", 1), ("num_gpus", 0), ("memory_bytes", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"resources: {name}={value} must be at least {least}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Former:
    """The model that an earlier run of the job left, to be held against the new one."""

    run_id: str
    """Name of that run."""
    bundle: str
    """Folder of its model."""
    warm: bool
    """Whether the new model starts from it instead of from nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """What a task may know of the run it is part of."""

    run_id: str
    """Name of the run, unique in its storage."""
    run_uri: str
    """Directory of the run, as a `pyarrow.fs` URI or a local path."""
    seed: int
    """The job's seed. Everything random in the task is spawned from it."""
    resources: Resources
    """What the run may use."""
    emit: Callable[..., None]
    """`emit(kind, **fields)` appends an event to the run's `events.jsonl`."""
    former: Former | None = None
    """What the new model is held against, where a run is a retraining."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a task gives back. All of it is JSON."""

    metrics: Mapping[str, Mapping[str, float]]
    """Test set → scorer name → score of the final model."""
    table: Sequence[Mapping[str, Any]] = ()
    """The result table, a row a model: `model`, `kind`, scores by test set, times in seconds."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Name → path relative to the run's directory."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else belongs in the record: data fingerprint, split, features, times."""


class Task(Protocol):
    """The work of a job: a value that can be printed, and is executed by `run`."""

    def run(self, context: RunContext) -> Result:
        """Do the work.

        Raises:
            UserError: the job asks for something that cannot be done.
            DistmlError: the work failed.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One thing to do, made by the `job()` function of a job file.

    Raises:
        UserError: the task has no `run` method.
    """

    task: Task
    """What to do."""
    seed: int = 0
    """Source of everything random in the job."""
    resources: Resources = field(default_factory=Resources)
    """What the run may use, wherever it runs."""
    report: bool = True
    """Whether the run ends with `report.html`."""

    def __post_init__(self) -> None:
        if not callable(getattr(self.task, "run", None)):
            raise UserError(
                f"Job: task={self.task!r} has no run(context) method; "
                "give a task such as distml.Fit(...)"
            )
