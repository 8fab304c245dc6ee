"""What a job asks of a place, read from its plan: units in stages, the driver's own work, memory.

One decision: a plan is JSON that samples or an earlier run gave, and this is the only reader of it
among launchers; whoever lays a job out over machines works with these values.

Refuses a plan of before there were places other than this machine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from distml.errors import UserError
from distml.launch.fitting.simulate import Load

__all__ = ["Bound", "Span", "UnitKind", "Work"]

Bound = Literal["value", "low", "high"]

_TRAIN_START = (5.0, 2.5, 10.0)
"""Seconds until the workers of one training are there: Ray Train starts processes for each."""
_PROCESS_BYTES = 250 * 2**20
"""Memory of a worker that has the libraries loaded, where a plan does not tell."""


@dataclass(frozen=True, slots=True)
class Span:
    """A number that is expected, and the range it is expected in."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, told: Mapping[str, float] | None) -> "Span | None":
        """As a plan has it."""
        return None if told is None else cls(told["value"], told["low"], told["high"])

    def at(self, bound: Bound) -> float:
        """One of the three."""
        return float(getattr(self, bound))

    def plus(self, other: "Span") -> "Span":
        """The sum; ranges add up."""
        return Span(self.value + other.value, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> "Span":
        """A multiple."""
        return Span(self.value * factor, self.low * factor, self.high * factor)

    def as_json(self) -> dict[str, float]:
        """As a plan has it."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitKind:
    """Units that are alike, and what each of their workers needs."""

    name: str
    count: int
    """How many there are, over all stages."""
    seconds: Span | None
    """Of one, on as many workers as it has. `None`: not known."""
    memory: Span | None
    """Bytes that each worker needs, with its libraries. `None`: not known."""
    num_workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0

    def load(self, bound: Bound, count: int) -> Load:
        """Some of them, for the simulator."""
        return Load(
            name=self.name,
            seconds=0.0 if self.seconds is None else self.seconds.at(bound),
            count=count,
            num_workers=self.num_workers,
            cpus=self.cpus,
            gpus=self.gpus,
            memory_bytes=0.0 if self.memory is None else self.memory.at(bound),
        )

    def __str__(self) -> str:
        """Its name and what it wants, in words: `net wants 2 workers with 1 GPU each`."""
        wants = f"{self.gpus:g} GPU{'' if self.gpus <= 1 else 's'}"
        each = _counted(self.cpus, "CPU") if not self.gpus else wants
        if self.num_workers == 1:
            return f"{self.name} wants {each}"
        return f"{self.name} wants {self.num_workers} workers with {each} each"


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """All of a job."""

    rows: int | None
    kinds: Mapping[str, UnitKind]
    stages: tuple[Mapping[str, int], ...]
    """Kind → number, of each stage; a stage waits for the former one."""
    driver_s: Span | None
    """What the driver does beside the stages, one thing after another. `None`: not known."""
    driver_bytes: Span | None
    """Memory of the driver. `None`: not known."""
    process_bytes: float
    """Memory of a worker that has loaded the libraries, which is in that of each unit."""
    matrix_bytes: Span
    """What each machine has in its object store."""
    trials: int = 1
    """How often all of it is done, one after another; each may be several trials of a search."""
    time_budget_s: float | None = None
    """After that no trial begins."""
    early_share: float = 0.0
    """What of the time may be saved by networks that end early."""
    num_cpus: int | None = None
    """CPUs that the job asks for."""
    num_gpus: int | None = None
    """GPUs that the job asks for."""
    memory_bytes: int | None = None
    """Memory that the job asks for, over all machines."""

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> "Work":
        """Read a plan.

        Raises:
            UserError: it was made by a distml that knew this machine only.
        """
        if "left" not in plan:
            raise UserError("the plan is of an older distml: run distml plan again, with --measure")
        memory, resources = plan["memory"], plan.get("resources") or {}
        measured = bool(plan.get("workers_measured"))
        process = memory.get("process_bytes") or _PROCESS_BYTES
        kinds = {each["fit"]: _kind(each, process, measured) for each in plan["members"]}
        stages = [dict(stage) for stage in plan["left"] if stage]
        phases = {name: _span(told) for name, told in plan["phases"].items()}
        if plan.get("workers"):
            kinds["training"] = _training(phases.pop("fit", None), plan["workers"], measured)
            stages.insert(0, {"training": 1})
        search = plan.get("search") or {}
        at_once = search.get("at_once") or 1
        trials = search.get("trials", 1)
        # A plan has the phases of those trials that there is time for.
        counted = min(trials, search.get("fitting") or trials)
        known = plan.get("seconds") is not None
        driver_bytes = Span.of(memory.get("driver_bytes"))
        return cls(
            rows=plan.get("rows"),
            kinds=kinds,
            # Trials that go on side by side are one, of all their units.
            stages=tuple({name: at_once * n for name, n in stage.items()} for stage in stages),
            driver_s=_sum(list(phases.values())).times(1 / counted) if known else None,
            driver_bytes=None if driver_bytes is None else driver_bytes.times(at_once),
            process_bytes=process,
            matrix_bytes=Span.of(memory.get("matrix_bytes")) or Span(0.0, 0.0, 0.0),
            trials=math.ceil(trials / at_once),
            time_budget_s=search.get("time_budget_s"),
            early_share=plan.get("early_share", 0.0),
            num_cpus=resources.get("num_cpus"),
            num_gpus=resources.get("num_gpus"),
            memory_bytes=resources.get("memory_bytes"),
        )

    @property
    def is_timed(self) -> bool:
        """Whether it is known how long it takes."""
        return self.driver_s is not None

    @property
    def asked(self) -> list[UnitKind]:
        """The kinds of units that are left to do."""
        names = dict.fromkeys(name for stage in self.stages for name in stage)
        return [self.kinds[name] for name in names]

    @property
    def num_units(self) -> int:
        """Units that are left to do, of one trial."""
        return sum(sum(stage.values()) for stage in self.stages)

    @property
    def most_workers(self) -> int:
        """Workers that the widest stage could use at the same time."""
        return max(
            (
                sum(count * self.kinds[name].num_workers for name, count in stage.items())
                for stage in self.stages
            ),
            default=0,
        )

    def loads(self, bound: Bound) -> list[list[Load]]:
        """All stages of one trial, for the simulator."""
        return [
            [self.kinds[name].load(bound, count) for name, count in stage.items()]
            for stage in self.stages
        ]


def _kind(member: Mapping[str, Any], process: float, measured: bool) -> UnitKind:
    seconds, peak = _span(member["seconds"]), _span(member["peak_bytes"])
    return UnitKind(
        name=member["fit"],
        count=member["units"],
        seconds=_on_workers(seconds, member.get("workers"), measured),
        memory=peak.plus(Span(process, process, process)),
        **_needs(member.get("workers")),
    )


def _training(seconds: Span | None, workers: Mapping[str, Any], measured: bool) -> UnitKind:
    """The only fit of a job, which its driver has done by workers."""
    return UnitKind(
        name="training",
        count=1,
        seconds=None if seconds is None else _on_workers(seconds, workers, measured),
        memory=None,
        **_needs(workers),
    )


def _on_workers(seconds: Span, workers: Mapping[str, Any] | None, measured: bool) -> Span:
    """What was measured on one worker, on several: at best all share it, at worst it is no less."""
    num = (workers or {}).get("num_workers", 1)
    if num == 1 or measured:
        return seconds
    shared = Span(seconds.value / num, seconds.low / num, seconds.high)
    return shared.plus(Span(*_TRAIN_START))


def _needs(workers: Mapping[str, Any] | None) -> dict[str, Any]:
    if not workers:
        return {}
    return {
        "num_workers": workers["num_workers"],
        "cpus": float(workers["cpus_per_worker"]),
        "gpus": float(workers["gpus_per_worker"]),
    }


def _span(told: Mapping[str, float]) -> Span:
    return Span(told["value"], told["low"], told["high"])


def _sum(spans: Sequence[Span]) -> Span:
    whole = Span(0.0, 0.0, 0.0)
    for span in spans:
        whole = whole.plus(span)
    return whole


def _counted(amount: float, unit: str) -> str:
    return f"{amount:g} {unit}{'' if amount == 1 else 's'}"
