"""Columns that are written in folder names: `year=2013/month=01/part-0.parquet`.

A partition column is int64 if all of its values are written as integers, otherwise string; Hive's
default name for null is null. Refused: files of one dataset whose folders have different keys.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

import pyarrow as pa

from distml.errors import DataError

__all__ = ["partition_schema", "partition_values"]

_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"-?\d{1,18}")


def partition_schema(files: Sequence[str]) -> pa.Schema:
    """The partition columns of files, given by their paths relative to the dataset's root.

    Raises:
        DataError: a file lies below other keys than the first one.
    """
    keys = [_keys(file) for file in files]
    for file, found in zip(files, keys, strict=True):
        if list(found) != list(keys[0]):
            raise DataError(
                f"{file}: its folders give the columns {list(found)}, but {files[0]} has "
                f"{list(keys[0])}; open one level of partitions at a time"
            )
    return pa.schema([(name, _type({found[name] for found in keys})) for name in keys[0]])


def partition_values(file: str, schema: pa.Schema) -> dict[str, int | str | None]:
    """The values that a file's folders give to the columns of `schema`."""
    keys = _keys(file)
    return {
        field.name: None
        if keys[field.name] == _NULL
        else int(keys[field.name])
        if field.type == pa.int64()
        else keys[field.name]
        for field in schema
    }


def _keys(file: str) -> dict[str, str]:
    parts = (part.partition("=") for part in file.split("/")[:-1])
    return {key: unquote(value) for key, mark, value in parts if mark}


def _type(values: set[str]) -> pa.DataType:
    written = values - {_NULL}
    return pa.int64() if all(_INTEGER.fullmatch(value) for value in written) else pa.string()
