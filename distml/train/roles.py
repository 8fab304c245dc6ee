"""What becomes of each column of a table, decided from the types and the first rows.

One decision: the type decides, and what a user says overrides it. Only text is told from categories
by looking at rows: those of the first table, as text is not counted in the pass over all. Refused,
naming the column and how to drop it: types that no network takes, and two columns where a network
reads one.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.types as pt

from distml.data.statistics import Summary
from distml.data.tables import unknown_column
from distml.data.values import family_of
from distml.errors import DataError, UserError
from distml.train.nested import is_list, type_of_item

__all__ = ["Column", "Options", "Role", "checked", "column_of", "roles_of"]

Role = Literal["number", "date", "category", "text", "array", "sequence", "tokens"]

_WORDS_OF_TEXT = 4
_ROWS_TO_LOOK_AT = 10_000
_BY_FAMILY: Mapping[str, Role] = {
    "number": "number",
    "boolean": "number",
    "null": "number",
    "date": "date",
    "string": "category",
}
_SAME = {"boolean": "number"}


class Options(Protocol):
    """What a user says of columns; see `Inputs`."""

    text: Sequence[str] | None
    tokens: Sequence[str] | None
    categories: Sequence[str] | None
    arrays: Mapping[str, Sequence[int]] | None
    drop: Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column and how it is read."""

    name: str
    """Its name."""
    role: Role
    """How it is read."""
    family: str
    """What it is: a family of `values.family_of`, or `list`."""
    size: tuple[int, ...] = ()
    """Of an array its dimensions, of a sequence (channels,)."""


def roles_of(table: pa.Table, options: Options) -> list[Column]:
    """How each column is read, in the order of the table.

    Args:
        table: the first rows.
        options: what the user says of columns.

    Raises:
        DataError: a column has a type that no network takes.
        UserError: `options` names a column that is not there, or asks for what cannot be.
    """
    arrays = dict(options.arrays or {})
    wanted: dict[str, Role] = dict.fromkeys(arrays, "array")
    for role, names in (
        ("text", options.text),
        ("tokens", options.tokens),
        ("category", options.categories),
    ):
        wanted.update(dict.fromkeys(names or (), role))  # type: ignore[arg-type]
    for name in itertools.chain(wanted, options.drop or ()):
        if name not in table.column_names:
            raise UserError(unknown_column(name, table.column_names, where="Inputs"))
    kept = [name for name in table.column_names if name not in (options.drop or ())]
    head = table.slice(0, _ROWS_TO_LOOK_AT)
    columns = [_column(name, head, wanted.get(name), arrays.get(name), options) for name in kept]
    for roles in (("array",), ("tokens", "text")):
        _check_one(columns, roles)
    return columns


def checked(table: pa.Table, column: Column) -> pa.ChunkedArray:
    """A column of a table, which has to be what it was.

    Raises:
        DataError: it is missing, or of another type.
    """
    found = column_of(table, column.name)
    if not _is_same(column, found.type):
        was = column.role if column.family == "list" else f"a {column.role} of {column.family}s"
        raise DataError(
            f"column {column.name!r} was {was} where the network was fitted and has type "
            f"{found.type} now; convert it back"
        )
    return found


def _is_same(column: Column, kind: pa.DataType) -> bool:
    """Whether a type is still what a column was read as."""
    family = _family(column.name, kind)
    if family == "null":  # a column without any value is one of missing values
        return column.family != "list"
    if column.role == "sequence" and column.size != _size(kind):
        return False
    was = "number" if column.family == "null" else column.family
    return _SAME.get(family, family) == _SAME.get(was, was)


def column_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column by name.

    Raises:
        DataError: there is none.
    """
    if name not in table.column_names:
        raise DataError(unknown_column(name, table.column_names, where="table"))
    return table[name]


def _column(
    name: str,
    head: pa.Table,
    wanted: Role | None,
    size: Sequence[int] | None,
    options: Options,
) -> Column:
    kind = head.schema.field(name).type
    family = _family(name, kind)
    role = wanted or _default(name, head[name], family, detect_text=options.text is None)
    _check_wanted(name, kind, family, role)
    if size is None:
        size = _size(kind) if role in ("array", "sequence") else ()
    return Column(name=name, role=role, family=family, size=tuple(int(side) for side in size))


def _family(name: str, kind: pa.DataType) -> str:
    """`list`, or the family of a column of single values.

    Raises:
        DataError: no network takes such values.
    """
    plain = _storage(kind)
    if is_list(plain):
        item = type_of_item(plain)
        # Lists of lists of varying length are no steps of one width.
        depth = _depth_of_varying(plain)
        if _is_numeric(item) and depth <= 1:
            return "list"
    else:
        try:
            return family_of(name, plain)
        except DataError:
            pass
    raise DataError(
        f"column {name!r} has type {kind}, which no network takes; convert it, or drop it: "
        f"drop=[{name!r}]"
    )


def _default(name: str, head: pa.ChunkedArray, family: str, *, detect_text: bool) -> Role:
    if family == "list":
        return "array" if _depth_of_varying(_storage(head.type)) == 0 else "sequence"
    if pt.is_dictionary(head.type):
        return "category"
    role = _BY_FAMILY[family]
    return "text" if role == "category" and detect_text and _is_text(name, head) else role


def _is_text(name: str, head: pa.ChunkedArray) -> bool:
    """Whether strings have four words on average and are different in at least half of the rows."""
    column = Summary.of(pa.table({name: head})).columns[name]
    many = column.counts is None or 2 * len(column.counts) >= column.present
    return many and column.present > 0 and column.words >= _WORDS_OF_TEXT * column.present


def _check_wanted(name: str, kind: pa.DataType, family: str, role: Role) -> None:
    """Whether a column can be what is asked for.

    Raises:
        UserError: it cannot.
    """
    fits = {
        "text": family in ("string", "null"),
        "tokens": family == "list" and pt.is_integer(type_of_item(kind)),
        "array": family == "list",
        "category": family != "list",
    }
    if not fits.get(role, True):
        raise UserError(f"column {name!r} has type {kind} and cannot be read as {role}")


def _check_one(columns: Iterable[Column], roles: Collection[str]) -> None:
    found = [column for column in columns if column.role in roles]
    # Columns of text are joined.
    if len(found) > 1 and {column.role for column in found} != {"text"}:
        listed = " and ".join(f"{column.name!r} ({column.role})" for column in found)
        raise UserError(
            f"columns {listed}: a network reads one of them; drop the others: drop=[...]"
        )


def _size(kind: pa.DataType) -> tuple[int, ...]:
    """Dimensions of lists of fixed size; of a sequence its channels."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return tuple(kind.shape)
    if pt.is_fixed_size_list(kind):
        return (kind.list_size, *_size(kind.value_type))
    if is_list(kind):
        return _size(kind.value_type) or (1,)
    return ()


def _depth_of_varying(kind: pa.DataType) -> int:
    """How many levels of lists differ in length, and of fixed ones inside such ones beyond one."""
    if not is_list(kind):
        return 0
    if pt.is_fixed_size_list(kind):
        # A fixed list of varying ones is neither an array nor a sequence.
        return 2 * _depth_of_varying(kind.value_type)
    inner = kind.value_type
    flat = not is_list(inner) or (pt.is_fixed_size_list(inner) and not is_list(inner.value_type))
    return 1 if flat else 2


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_numeric(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind) or pt.is_decimal(kind)
