"""What differs between two runs in how they came to be: parameters, code, data, split, versions.

The one decision: every difference is one plain row (area, name, the two values), found by walking
the two records side by side, so that a field added to the record is compared without a word here.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distml.runs.record import RunRecord

__all__ = ["Difference", "at", "code_diff", "differences", "same_rows"]

_CONTEXT_LINES = 2
_DETAILS = ("data", "rows", "split", "features", "rule")
_FIELDS = ("seed", "git", "versions", "resources", "host", "launcher")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that is not the same in both runs."""

    area: str
    """`parameters`, `data`, `rows`, `split`, `features`, `seed`, `git`, `versions`, …"""
    name: str
    """Which of them, such as `sklearn`; empty where there is only one."""
    a: Any
    """Its value in A; `None` where A has none. Of two lists, what A has alone."""
    b: Any
    """Its value in B."""


def differences(a: RunRecord, b: RunRecord) -> Iterator[Difference]:
    """Walk two records side by side.

    Args:
        a: one run.
        b: the other.

    Yields:
        What is not the same, what weighs most first.

    Raises:
        Nothing.
    """
    for area, one, other in _areas(a, b):
        flat_one, flat_other = dict(_flat(one)), dict(_flat(other))
        for name in dict.fromkeys([*flat_one, *flat_other]):
            left, right = flat_one.get(name), flat_other.get(name)
            if left != right:
                left, right = _apart(left, right)
                yield Difference(area=area, name=name, a=left, b=right)


def code_diff(a: RunRecord, b: RunRecord, source_a: str, source_b: str) -> str:
    """The unified diff of two job files.

    Args:
        a: the run of the first.
        b: the run of the second.
        source_a: text of the first; empty if it is not known.
        source_b: text of the second.

    Returns:
        Lines as `diff -u` writes them; empty if the texts are equal, or one is not known.

    Raises:
        Nothing.
    """
    if not source_a or not source_b:
        return ""
    lines = difflib.unified_diff(
        source_a.splitlines(),
        source_b.splitlines(),
        f"{a.run_id}/{a.job_source}",
        f"{b.run_id}/{b.job_source}",
        lineterm="",
        n=_CONTEXT_LINES,
    )
    return "\n".join(lines)


def same_rows(a: RunRecord, b: RunRecord) -> bool | None:
    """Whether two runs were tested on the same rows.

    Args:
        a: one run.
        b: the other.

    Returns:
        True for the same data, the same split and the same seed (rows may be drawn by it); False
        for other data or another split; `None` if it is not known.

    Raises:
        Nothing.
    """
    one, other = ([at(r.details, "data", "fingerprint"), r.details.get("split")] for r in (a, b))
    if None in one or None in other:
        return None
    if one != other or a.details.get("rows") != b.details.get("rows"):
        return False
    return True if a.seed == b.seed else None


def at(values: Any, *names: str) -> Any:
    """The value at a path of names in nested mappings.

    Args:
        values: the outermost.
        names: the path.

    Returns:
        The value; `None` if there is none.

    Raises:
        Nothing.
    """
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _areas(a: RunRecord, b: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    yield "parameters", a.parameters, b.parameters
    for name in _DETAILS:
        yield name, a.details.get(name), b.details.get(name)
    for name in _FIELDS:
        yield name, getattr(a, name), getattr(b, name)


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path; a list of named mappings, such as a split, by their names."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _flat(value, f"{prefix} {name}".strip())
    elif _is_named(values):
        for value in values:
            rest = {name: item for name, item in value.items() if name != "name"}
            yield from _flat(rest, f"{prefix} {value['name']}".strip())
    else:
        yield prefix, list(values) if isinstance(values, tuple) else values


def _is_named(values: Any) -> bool:
    if not isinstance(values, list | tuple) or not values:
        return False
    return all(isinstance(value, Mapping) and "name" in value for value in values)


def _apart(left: Any, right: Any) -> tuple[Any, Any]:
    """Of two lists, such as the columns, what each has alone; a mere other order stays."""
    if not (isinstance(left, list) and isinstance(right, list)):
        return left, right
    alone = [v for v in left if v not in right], [v for v in right if v not in left]
    return alone if any(alone) else (left, right)
