"""Jobs that a place knows, and the words of one unit in a run's log: what `list` and `logs` add."""

import difflib
import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from distml.errors import UserError
from distml.launch.handle import JobHandle
from distml.launch.launcher import PlacedJob
from distml.layout import duration, moment, table
from distml.runs.voices import units_in, words_of

__all__ = ["placed_text", "unit_words"]


def placed_text(jobs: Iterable[PlacedJob], width: int, now: float | None = None) -> str:
    """A line for each job of a place, the latest first.

    Args:
        jobs: What the place knows.
        width: Columns of the terminal.
        now: Unix seconds; the present otherwise.
    """
    ordered = sorted(jobs, key=lambda job: -(job.started_at or 0))
    rows = []
    for job in ordered:
        started, ended = job.started_at, job.ended_at or now or time.time()
        rows.append(
            {
                "run": job.run_id,
                "job": job.job_id,
                "status": job.status,
                "started": moment(started),
                "took": None if started is None else duration(max(0.0, ended - started)),
                "storage": job.storage,
            }
        )
    return table(rows, width)


def unit_words(handle: JobHandle, unit: str, *, follow: bool) -> Iterator[str]:
    """The lines of a run's log that are a unit's.

    Args:
        handle: The run.
        unit: Its name, or a pattern with `*`.
        follow: Go on until the run has ended.

    Raises:
        UserError: the run has no such unit, and will have no more.
    """
    if not follow or handle.status().is_final:
        names = units_in(handle.store.events(handle.run_id))
        if not any(name == unit or fnmatchcase(name, unit) for name in names):
            raise UserError(f"run {handle.run_id} has no unit {unit!r}{_hint(unit, names)}")
    yield from words_of(unit, _lines(handle.logs(follow=follow)))


def _hint(unit: str, names: list[str]) -> str:
    if not names:
        return ": it has none"
    close = difflib.get_close_matches(unit, names, n=1) or [n for n in names if unit in n]
    return (
        f"; did you mean {close[0]!r}? '*' takes all" if close else f": the first is {names[0]!r}"
    )


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Whole lines from pieces that end anywhere."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).splitlines(keepends=True) or [""]
        if rest.endswith("\n"):
            whole, rest = [*whole, rest], ""
        yield from whole
    if rest:
        yield f"{rest}\n"
