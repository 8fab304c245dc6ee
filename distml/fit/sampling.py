"""Run a task on few of its rows and note what each fit and each phase costs.

One decision: the whole task is run as it is, only on fewer rows, and what it reports (phases, fits)
is timed. So whatever a job does, cross-validation or a long evaluation included, is in the sample,
and this module knows no estimator. Fits that would be spread over workers get one thread each here,
as they do there.
"""

import dataclasses
import re
import resource
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator, clone
from threadpoolctl import threadpool_limits

from distml.fit.epochs import Spared, cut_short
from distml.fit.few_trials import TrialCounter, Trials
from distml.job import Result, RunContext
from distml.rehearsal import few_trials
from distml.runs.events import use_events
from distml.runs.units import use_units
from distml.spread import workers_of

__all__ = ["FitCost", "Sample", "kind_of", "measure", "resident_bytes", "standing_bytes"]

_WATCH_S = 0.01
_STATM = Path("/proc/self/statm")
_SMAPS = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True, kw_only=True, slots=True)
class FitCost:
    """One fit of an ensemble's member."""

    kind: str
    """Name of the unit with its numbers left out: fits of one kind cost alike."""
    rows: int
    """Rows it learnt from."""
    stage: int
    """Fits of a stage wait for all of the former one."""
    seconds: float
    """What it takes on one thread."""
    peak_bytes: int
    """Memory it added at its peak."""
    phase: str = "fit"
    """What it is part of; further phases than `fit` refit."""
    workers: Mapping[str, Any] | None = None
    """`num_workers`, `cpus_per_worker` and `gpus_per_worker` of a fit that has several workers, or
    GPUs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a task cost on some of its rows."""

    rows: int
    """Rows it was given."""
    phases: Mapping[str, float]
    """Phase → seconds of it that were no fit of a member."""
    fits: tuple[FitCost, ...]
    """Every fit of a member, and every refit of an estimator that is no ensemble of ours."""
    driver_bytes: int
    """Memory of the process at its peak outside of those fits."""
    matrix_bytes: int
    """The training matrix in double precision."""
    cpu_share: float = 1.0
    """CPU seconds of a second, at most 1: less where other work on the machine held it up."""
    spared_s: float = 0.0
    """What of all that was not spent: epochs that were counted and not trained."""
    workers: Mapping[str, Any] | None = None
    """See `FitCost`; of a fit in the driver, and of refits, which have the same estimator."""
    open_s: float = 0.0
    """What of that may never be spent, where trainings may end early."""
    trials: Trials | None = None
    """Of its searches; `None`: it has none."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self.phases.values()) + sum(fit.seconds for fit in self.fits)

    @property
    def spent_s(self) -> float:
        """What it took to measure."""
        return self.seconds - self.spared_s

    @property
    def has_members(self) -> bool:
        """Whether the estimator is, or has in it, an ensemble of ours."""
        return any(fit.phase == "fit" for fit in self.fits)


def measure(
    task: Any,
    rows: int,
    context: RunContext,
    *,
    one_thread: bool,
    few_epochs: bool = False,
    num_trials: int | None = None,
) -> Sample:
    """Run a task on `rows` of its rows, drawn by its seed.

    Args:
        task: A dataclass with `rows`, `estimator` and `run`, such as `Fit`.
        rows: How many.
        context: Of the run that is planned; nothing is written there.
        one_thread: Fit on one thread, as a worker does.
        few_epochs: Train networks for a few epochs, and count the rest.
        num_trials: Configurations that a search tries at most; `None`: all, in its time.

    Raises:
        DistmlError: what the task raises, such as for a class that is too rare for a small sample.
    """
    estimator = _single_threaded(task.estimator) if one_thread else task.estimator
    estimator, full = cut_short(estimator) if few_epochs else (estimator, {})
    task = dataclasses.replace(task, rows=rows, estimator=estimator)
    workers = workers_of(estimator.get_params())
    recorder = _Recorder(Spared(full), workers)
    started, busy = time.perf_counter(), time.process_time()
    with (
        tempfile.TemporaryDirectory(prefix="distml-plan-") as folder,
        warnings.catch_warnings(),
        threadpool_limits(1) if one_thread else nullcontext(),
        recorder.watching(),
        use_events(recorder),
        use_units(None),
        few_trials(num_trials),
    ):
        warnings.simplefilter("ignore")
        result = task.run(
            dataclasses.replace(context, run_id="plan", run_uri=folder, emit=recorder)
        )
    return Sample(
        rows=rows,
        phases=recorder.phases(),
        fits=tuple(recorder.fits),
        driver_bytes=recorder.peak_bytes,
        matrix_bytes=_matrix_bytes(result),
        cpu_share=min(1.0, (time.process_time() - busy) / (time.perf_counter() - started)),
        spared_s=recorder.spared_s,
        workers=workers,
        open_s=recorder.open_s,
        trials=recorder.trials,
    )


def resident_bytes() -> int:
    """Memory of this process now; 0 on systems without /proc."""
    try:
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def standing_bytes() -> tuple[int, int]:
    """What this process holds before it has any data.

    Returns:
        Bytes of its own, which every worker needs as well; and bytes of libraries that it shares
        with other processes and that are not counted as its own. Zeros on systems without /proc.
    """
    try:
        lines = _SMAPS.read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    found = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
    return 1024 * found["Anonymous"], 1024 * (found["Rss"] - found["Pss"])


class _Recorder:
    """Takes events and the process's memory down. Called by the task; watched by a thread."""

    def __init__(self, spared: Spared, workers: Mapping[str, Any] | None) -> None:
        self.fits: list[FitCost] = []
        self.peak_bytes = 0
        self.spared_s = 0.0
        self._spared, self._counter = spared, TrialCounter()
        self._events: dict[str, Callable[..., None]] = {
            "phase": self._phase,
            "plan": self._plan,
            "unit_started": self._unit_started,
            "unit_done": self._unit_done,
        }
        self._seconds: dict[str, float] = defaultdict(float)
        self._name, self._since = "start", time.perf_counter()
        self._stage, self._num_planned = 0, 0
        self._in_fit = False
        self._own, self._workers = workers, workers
        self._busy, self._before, self._peak = 0.0, 0, 0

    def __call__(self, kind: str, **fields: Any) -> None:
        self._spared.take(kind, fields)
        self._counter.take(kind, fields)
        take = self._events.get(kind)
        if take is not None:
            take(**fields)

    def phases(self) -> dict[str, float]:
        """Seconds of each phase without its fits."""
        return {name: max(0.0, seconds) for name, seconds in self._seconds.items()}

    @property
    def open_s(self) -> float:
        """Seconds of epochs that may never come."""
        return self._spared.open_s

    @property
    def trials(self) -> Trials | None:
        """What searches said of their trials."""
        return self._counter.trials

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the process's memory until the block ends, and count the last phase until then."""
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._phase("")
            stop.set()
            watcher.join()

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(_WATCH_S):
            now = resident_bytes()
            if self._in_fit:
                self._peak = max(self._peak, now)
            else:
                self.peak_bytes = max(self.peak_bytes, now)

    def _phase(self, name: str, **_: Any) -> None:
        now = time.perf_counter()
        self._seconds[self._name] += now - self._since + self._more()
        self._name, self._since = name, now

    def _plan(self, units: int, **_: Any) -> None:
        # What is planned when all else is done has waited for it.
        if self._num_planned and self._num_planned == len(self.fits):
            self._stage += 1
        self._num_planned += units

    def _unit_started(self, workers: Mapping[str, Any] | None = None, **_: Any) -> None:
        # A refit is of the estimator itself, and says nothing of it.
        self._workers = self._own if self._name != "fit" else workers
        self._busy, self._before = time.process_time(), resident_bytes()
        self._peak, self._in_fit = 0, True

    def _unit_done(self, unit: str, rows: int, seconds: float, peak_bytes: int, **_: Any) -> None:
        self._in_fit = False
        self._seconds[self._name] -= seconds
        # A refit has all threads here and one where it is spread.
        on_one = seconds if self._name == "fit" else max(seconds, time.process_time() - self._busy)
        on_one += self._more()
        self.fits.append(
            FitCost(
                kind=kind_of(unit),
                rows=rows,
                stage=self._stage,
                seconds=on_one,
                peak_bytes=peak_bytes or max(0, self._peak - self._before),
                phase=self._name,
                workers=self._workers,
            )
        )

    def _more(self) -> float:
        """What was spared since this was last asked."""
        seconds = self._spared.pop()
        self.spared_s += seconds
        return seconds


def kind_of(unit: str) -> str:
    """Name of a unit with its numbers left out."""
    return re.sub(r"\d+", "#", unit)


def _single_threaded(estimator: BaseEstimator) -> BaseEstimator:
    """A clone in which every `n_jobs` is 1."""
    estimator = clone(estimator)
    jobs = [name for name in estimator.get_params(deep=True) if name.split("__")[-1] == "n_jobs"]
    return estimator.set_params(**dict.fromkeys(jobs, 1))


def _matrix_bytes(result: Result) -> int:
    details = result.details
    return 8 * len(details.get("matrix", ())) * int(details.get("rows", {}).get("train", 0))
