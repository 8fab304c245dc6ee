import datetime as dt
import decimal
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from distml.data.values import PARTS, calendar_part, family_of, local_times, to_float64
from distml.errors import DataError


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param(pa.array([1, None], pa.int8()), [1.0, math.nan], id="integers"),
        pytest.param(pa.array([2**53 + 1]), [2.0**53], id="beyond float64"),
        pytest.param(pa.array([True, None, False]), [1.0, math.nan, 0.0], id="booleans"),
        pytest.param(pa.array([1.5, None, math.nan]), [1.5, math.nan, math.nan], id="floats"),
        pytest.param(pa.array([1.5], pa.float16()), [1.5], id="half"),
        pytest.param(pa.array([decimal.Decimal("1.25"), None]), [1.25, math.nan], id="decimals"),
        pytest.param(
            pa.array([dt.time(1, 0, 5), None], pa.time32("s")), [3605.0, math.nan], id="time32"
        ),
        pytest.param(pa.array([dt.time(0, 0, 1)], pa.time64("ns")), [1.0], id="time64"),
        pytest.param(pa.array([dt.timedelta(minutes=1)], pa.duration("ms")), [60.0], id="duration"),
        pytest.param(
            pa.array([3, None, 3]).dictionary_encode(), [3.0, math.nan, 3.0], id="dictionary"
        ),
        pytest.param(pa.nulls(1), [math.nan], id="nulls"),
    ],
)
def test_numbers_become_float64(array, expected):
    values = to_float64(pa.chunked_array([array]))
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_calendar_parts_are_those_of_pandas(zone):
    rng = np.random.default_rng(0)
    instants = pd.Series(pd.to_datetime(rng.integers(0, 2**31, 500), unit="s"))
    judge = (instants if zone is None else instants.dt.tz_localize("UTC").dt.tz_convert(zone)).dt
    times = local_times(pa.chunked_array([pa.array(instants).cast(pa.timestamp("s", tz=zone))]))
    expected = {
        "year": judge.year,
        "month": judge.month - 1,
        "day": judge.day - 1,
        "weekday": judge.day_of_week,
        "hour": judge.hour,
    }
    for part in PARTS:
        np.testing.assert_array_equal(calendar_part(times, part), expected[part])


def test_parts_of_missing_dates_are_nan_and_dates_have_hour_zero():
    dates = pa.chunked_array([pa.array([dt.date(2020, 2, 29), None])])
    np.testing.assert_array_equal(calendar_part(local_times(dates), "day"), [28, math.nan])
    np.testing.assert_array_equal(calendar_part(local_times(dates), "hour"), [0, math.nan])
    np.testing.assert_array_equal(calendar_part(pa.chunked_array([pa.nulls(1)]), "day"), [math.nan])


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.struct([]), pa.binary(), pa.month_day_nano_interval()], ids=str
)
def test_other_types_are_refused_by_name(kind):
    with pytest.raises(DataError, match=r"'c'.*cannot be encoded"):
        family_of("c", kind)
