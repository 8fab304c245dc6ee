"""What is said of the data: every type of column, in JSON."""

import datetime
import decimal
import json

import numpy as np
import pyarrow as pa
import pytest

from distml.fit.summary import describe_data
from distml.fit.tables import Labels, Parts
from distml.runs.strict_json import dumps

HOUR = datetime.timedelta(hours=1)
START = datetime.datetime(2020, 1, 1)

COLUMNS = {
    "integers": ([3, 1, None, 3], "int64", 1, 2, 1, 3, 7 / 3, [[3, 2], [1, 1]]),
    "nan": ([0.5, float("nan"), None, 0.5], "double", 2, 1, 0.5, 0.5, 0.5, [[0.5, 2]]),
    "text": (["b", "a", "b", None], "string", 1, 2, None, None, None, [["b", 2], ["a", 1]]),
    "flags": ([True, False, None, True], "bool", 1, 2, None, None, None, [[True, 2], [False, 1]]),
    "decimals": (
        [decimal.Decimal("0.25"), decimal.Decimal("0.75")] * 2,
        "decimal128(2, 2)", 0, 2, 0.25, 0.75, 0.5, [[0.25, 2], [0.75, 2]],
    ),
    "moments": (
        [START, START + HOUR, START, None],
        "timestamp[us]", 1, 2, "2020-01-01T00:00:00", "2020-01-01T01:00:00", None,
        [["2020-01-01T00:00:00", 2], ["2020-01-01T01:00:00", 1]],
    ),
    "spans": (
        [HOUR, HOUR, None, None],
        "duration[us]", 2, 1, 3_600_000_000, 3_600_000_000, 3.6e9, [[3_600_000_000, 2]],
    ),
    "nothing": ([None] * 4, "null", 4, 0, None, None, None, []),
    "lists": ([[1], [2], None, [1]], "list<item: int64>", 1, None, None, None, None, []),
}  # fmt: skip


def parts(column, y=(0, 1, 0, 1), classes=("a", "b")):
    labels = Labels(y=np.array(y), classes=None if classes is None else np.array(classes))
    rows = {"train": np.array([0, 1, 2]), "new": np.array([3])}
    return Parts(table=pa.table({"c": column}), labels=labels, rows=rows)


@pytest.mark.parametrize(("values", "kind", *"ndlhmt"), COLUMNS.values(), ids=COLUMNS)
def test_any_column_is_described(values, kind, n, d, l, h, m, t):  # noqa: E741
    (column,) = json.loads(dumps(describe_data(parts(pa.array(values)), ["c"])))["columns"]
    assert column.pop("mean") == (None if m is None else pytest.approx(m))
    assert column.pop("type").replace("element", "item") == kind
    assert column == {"name": "c", "nulls": n, "distinct": d, "min": l, "max": h, "top": t}


def test_an_encoded_column_is_described_by_its_values():
    encoded = parts(pa.array(["x", "y", "x", "x"]).dictionary_encode())
    assert describe_data(encoded, ["c"])["columns"][0]["top"] == [["x", 3], ["y", 1]]


def test_labels_are_counted_in_each_part():
    described = describe_data(parts(pa.array([1, 2, 3, 4])), [])
    assert described["rows"] == {"train": 3, "new": 1}
    assert described["label"]["train"] == {"counts": {"a": 2, "b": 1}}
    assert described["label"]["new"] == {"counts": {"a": 0, "b": 1}}


def test_numbers_to_predict_have_moments_and_a_histogram():
    given = parts(pa.array([1, 2, 3, 4]), y=(1.0, 2.0, 6.0, 9.0), classes=None)
    label = describe_data(given, [])["label"]["train"]
    expected = {"mean": 3.0, "std": np.std([1, 2, 6]), "min": 1.0, "max": 6.0}
    assert {name: label[name] for name in expected} == pytest.approx(expected)
    assert sum(label["histogram"]["counts"]) == 3
