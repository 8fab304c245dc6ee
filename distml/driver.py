"""The one door: every launcher ends in `python -m distml.driver JOBFILE --storage … --run-id …`.

One decision: what a user can get wrong is found before the run exists, and from then on every end
is an outcome in its record. The exit code is 0 for SUCCEEDED, 130 for STOPPED by SIGINT and 143 by
SIGTERM, 2 for a mistake of the user, 1 for all else. An error is one line on the stderr this
process was started with; its traceback is in the run's log.
"""

import argparse
import contextlib
import gc
import logging
import os
import signal
import sys
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from socket import gethostname
from typing import Any

from distml import session
from distml.errors import DistmlError, StorageError
from distml.foresight import SAMPLE, observed, write_plan
from distml.job import Result, RunContext
from distml.logfile import LogFile, collect_log
from distml.nodewatch import on_nodes
from distml.preflight import check_nodes
from distml.rehearsal import rehearsal
from distml.runs.events import use_events
from distml.runs.lease import Lease
from distml.runs.paths import RunPaths
from distml.runs.record import RunStatus
from distml.runs.storage import shown
from distml.runs.store import RunStore
from distml.runs.units import use_units
from distml.signals import Signals, Stopped
from distml.start import Start, prepare
from distml.workerlog import write_words

__all__ = ["End", "Start", "drive", "main"]

# By its name, not as `__main__`, which it is when it runs.
_LOG = logging.getLogger("distml.driver")
_GC_EVERY = 10_000
"""New objects after which Python looks for cycles among them; 700 by default in 3.11."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How it ended."""

    exit_code: int
    """0, 1 for a failure, 2 for a mistake of the user, 128 and the signal's number."""
    status: RunStatus
    reason: str | None = None
    """Why, in one line."""
    result: Result | None = None
    """What the task gave back."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one job from its command line to its outcome; the exit code of the process."""
    # What a job imports lives to its end; to look through all of it 400 times takes 0.1 s.
    gc.set_threshold(_GC_EVERY, 50, 50)
    options = _options(sys.argv[1:] if argv is None else argv)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        log = stack.enter_context(collect_log())
        # In this order: what Ray says at its end still goes into the log.
        stack.callback(log.close)
        _LOG.info("driver of run %s: process %d of %s", options.run_id, os.getpid(), gethostname())
        if options.elsewhere:
            stack.enter_context(rehearsal())
        if options.inline:
            stack.enter_context(session.inline())
        else:
            stack.enter_context(session.heard(write_words))
            stack.callback(session.disconnect)
        try:
            if options.begun and _go_on(options) is RunStatus.SUCCEEDED:
                return 0
            submission = check_nodes(options.storage, options.run_id) if options.submitted else None
            start = prepare(options, stack, submission)
            if options.plan is not None:
                write_plan(start, options.plan, sample=options.sample)
                return 0
            end = drive(start, log, signals, take_output=options.take_output)
        except BaseException as error:
            end = _ended(signals.stopped() or error)
    if end.status is RunStatus.FAILED:
        sys.stderr.write(f"distml: error: {end.reason}\n")
    return end.exit_code


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m distml.driver", allow_abbrev=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("job_file", nargs="?", help="the job file")
    what.add_argument("--resume", action="store_true", help="resume the run from its own copy")
    what.add_argument("--again", metavar="RUN", help="do another run again, as this one")
    parser.add_argument("--storage", required=True, help="directory of runs")
    parser.add_argument("--run-id", required=True, help="name of the run")
    parser.add_argument("--launcher", required=True, help="who starts this, for the record")
    parser.add_argument("--inline", action="store_true", help="fit in this process, without Ray")
    parser.add_argument("--take-output", action="store_true", help="send output to the run's log")
    parser.add_argument("--submitted", action="store_true", help="ask the cluster's nodes first")
    parser.add_argument("--begun", action="store_true", help="resume the run if it is there")
    parser.add_argument("--fresh", action="store_true", help="use no fits of other runs")
    parser.add_argument(
        "--against", type=float, metavar="MARGIN", help="be better than the model of RUN by that"
    )
    parser.add_argument("--warm", action="store_true", help="start from the model of RUN")
    parser.add_argument("--search", action="append", default=[], metavar="NAME=DOMAIN")
    parser.add_argument("--metric", help="what a search compares trials by")
    parser.add_argument("--mode", choices=("max", "min"), default="max")
    parser.add_argument("--num-samples", type=int, default=10)
    parser.add_argument("--plan", metavar="FILE", help="run nothing: write what it would take")
    parser.add_argument("--elsewhere", action="store_true", help="the plan is for another place")
    parser.add_argument("--searcher")
    parser.add_argument("--scheduler", metavar="NAME(EPOCHS)")
    parser.add_argument("--max-concurrent-trials", type=int, default=1)
    parser.add_argument("--sample", choices=SAMPLE, default="always", help="measure for a plan")
    parser.epilog = "What follows `--` is the job's own command line."
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    return parser.parse_args(own, argparse.Namespace(arguments=argv[len(own) + 1 :]))


def _go_on(options: argparse.Namespace) -> RunStatus | None:
    """Turn the start of a run that exists into a resume; its status."""
    store = RunStore(options.storage)
    if store.storage.stat(RunPaths(options.run_id).record) is None:
        return None
    options.resume, options.job_file, options.again = True, None, None
    return store.load(options.run_id).status


def drive(
    start: Start,
    log: LogFile,
    signals: Signals,
    *,
    take_output: bool,
    listener: Callable[..., None] | None = None,
) -> End:
    """Write the run down, do it, write down how it ended.

    Args:
        start: what to run.
        log: collects what is logged meanwhile.
        signals: says whether a signal has ended it.
        take_output: send this process's output to the log as well.
        listener: is told every event, as `listener(kind, **fields)`.

    Returns:
        How it ended.

    Raises:
        UserError: another driver works on the run, or there is one of that name.
        StorageError: the storage refuses before the start.
    """
    store, record = start.store, start.record
    store.check()
    with store.claim(record.run_id, on_lost=_interrupt) as lease:
        if start.is_new:
            store.create(record, start.source)
        store.start(
            record.run_id, launcher=record.launcher, seed=record.seed, resources=record.resources
        )
        log.open(store.storage, RunPaths(record.run_id).log, take_output=take_output)
        end = _carry_out(start, signals, listener)
        signals.ignore()
        end = _written_down(start, end, lease)
        if start.job.report and not lease.lost:
            _report(start)
        return end


def _carry_out(start: Start, signals: Signals, listener: Callable[..., None] | None) -> End:
    store, job, run_id = start.store, start.job, start.record.run_id
    try:
        with contextlib.closing(store.event_log(run_id)) as events:
            emit = events.append if listener is None else _both(events.append, listener)
            context = RunContext(
                run_id=run_id,
                run_uri=store.paths(run_id).root,
                seed=job.seed,
                resources=job.resources,
                emit=emit,
                former=start.former,
            )
            limits = session.limited(
                num_cpus=job.resources.num_cpus, memory_bytes=job.resources.memory_bytes
            )
            with limits, use_units(start.units or store.units), use_events(emit):
                result = on_nodes(
                    store, run_id, emit, lambda: observed(start, lambda: job.task.run(context))
                )
        return End(exit_code=0, status=RunStatus.SUCCEEDED, result=result)
    except BaseException as error:
        end = _ended(signals.stopped() or error)
        _LOG.log(
            logging.ERROR if end.status is RunStatus.FAILED else logging.INFO,
            "%s: %s",
            end.status,
            end.reason,
            exc_info=error,
        )
        return end


def _ended(error: BaseException) -> End:
    """What an exception means."""
    if isinstance(error, Stopped):
        return End(exit_code=error.exit_code, status=RunStatus.STOPPED, reason=str(error))
    if isinstance(error, KeyboardInterrupt | BdbQuit):
        return End(exit_code=130, status=RunStatus.STOPPED, reason="interrupted")
    if isinstance(error, DistmlError):
        return End(exit_code=error.exit_code, status=RunStatus.FAILED, reason=error.line)
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return End(exit_code=1, status=RunStatus.FAILED, reason=message)


def _written_down(start: Start, end: End, lease: Lease) -> End:
    """Put the outcome into the record, and the log's name into a failure's last words."""
    store, run_id = start.store, start.record.run_id
    if lease.lost:
        reason = f"run {run_id} was taken over by another driver"
        return End(exit_code=1, status=RunStatus.FAILED, reason=reason)
    try:
        store.finish(run_id, status=end.status, reason=end.reason, result=end.result)
    except StorageError as error:
        end = _ended(error)
        with contextlib.suppress(StorageError):
            store.finish(run_id, status=end.status, reason=end.reason)
    if end.exit_code == 1:
        return replace(end, reason=f"{end.reason}; see {shown(store.paths(run_id).log)}")
    return end


def _both(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def emit(kind: str, **fields: Any) -> None:
        first(kind, **fields)
        second(kind, **fields)

    return emit


def _report(start: Start) -> None:
    """Write the run's page; what goes wrong with it is no failure of the run."""
    try:
        # Only here: drawing takes longer to import than a small job to run.
        from distml.report import write_report

        write_report(start.store, start.record.run_id)
    except Exception as error:
        _LOG.warning("no report: %s", error, exc_info=error)


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
