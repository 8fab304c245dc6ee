"""Whose words stand in a run's log: those of a unit or a worker have a mark, the driver's own none.

The one decision: the mark stands before each line, `[unit forest fold 2]` or `[worker HOST PID]`,
so that a log is read by people as it is, and the words of one unit are found by a plain search.
"""

import contextlib
import fnmatch
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

__all__ = ["mark", "marked", "speaking", "units_in", "words_of"]

_MARK = re.compile(r"\[unit ([^\]]+)\]")
# A log record begins with its time; what has no mark of its own behind it is a record's next line.
_BEGINS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")

_speaker: ContextVar[str] = ContextVar("distml_speaker", default="")


@contextlib.contextmanager
def speaking(unit: str) -> Iterator[None]:
    """What is logged and warned while the block runs, in this thread, is a unit's.

    Args:
        unit: its name.

    Yields:
        Nothing.

    Raises:
        Nothing.
    """
    token = _speaker.set(unit)
    try:
        yield
    finally:
        _speaker.reset(token)


def mark() -> str:
    """What stands before a line that is logged now.

    Returns:
        Such as `[unit forest] `; empty for the driver's own.

    Raises:
        Nothing.
    """
    unit = _speaker.get()
    return f"[unit {unit}] " if unit else ""


def marked(text: str, who: str) -> str:
    """Put a mark before each line; one that has one already keeps it alone.

    Args:
        text: lines, the last with or without its end.
        who: such as `unit forest`, or `worker node-2 4711`.

    Returns:
        The lines, each with its end.

    Raises:
        Nothing.
    """
    lines = text.splitlines()
    return "".join(f"{line}\n" if _MARK.match(line) else f"[{who}] {line}\n" for line in lines)


def words_of(unit: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines of a log that are a unit's.

    Args:
        unit: its name, or a pattern with `*` for several.
        lines: of the log.

    Yields:
        Its lines in their order. A record of several lines, such as a warning, comes whole.

    Raises:
        Nothing.
    """
    within = False
    for line in lines:
        found = _MARK.search(line)
        if found is not None:
            # `forest and 31 others` are units that were carried out together.
            name = re.sub(r" and \d+ others$", "", found[1])
            within = fnmatch.fnmatchcase(name, unit) or name == unit
            if within:
                yield line
            within = within and _BEGINS.match(line) is not None
        elif within and line.startswith(" "):
            yield line
        else:
            within = False


def units_in(events: Iterable[dict[str, object]]) -> list[str]:
    """Names of all units that a run has begun or found.

    Args:
        events: of the run.

    Returns:
        Names, each once, in their order.

    Raises:
        Nothing.
    """
    return list(dict.fromkeys(str(event["unit"]) for event in events if event.get("unit")))
