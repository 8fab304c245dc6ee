"""A column as NumPy numbers: its family of types, its numbers, the calendar parts of its dates.

Columns are known by families (number, boolean, date, string, null), since the same data changes its
type on its way: integers with a null come from pandas as floats, a column without values has no
type at all. Refused: lists, structs, maps and binary data.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.errors import DataError

__all__ = ["PARTS", "calendar_part", "decoded", "family_of", "local_times", "to_float64"]

PARTS = {"year": 0, "month": 12, "day": 31, "weekday": 7, "hour": 24}
"""Calendar part → its period; 0 for none."""

_FAMILIES: tuple[tuple[str, Callable[[pa.DataType], bool]], ...] = (
    ("null", pt.is_null),
    ("boolean", pt.is_boolean),
    ("number", lambda t: pt.is_integer(t) or pt.is_floating(t) or pt.is_decimal(t)),
    ("number", lambda t: pt.is_time(t) or pt.is_duration(t)),
    ("date", lambda t: pt.is_date(t) or pt.is_timestamp(t)),
    ("string", lambda t: pt.is_string(t) or pt.is_large_string(t) or pt.is_string_view(t)),
)
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_EXTRACT = {
    "year": pc.year,
    "month": lambda times: pc.subtract(pc.month(times), 1),
    "day": lambda times: pc.subtract(pc.day(times), 1),
    "weekday": pc.day_of_week,
    "hour": pc.hour,
}


def family_of(name: str, kind: pa.DataType) -> str:
    """The family of a column's type.

    Raises:
        DataError: it is of none; the message names the column.
    """
    plain = kind.value_type if pt.is_dictionary(kind) else kind
    for family, accepts in _FAMILIES:
        if accepts(plain):
            return family
    raise DataError(
        f"column {name!r} has type {kind}, which cannot be encoded; convert it, or drop it: "
        f"kinds={{{name!r}: 'drop'}}"
    )


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without dictionary encoding."""
    return column.cast(column.type.value_type) if pt.is_dictionary(column.type) else column


def to_float64(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Numbers, booleans, times and durations (in seconds) as float64, shape (n,); null is NaN."""
    column = decoded(column)
    if pt.is_null(column.type):
        return np.full(len(column), np.nan)
    if pt.is_time(column.type) or pt.is_duration(column.type):
        whole = pa.int32() if column.type.bit_width == 32 else pa.int64()
        return to_float64(column.cast(whole)) * _SECONDS[column.type.unit]
    # Integers beyond 2**53 are rounded: the result becomes float32 anyway.
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())


def local_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates and timestamps as the clock shows them: a zone is applied and left out."""
    times = decoded(column)
    zone = times.type.tz if pt.is_timestamp(times.type) else None
    if zone is None:
        return times
    if zone in ("UTC", "Etc/UTC", "+00:00"):  # without the search through the zone's history
        return times.cast(pa.timestamp(times.type.unit))
    return pc.local_timestamp(times)


def calendar_part(times: pa.ChunkedArray, part: str) -> npt.NDArray[np.float64]:
    """One calendar part of `local_times` as float64, shape (n,); null is NaN.

    Months and days count from 0, weekdays from Monday; dates have hour 0.
    """
    if pt.is_null(times.type):
        return np.full(len(times), np.nan)
    if part == "hour" and not pt.is_timestamp(times.type):
        times = times.cast(pa.timestamp("s"))
    return to_float64(_EXTRACT[part](times))
