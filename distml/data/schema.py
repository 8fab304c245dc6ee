"""The one schema that all files of a dataset agree on.

Columns have the types they are stored with, without the encodings that writers choose for
themselves (dictionaries, large strings). A column without any value in one file takes its type from
the others, and CSV, which has no types, may mix integers and decimals. Refused: a column that is
missing from a file or has another type there; the message names the file.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.types as pt

from distml.data.tables import unknown_column
from distml.errors import DataError

__all__ = ["one_schema"]


def one_schema(
    schemas: Mapping[str, pa.Schema],
    columns: Sequence[str] | None = None,
    *,
    untyped: bool = False,
) -> pa.Schema:
    """Find the schema that all files agree on.

    Args:
        schemas: file → its schema; the first gives the order of the columns.
        columns: the columns that are wanted; the others may differ.
        untyped: the format has no types, so integers and decimals are the same.

    Raises:
        DataError: an unknown column, or files that differ.
    """
    (first, known), *others = schemas.items()
    for name in columns or ():
        if name not in known.names:
            raise DataError(unknown_column(name, known.names, where=first))
    agreed = {f.name: _plain(f.type) for f in known if columns is None or f.name in columns}
    for file, schema in others:
        _check_names(first, list(agreed), file, schema.names, columns)
        for name, kind in agreed.items():
            other = _plain(schema.field(name).type)
            agreed[name] = _common(kind, other, untyped) or _differ(name, kind, first, other, file)
    return pa.schema(agreed.items())


def _plain(kind: pa.DataType) -> pa.DataType:
    if pt.is_dictionary(kind):
        return _plain(kind.value_type)
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    return pa.binary() if pt.is_large_binary(kind) or pt.is_binary_view(kind) else kind


def _check_names(
    first: str, names: Sequence[str], file: str, there: Sequence[str], columns: Sequence[str] | None
) -> None:
    for name in names:
        if name not in there:
            raise _missing(name, file, first)
    for name in there:
        if columns is None and name not in names:
            raise _missing(name, first, file)


def _common(one: pa.DataType, other: pa.DataType, untyped: bool) -> pa.DataType | None:
    if one == other or pt.is_null(other):
        return one
    if pt.is_null(one):
        return other
    return pa.float64() if untyped and {one, other} == {pa.int64(), pa.float64()} else None


def _differ(name: str, kind: pa.DataType, first: str, other: pa.DataType, file: str) -> pa.DataType:
    raise DataError(
        f"{file}: column {name!r} has type {other}, but {kind} in {first}; write both with one type"
    )


def _missing(name: str, file: str, other: str) -> DataError:
    return DataError(
        f"{file}: column {name!r} is missing, but {other} has it; add it, or choose columns "
        "without it"
    )
