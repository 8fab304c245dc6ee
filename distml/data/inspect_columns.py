"""One column of a dataset: what it is, whether to learn from it, and if not, why.

One decision: every column gets one role and, where the role is not plain, the reason in words. It
is judged by a sample of rows, so a finding says what was seen, not what is certain.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.data.inspect_leaks import Target, leak, numbers
from distml.data.values import decoded, family_of
from distml.errors import DataError

__all__ = ["Column", "Role", "judge"]

Role = Literal["feature", "empty", "constant", "identifier", "group", "leak", "unfit"]
"""What becomes of a column: all but a `feature` are dropped before the fit."""

_WORDS_OF_TEXT = 4
_MANY_VALUES = 256
_LEAST_GROUPS = 20
_NAME_OF_ID = re.compile(
    r"((^|[\W_])(?i:id|uuid|guid)|[a-z]I[dD])$|(?i:^$|^unnamed\b|(^|[\W_])(key|index|rownames?)$)"
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_OF_IDS = frozenset({"guid", "id", "key", "nr", "number", "uuid"})
_OF_GROUPS = frozenset(
    {
        "account", "client", "customer", "device", "employee", "household", "member",
        "participant", "patient", "person", "player", "respondent", "session", "student",
        "subject", "user", "worker",
    }
)  # fmt: skip
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
_OTHER_DATE = (
    r"^(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./]\d{1,2}[./]\d{1,2})([T ]\d{1,2}:\d{2}.*)?$"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column, as the sample shows it."""

    name: str
    """Its name."""
    type: str
    """Its Arrow type."""
    family: str
    """`number`, `boolean`, `date`, `string`, `null`, or `nested` for what cannot be encoded."""
    nulls: int
    """Nulls and NaN in the sample."""
    distinct: int
    """Different values in the sample, without null; 0 of nested types."""
    role: Role = "feature"
    """What becomes of it."""
    note: str = ""
    """Why, or what is worth knowing of it."""


def judge(name: str, values: pa.ChunkedArray, target: Target) -> Column:
    """Ask what speaks against learning from a column, the plainest first.

    Args:
        name: Its name.
        values: Its values in a sample of rows.
        target: The label of the same rows.
    """
    column = _facts(name, values)
    rows = len(values)
    if column.family == "nested":
        return replace(column, role="unfit", note=_why_nested(values.type))
    if column.nulls == rows:
        return replace(column, role="empty", note="no value")
    if column.distinct == 1 and not column.nulls:
        return replace(column, role="constant", note="always the same value")
    if infinite := _num_infinite(values):
        return replace(column, role="unfit", note=f"{infinite} infinite values; replace them")
    if column.family == "string" and (form := _form_of_dates(values)):
        return replace(column, role="unfit", note=f"{form}; convert them to learn from them")
    if _is_identifier(column, values, rows):
        return replace(column, role="identifier", note="another value in every row")
    if (words := leak(values, target)) is not None:
        return replace(column, role="leak", note=words)
    if _is_group(column, rows):
        return replace(column, role="group", note=f"names {column.distinct:,} groups of rows")
    return replace(column, note=_worth_knowing(column, values, rows))


def _facts(name: str, values: pa.ChunkedArray) -> Column:
    plain = decoded(values)
    family = _family(name, plain.type)
    if family in ("nested", "null"):
        return Column(
            name=name, type=str(plain.type), family=family, nulls=plain.null_count, distinct=0
        )
    if pt.is_floating(plain.type):
        plain = pc.if_else(pc.is_nan(plain), None, plain)
    return Column(
        name=name,
        type=str(plain.type),
        family=family,
        nulls=plain.null_count,
        distinct=pc.count_distinct(plain, mode="only_valid").as_py(),
    )


def _family(name: str, kind: pa.DataType) -> str:
    try:
        return family_of(name, kind)
    except DataError:
        return "nested"


def _num_infinite(values: pa.ChunkedArray) -> int:
    if not pt.is_floating(values.type):
        return 0
    return int(pc.sum(pc.is_inf(values)).as_py() or 0)


def _is_identifier(column: Column, values: pa.ChunkedArray, rows: int) -> bool:
    """Text or whole numbers that never repeat, unless they read as prose or measure something."""
    named = _NAME_OF_ID.search(column.name) is not None
    if named and column.distinct > 0.5 * rows and column.family in ("number", "string"):
        return True
    if column.distinct < rows - column.nulls or column.distinct < _LEAST_GROUPS:
        return False
    if column.family == "string":
        return not _is_prose(values)
    return pt.is_integer(values.type) and _is_counted_up(values)


def _is_prose(values: pa.ChunkedArray) -> bool:
    """Whether text has the words of sentences, as the encoder sees it."""
    words = pc.count_substring_regex(pc.drop_null(decoded(values)), r"\S+")
    return (pc.mean(words).as_py() or 0) >= _WORDS_OF_TEXT


def _is_counted_up(values: pa.ChunkedArray) -> bool:
    """Whether whole numbers count the rows: from row to row they grow by about the same."""
    steps = np.diff(numbers(values))
    return bool(steps.min() > 0 and steps.max() <= 2 * np.median(steps))


def _is_group(column: Column, rows: int) -> bool:
    """Whether a column says whose a row is: of each, there are several."""
    if column.family not in ("number", "string") or column.type in ("double", "float"):
        return False
    words = {word.lower().rstrip("s") for word in _WORDS.findall(column.name)} - _OF_IDS
    named = bool(words) and words <= _OF_GROUPS
    return named and _LEAST_GROUPS <= column.distinct <= rows // 2


def _worth_knowing(column: Column, values: pa.ChunkedArray, rows: int) -> str:
    notes = []
    if column.family == "string":
        if 2 * column.distinct >= rows - column.nulls and _is_prose(values):
            notes.append("text")
        elif column.distinct > _MANY_VALUES:
            notes.append(f"{column.distinct:,} values, hashed")
    elif column.type.startswith(("int", "uint")) and _NAME_OF_ID.search(column.name):
        notes.append("an id that repeats: a category, or a group to split by?")
    if column.nulls:
        notes.append(f"{column.nulls / rows:.1%} missing")
    return ", ".join(notes)


def _form_of_dates(values: pa.ChunkedArray) -> str:
    """What kind of dates all texts are; empty if they are none."""
    texts = pc.drop_null(decoded(values))
    for pattern, form in (
        (_ISO_DATE, "dates as text"),
        (_OTHER_DATE, "dates in another form than 2020-12-31"),
    ):
        if pc.all(pc.match_substring_regex(texts, pattern)).as_py():
            return form
    return ""


def _why_nested(kind: pa.DataType) -> str:
    if pt.is_binary(kind) or pt.is_large_binary(kind):
        return "bytes, which cannot be encoded; in a CSV: text that is not UTF-8"
    return f"a {kind}, which cannot be encoded"
