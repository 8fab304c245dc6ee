"""The header of a first job: what was found in the data, and how the job goes about it.

One decision: names of the data are quoted by `repr` and then escaped, so that none can end the
docstring or be read as an escape in it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distml.data.inspect import Inspection

__all__ = ["header"]

_ROWS_TO_TRY = 5_000
_ROWS_OF_RAREST = 50
_MOST_FOUND = 30
_MOST_CLASSES = 6


def header(found: "Inspection", *, data: str, path: str, stacks: bool) -> dict[str, str]:
    """The prose of a job file.

    Args:
        found: what the data holds.
        data: where it is.
        path: where the file will be, for its commands.
        stacks: whether the learners are stacked, or vote.

    Returns:
        `title` and `header` of its docstring, and `task` for that of `job()`.

    Raises:
        Nothing.
    """
    task, label = found.label.task, found.label.name
    how = "stacked" if stacks else "put to a vote"
    entries = {
        "Data": [f"{data!r}: {found.num_rows:,} rows, {len(found.columns) + 1} columns."],
        "Label": _about_label(found),
        "Found": _about_columns(found),
        "Tested": _about_split(found),
        "Beats": [f"the best constant{_about_rule(found)}, or is worth nothing."],
        "Command": [
            f"distml run {path}",
            f"distml run {path}{_few_rows(found)} --on debug",
        ],
    }
    return {
        "title": _prose(f"{task.capitalize()} of {label!r}: four unlike learners, {how}."),
        "header": "\n".join(_prose(_entry(*entry)) for entry in entries.items() if entry[1]),
        "task": _prose(f"{task} of {label!r}"),
    }


def _few_rows(found: "Inspection") -> str:
    """An option that makes for a quick try, if few rows hold every class often enough."""
    few = max(_ROWS_TO_TRY, round(_ROWS_OF_RAREST / found.label.least_share))
    return f" --rows {few}" if 2 * few <= found.num_rows else ""


def _entry(title: str, texts: list[str]) -> str:
    return "\n".join(f"{'' if i else title:<10}{text}" for i, text in enumerate(texts))


def _prose(text: str) -> str:
    """Text for a docstring: nothing in it ends the docstring or is an escape."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _about_label(found: "Inspection") -> list[str]:
    label = found.label
    told = f"{label.num_values:,} different numbers."
    if label.classes:
        kept = sum(label.classes.values())
        shares = [f"{name!r} {count / kept:.1%}" for name, count in label.classes.items()]
        more = ", …" if len(shares) > _MOST_CLASSES else "."
        told = f"{len(shares)} classes: {', '.join(shares[:_MOST_CLASSES])}{more}"
    uneven = ["The classes are far from even: accuracy alone says little."]
    without = [f"Rows without one, left out: {label.num_unusable:,}."]
    rare = [f"Classes with too few rows to be learnt, left out: {len(label.rare)}."]
    return [
        told,
        *(uneven if label.is_imbalanced else ()),
        *(without if label.num_unusable else ()),
        *(rare if label.rare else ()),
    ]


def _about_columns(found: "Inspection") -> list[str]:
    noted = [f"{column.name!r}: {column.note}" for column in found.columns if column.note]
    more = len(noted) - _MOST_FOUND
    return [*noted[:_MOST_FOUND], *([f"… and {more} more columns"] if more > 0 else [])]


def _about_split(found: "Inspection") -> list[str]:
    time, group = found.split.time, found.split.group
    what = "a fifth of the rows of each class" if found.label.classes else "a fifth of the rows"
    latest = [f"on the latest fifth by {time!r}, as the model would be used, and"]
    hold_out = f"on {what}, chosen by a hash of the whole row."
    if group is not None:
        hold_out = f"on a fifth of the groups of {group!r}, each with all of its rows."
    return [*(latest if time is not None else ()), hold_out]


def _about_rule(found: "Inspection") -> str:
    return f" and the best single threshold ({found.rule})" if found.rule else ""
