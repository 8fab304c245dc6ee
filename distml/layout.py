"""Rows as text: tables and blocks that fit the width of a terminal.

One decision: what does not fit is never cut. A table wider than the terminal becomes one block a
row, so that every figure can be read on forty columns too.
"""

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["block", "duration", "flat", "moment", "sized", "table", "worded"]

_GAP = "  "
_BREAKS = (r".+", r"[^ ]+ *", r"[^ _]+[ _]*")
"""Parts of a column's name that stay together, the longest first."""


def table(rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """Lay rows out under the names of their columns, or as blocks where that is too wide.

    Args:
        rows: Column → value, in the order to show; a missing value is left blank.
        width: Columns of the terminal. Names of columns are broken if that helps.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [[row.get(name) for row in rows] for name in names]
    for breaks in _BREAKS:
        laid = [_column(name, values, breaks) for name, values in zip(names, columns, strict=True)]
        lines = [_GAP.join(cells).rstrip() for cells in zip(*_level(laid), strict=True)]
        if max(map(len, lines), default=0) <= width:
            return "\n".join(lines)
    return "\n\n".join(block(row, width) for row in rows)


def block(entries: Mapping[str, Any], width: int) -> str:
    """Lay one row out as `name  value` lines; a value that is too long goes below its name."""
    shown = {name: worded(value) for name, value in entries.items() if value is not None}
    size = max(map(len, shown), default=0)
    if any(size + len(_GAP) + len(text) > width for text in shown.values()):
        size = 0
    return "\n".join(f"{name.ljust(size)}{_GAP}{text}".rstrip() for name, text in shown.items())


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join the names of nested mappings: `{"test": {"roc_auc": 0.7}}` → `{"test roc_auc": 0.7}`."""
    return dict(_flat(values, prefix))


def moment(unix_s: float | None) -> str | None:
    """A moment in local time, to the second."""
    if unix_s is None:
        return None
    return datetime.datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str | None:
    """A time span in the unit people would say it in."""
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def worded(value: Any) -> str:
    """A value in one line, as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(worded, value))
    return " ".join(str(value).split())


def sized(num_bytes: float | None) -> str | None:
    """Bytes in the unit people would say them in."""
    if num_bytes is None:
        return None
    for unit in ("B", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} GB"


def _column(name: str, values: Sequence[Any], breaks: str) -> tuple[list[str], list[str]]:
    """A column's head and cells, all of one width; numbers stand to the right."""
    cells = [worded(value) for value in values]
    head = _broken(name, breaks, max(map(len, cells)))
    size = max(map(len, (*head, *cells)))
    if any(_is_number(value) for value in values):
        return [line.rjust(size) for line in head], [cell.rjust(size) for cell in cells]
    return [line.ljust(size) for line in head], [cell.ljust(size) for cell in cells]


def _level(columns: Sequence[tuple[list[str], list[str]]]) -> list[list[str]]:
    """Columns with heads of one height, each on its cells."""
    height = max((len(head) for head, _ in columns), default=0)
    return [[" " * len(head[0])] * (height - len(head)) + head + cells for head, cells in columns]


def _broken(name: str, breaks: str, room: int) -> list[str]:
    """A name in lines of at most `room`, or of one of its parts where that is longer."""
    lines = [""]
    for part in re.findall(breaks, name):
        if lines[-1] and len((lines[-1] + part).rstrip()) > room:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{prefix} {name}".strip()
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: float) -> str:
    size = abs(value)
    if size >= 10:
        return f"{value:,.2f}"
    return f"{value:.4f}" if size >= 0.001 or size == 0 else f"{value:.3g}"
