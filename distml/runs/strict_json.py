"""JSON that every parser reads: NaN and infinities become null, non-ASCII text stays as it is.

The one decision: what is not JSON is turned into the nearest JSON value (numpy scalars and arrays,
tuples, sets, paths, dates), and into `repr` at last. A record or an event must never be lost
because one field of it was unusual.
"""

import datetime
import enum
import json
import math
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any

__all__ = ["dumps", "to_json"]


def dumps(value: object, *, indent: int | None = None) -> str:
    """Write `value` as strict JSON.

    Args:
        value: anything; see `to_json` for what becomes of it.
        indent: spaces per level, or `None` for a single line.

    Returns:
        JSON without NaN or Infinity, as text.

    Raises:
        RecursionError: `value` contains itself.
    """
    return json.dumps(to_json(value), ensure_ascii=False, allow_nan=False, indent=indent)


def to_json(value: Any) -> Any:
    """Turn a value into dicts, lists, text, finite numbers, booleans and `None`.

    Args:
        value: anything. Numbers that JSON lacks become `None`; dict keys become text.

    Returns:
        The nearest JSON value; `repr(value)` when there is none.

    Raises:
        RecursionError: `value` contains itself.
    """
    if isinstance(value, enum.Enum):
        return to_json(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Set):
        return sorted((to_json(item) for item in value), key=repr)
    return _foreign(value)


def _key(key: Any) -> str:
    plain = to_json(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _foreign(value: Any) -> Any:
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    # numpy scalars and arrays, without importing numpy: both know their Python equivalent.
    tolist = getattr(value, "tolist", None)
    if callable(tolist) and type(value).__module__.partition(".")[0] == "numpy":
        return to_json(tolist())
    return repr(value)
