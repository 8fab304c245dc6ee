"""`distml status RUN`: how far a run is, on which nodes, what it costs, and why it waits.

One decision: all but the reason for waiting is read from the run's storage, so it is told of a run
whose cluster is gone, too; the place is asked only while it has not begun.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from distml.errors import DistmlError, UserError
from distml.launch.launcher import launcher
from distml.layout import block, duration, moment
from distml.runs.progress import Progress, lines, progress_of
from distml.runs.record import RunRecord, RunStatus
from distml.runs.spending import Spending, spending_of
from distml.runs.store import RunStore
from distml.runs.submissions import Submission, load_submission
from distml.verbs.follow import width
from distml.verbs.options import run_argument, storage_option

__all__ = ["command", "is_to_go_on", "running_facts", "waiting_facts"]


@click.command("status")
@run_argument
@storage_option
def command(run: str, storage: str) -> None:
    """Say how far a run is, on which nodes, what it costs, and why it waits."""
    store = RunStore(storage)
    try:
        record = store.load(run)
    except UserError:
        # One that waits to begin has no record yet.
        if (waiting := load_submission(store.storage, run)) is None:
            raise
        why = _why_pending(waiting, storage)
        click.echo(block(dict(waiting_facts(waiting, why, time.time())), width()))
        return
    submission, events = load_submission(store.storage, record.run_id), store.events(record.run_id)
    if submission is not None and is_to_go_on(record, submission):
        why = _why_pending(submission, storage)
        click.echo(block(dict(waiting_facts(submission, why, time.time())), width()) + "\n")
    click.echo(block(dict(running_facts(record, submission, events, time.time())), width()))


def is_to_go_on(record: RunRecord, submission: Submission) -> bool:
    """Whether a run that has ended was handed over again, and that has not begun.

    Args:
        record: Of the run.
        submission: Its last handing over, whose name counts the attempts that it began with.
    """
    number = submission.submission_id.removeprefix(f"{record.run_id}-")
    return record.status in (RunStatus.STOPPED, RunStatus.FAILED) and (
        number.isdigit() and len(record.attempts) < int(number)
    )


def waiting_facts(waiting: Submission, why: str, now: float) -> Iterator[tuple[str, Any]]:
    """What is told of a run that was handed over and has not begun.

    Args:
        waiting: The note of its submission.
        why: What its place says.
        now: Unix seconds.
    """
    yield "run", waiting.run_id
    yield "status", f"{RunStatus.PENDING} for {duration(now - waiting.submitted_at)}"
    yield "on", waiting.launcher
    yield "waits", why


def running_facts(
    record: RunRecord,
    submission: Submission | None,
    events: Iterable[Mapping[str, Any]],
    now: float,
) -> Iterator[tuple[str, Any]]:
    """What is told of a run that has begun.

    Args:
        record: Of the run.
        submission: How it was handed over, if it was.
        events: All of its events.
        now: Unix seconds.
    """
    told, goes_on = list(events), record.status is RunStatus.RUNNING
    yield "run", record.run_id
    yield "status", f"{record.status} {'for' if goes_on else 'after'} {duration(record.seconds)}"
    yield "reason", record.reason
    yield "on", record.launcher
    yield "started", moment(record.started_at)
    progress = progress_of(told)
    if progress.total:
        yield "units", _units(progress)
    if goes_on and progress.has_begun:
        yield "now", "; ".join(lines(progress, now))
    spent = spending_of(told)
    spent = spent.until(now) if goes_on else spent
    if spent.most:
        yield from _nodes(spent, {} if submission is None else submission.prices, goes_on=goes_on)


def _units(progress: Progress) -> str:
    counts = [f"{progress.cached + progress.done} of {progress.total} done"]
    named = (("running", len(progress.running)), ("failed", progress.failed))
    counts += [
        f"{number} {name}" for name, number in (*named, ("cached", progress.cached)) if number
    ]
    return ", ".join(counts)


def _nodes(
    spent: Spending, prices: Mapping[str, float], *, goes_on: bool
) -> Iterator[tuple[str, str]]:
    there = spent.nodes if goes_on else spent.most
    counted = ", ".join(f"{count} {name}" for name, count in there.items() if count)
    yield "nodes", (counted or "none now") if goes_on else f"{counted} at most"
    cost, rate = spent.cost(prices), spent.rate(prices)
    unpriced = ", ".join(name for name in spent.seconds if name not in prices)
    if cost is None:
        yield "cost", f"not known: no price of {unpriced}"
    elif goes_on and rate is not None:
        yield "cost", f"{cost:.2f} USD so far, {rate:.2f} USD an hour"
    else:
        yield "cost", f"{cost:.2f} USD"


def _why_pending(waiting: Submission, storage: str) -> str:
    try:
        handle = launcher(waiting.launcher).attach(storage, waiting.run_id)
        return handle.why_pending() or "it says nothing: its driver is about to begin, or has ended"
    except DistmlError as error:
        return f"not known: {error}"
