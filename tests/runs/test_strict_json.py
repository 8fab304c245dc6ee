import datetime
import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.runs.record import RunStatus
from distml.runs.strict_json import dumps


def refuse(name: str) -> None:
    raise ValueError(f"not JSON: {name}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(float("nan"), None, id="nan"),
        pytest.param([1.5, float("inf")], [1.5, None], id="inf-inside"),
        pytest.param(np.float32("nan"), None, id="numpy-nan"),
        pytest.param(np.float64("nan"), None, id="numpy-nan-that-is-a-float"),
        pytest.param(np.int8(3), 3, id="numpy-int"),
        pytest.param(np.array([[1.0, np.nan]]), [[1.0, None]], id="numpy-array"),
        pytest.param({1: "a", None: "b"}, {"1": "a", "null": "b"}, id="keys-that-are-not-text"),
        pytest.param({"b", "a"}, ["a", "b"], id="set"),
        pytest.param(RunStatus.FAILED, "FAILED", id="enum"),
        pytest.param(PurePosixPath("a/b"), "a/b", id="path"),
        pytest.param(datetime.date(2020, 1, 2), "2020-01-02", id="date"),
        pytest.param(b"x", "b'x'", id="anything-else"),
    ],
)
def test_what_json_lacks_becomes_the_nearest_value(value: object, expected: object) -> None:
    assert json.loads(dumps(value), parse_constant=refuse) == expected


def test_text_stays_readable() -> None:
    assert dumps("Größe") == '"Größe"'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_values_come_back_as_they_were(value: object) -> None:
    assert json.loads(dumps(value), parse_constant=refuse) == value
