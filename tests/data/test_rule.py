import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import evaluate_rule, rule_columns
from distml.errors import UserError

TABLE = pa.table(
    {
        "hour": [5, 17, 20, None],
        "gust": [30.0, 26.0, None, 40.0],
        "origin": pa.array(["JFK", "LGA", None, "JFK"]).dictionary_encode(),
        "rain": [True, False, None, True],
        "day": pa.array([dt.date(2013, 1, i) for i in (1, 2, 3, 4)]),
        "at": pa.array(
            [dt.datetime(2013, 1, i, 12) for i in (1, 2, 3, 4)], pa.timestamp("us", tz="UTC")
        ),
    }
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("hour >= 17 and gust > 25", [0, 1, 0, 0]),
        ("hour >= 17 or gust > 25", [1, 1, 1, 1]),
        ("not hour >= 17", [1, 0, 0, 0]),
        ("5 < hour < 20", [0, 1, 0, 0]),
        ("hour == 5", [1, 0, 0, 0]),
        ("hour != 5", [0, 1, 1, 0]),
        ("origin == 'JFK'", [1, 0, 0, 1]),
        ("origin in ['LGA', 'EWR']", [0, 1, 0, 0]),
        ("origin not in ('LGA',)", [1, 0, 0, 1]),
        ("hour in [5, 20]", [1, 0, 1, 0]),
        ("rain", [1, 0, 0, 1]),
        ("not rain", [0, 1, 0, 0]),
        ("rain == True", [1, 0, 0, 1]),
        ("origin is null", [0, 0, 1, 0]),
        ("origin is not null and rain", [1, 0, 0, 1]),
        ("gust is None", [0, 0, 1, 0]),
        ("hour * 2 + 1 > gust", [0, 1, 0, 0]),
        ("-hour <= -(10 + 7)", [0, 1, 1, 0]),
        ("hour / 2 == 8.5", [0, 1, 0, 0]),
        ("day >= '2013-01-03'", [0, 0, 1, 1]),
        ("'2013-01-03' > day", [1, 1, 0, 0]),
        ("at < '2013-01-02T13:00:00'", [1, 1, 0, 0]),
    ],
)
def test_rule_is_evaluated(rule, expected):
    result = evaluate_rule(rule, TABLE)
    assert result.dtype == np.bool_
    assert result.tolist() == [bool(value) for value in expected]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("hours > 3", "did you mean 'hour'"),
        ("hour >", "cannot be parsed"),
        ("hour = 3", "cannot be parsed"),
        ("", "cannot be parsed"),
        ("__import__('os').system('true')", "Call"),
        ("hour.real > 1", "Attribute"),
        ("hour[0] > 1", "Subscript"),
        ("(lambda: 1) == hour", "Lambda"),
        ("[h for h in hour]", "ListComp"),
        ("hour if rain else gust", "IfExp"),
        ("(x := hour) > 1", "NamedExpr"),
        ("f'{hour}' == 'a'", "JoinedStr"),
        ("hour ** 2 > 1", "not allowed"),
        ("hour % 2 == 1", "not allowed"),
        ("~hour > 1", "~ is not allowed"),
        ("hour + 1", "not true or false"),
        ("hour and rain", "hour is not true or false"),
        ("True", "not true or false"),
        ("hour > 'late'", "cannot evaluate"),
        ("day > 'soon'", "cannot evaluate"),
        ("origin + 1 > 2", "is not a number"),
        ("hour in origin", "needs a list"),
        ("hour in []", "needs a list"),
        ("hour is 5", "null only"),
        ("hour > 1j", "not a number or a text"),
        ("hour > 1 and " * 500 + "rain", "too long"),
    ],
)
def test_everything_else_is_refused_in_one_line(rule, message):
    with pytest.raises(UserError, match=message) as caught:
        evaluate_rule(rule, TABLE)
    assert "\n" not in str(caught.value)


def test_columns_of_a_rule():
    assert rule_columns("gust > 1 and hour in [1] or gust is null") == ("gust", "hour")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_evaluated_or_refused(text):
    try:
        result = evaluate_rule(text, TABLE)
    except UserError:
        return
    assert result.shape == (4,)
