"""Trials of a search over jobs as runs of their own, in a folder of the search's run.

One decision: a trial is a run like any other, with record, events and artifacts; its name is made
of its number and its parameters. A search that goes on asks for the same runs again: those that
have ended are read, one that was cut off goes on from what it has stored. A trial that goes on from
another's training is a new run.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from distml import session
from distml.errors import DistmlError, ResourcesError, StorageError, UserError
from distml.job import Job, Result, RunContext
from distml.runs.digest import digest
from distml.runs.events import Event, use_events
from distml.runs.paths import RunPaths
from distml.runs.provenance import new_record
from distml.runs.record import RunRecord, RunStatus
from distml.runs.storage import join_uri, open_storage
from distml.runs.store import RunStore
from distml.runs.strict_json import dumps, to_json
from distml.tune.endings import (
    LACKS,
    PUT_OFF,
    for_want_of_memory,
    is_over,
    is_put_off,
    lacks_resources,
)
from distml.tune.turns import Config

__all__ = ["TRIALS", "Child", "Children", "EndedEarly", "Paused"]

logger = logging.getLogger(__name__)

TRIALS = "trials"
"""Folder of the trials in the run of a search."""

Listener = Callable[[str, Mapping[str, Any]], None]
"""Is told each event of a trial, as `listener(kind, fields)`."""


class EndedEarly(BaseException):
    """Ends a trial in the midst of its training; no error, and only its sender may catch it.

    Args:
        step: Epochs it has done.
        scores: What the last one reported.
        why: What ended it.
    """

    def __init__(
        self, step: int, scores: Mapping[str, float], why: str = "stopped by the scheduler"
    ) -> None:
        super().__init__(f"{why} after {step} epochs")
        self.step, self.scores = step, scores


class Paused(BaseException):
    """Ends a part of a trial, which goes on later; no error, and only its sender may catch it.

    Args:
        step: Epochs it has done.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"paused after {step} epochs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """A trial: what it is called, and what the job function is given."""

    number: int
    """0, 1, 2, … in the order in which they were proposed."""
    config: Config
    """What is searched."""
    part: int = 0
    """How often it has gone on from another trial's training."""

    run_id: str = field(init=False)
    """Name of its run. Made once: what a value refers to may change while it is used."""

    def __post_init__(self) -> None:
        number = f"{self.number:04d}" + (f"-{self.part}" if self.part else "")
        try:
            content = digest(dict(self.config))
        except UserError:  # a value that cannot be told by its content
            content = digest(dumps(self.config))
        object.__setattr__(self, "run_id", f"{number}-{content[:6]}")


class Children:
    """The trials of one search.

    Args:
        context: Of the search's run.
    """

    def __init__(self, context: RunContext) -> None:
        self.store = RunStore(join_uri(context.run_uri, TRIALS))
        self._record, self._source = _pattern(context)

    def ended(self, child: Child) -> RunRecord | None:
        """The record of a trial that has ended; `None` if it is to be carried out.

        One that asked for more than there was is tried again: there may be more now.
        """
        record = self._known(child)
        if record is None or not is_over(record) or lacks_resources(record):
            return None
        return record

    def is_put_off(self, child: Child) -> bool:
        """Whether a trial waits until it is alone, see the function of this name."""
        record = self._known(child)
        return record is not None and is_put_off(record)

    def told(self, child: Child) -> list[Event]:
        """What a trial has reported so far."""
        return [] if self._known(child) is None else list(self.store.events(child.run_id))

    def carry_out(
        self,
        child: Child,
        make: Callable[[], Job],
        listener: Listener | None = None,
        *,
        may_put_off: bool = False,
    ) -> RunRecord:
        """Run a trial, or go on with it, whatever becomes of it.

        Args:
            child: Which.
            make: Makes its job.
            listener: Is told its events, and may raise `EndedEarly` or `Paused`.
            may_put_off: For want of memory it has not failed yet, see `is_put_off`.

        Raises:
            StorageError: the storage is full or refuses.
            KeyboardInterrupt: the search was stopped; the trial goes on when it is resumed.
        """
        store, run_id = self.store, child.run_id
        with store.claim(run_id):
            self.create(child)
            try:
                result = self._do(child, make, listener)
            except StorageError:
                raise
            except EndedEarly as early:
                stopped = Result(metrics={"last": early.scores}, details={"epochs": early.step})
                return store.finish(
                    run_id, status=RunStatus.STOPPED, reason=str(early), result=stopped
                )
            except Paused as paused:
                return store.finish(run_id, status=RunStatus.STOPPED, reason=str(paused))
            except Exception as error:
                logger.warning("trial %d failed", child.number + 1, exc_info=error)
                status, reason = RunStatus.FAILED, _in_one_line(error)
                if may_put_off and for_want_of_memory(error):
                    status, reason = RunStatus.STOPPED, PUT_OFF + reason
                why = Result(metrics={}, details={LACKS: isinstance(error, ResourcesError)})
                return store.finish(run_id, status=status, reason=reason, result=why)
            except BaseException:
                with suppress(StorageError):
                    store.finish(run_id, status=RunStatus.STOPPED, reason="interrupted")
                raise
            return store.finish(run_id, status=RunStatus.SUCCEEDED, result=result)

    def create(self, child: Child) -> None:
        """Make the run of a trial, unless it is there.

        Raises:
            StorageError: the storage is full or refuses.
        """
        if self._known(child) is None:
            parameters = to_json(dict(child.config))
            made = replace(self._record, run_id=child.run_id, parameters=parameters)
            self.store.create(made, self._source)

    def give_up(self, child: Child, error: Exception, *, may_put_off: bool = False) -> None:
        """Note that a trial failed whose process is not there any more, unless it has ended.

        Args:
            child: Which.
            error: Why.
            may_put_off: As of `carry_out`.

        Raises:
            StorageError: the storage is full or refuses.
        """

        def fail() -> Job:
            raise error

        if self.ended(child) is None:
            self.carry_out(child, fail, may_put_off=may_put_off)

    def end(self, child: Child, early: EndedEarly) -> RunRecord:
        """Note that a trial which does not run goes no further.

        Raises:
            StorageError: the storage is full or refuses.
        """

        def stop() -> Job:
            raise early

        return self.carry_out(child, stop)

    def load(self, child: Child) -> RunRecord:
        """The record of a trial.

        Raises:
            UserError: there is none.
        """
        return self.store.load(child.run_id)

    def _do(self, child: Child, make: Callable[[], Job], listener: Listener | None) -> Result:
        store, run_id = self.store, child.run_id
        job = make()
        store.start(run_id, seed=job.seed, resources=asdict(job.resources))
        with closing(store.event_log(run_id)) as events:

            def emit(kind: str, **fields: Any) -> None:
                events.append(kind, **fields)
                if listener is not None:
                    listener(kind, fields)

            context = RunContext(
                run_id=run_id,
                run_uri=store.paths(run_id).root,
                seed=job.seed,
                resources=job.resources,
                emit=emit,
            )
            outer = session.limits()
            limits = session.limited(
                num_cpus=_least(job.resources.num_cpus, outer.num_cpus),
                memory_bytes=_least(job.resources.memory_bytes, outer.memory_bytes),
            )
            with limits, use_events(emit):
                return job.task.run(context)

    def _known(self, child: Child) -> RunRecord | None:
        if self.store.storage.stat(RunPaths(child.run_id).record) is None:
            return None
        return self.store.load(child.run_id)


def _least(one: int | None, other: int | None) -> int | None:
    return min((amount for amount in (one, other) if amount is not None), default=None)


def _pattern(context: RunContext) -> tuple[RunRecord, str]:
    """What records of trials have in common with that of the search, and its job file."""
    run, names = open_storage(context.run_uri), RunPaths("")
    try:
        record = RunRecord.from_json(run.read(names.record))
        source = run.read(names.job_source).decode()
    except FileNotFoundError:
        record, source = new_record(job_file="job.py", parameters={}, launcher="debug"), ""
    fresh = replace(record, status=RunStatus.PENDING, reason=None, attempts=(), details={})
    return replace(fresh, started_at=None, finished_at=None), source


def _in_one_line(error: Exception) -> str:
    if isinstance(error, DistmlError):
        return error.line
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
