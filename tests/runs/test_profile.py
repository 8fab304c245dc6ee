import datetime
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.runs.profile import OTHER, profile

numbers = st.floats(-1e9, 1e9).map(lambda x: round(x, 3))


@given(st.lists(st.one_of(st.none(), numbers), min_size=1, max_size=300))
def test_numbers_become_deciles_with_their_shares(values):
    column = profile(pa.table({"x": pa.array(values, pa.float64())}))["columns"]["x"]
    known = np.sort([value for value in values if value is not None])
    assert column["nulls"] == pytest.approx(1 - len(known) / len(values))
    if not len(known):
        assert column["edges"] == column["sample"] == []
        return
    np.testing.assert_allclose(
        column["edges"], np.unique(np.quantile(known, np.linspace(0, 1, 11)))
    )
    edges = column["edges"]
    if len(edges) > 1:
        # pandas cuts as we do: left open, right closed, the first closed on both sides
        bins = pd.cut(known, edges, include_lowest=True)
        expected = bins.value_counts().to_numpy() / len(known)
        np.testing.assert_allclose(column["shares"], expected)
    assert sum(column["shares"]) == pytest.approx(1)
    assert column["sample"] == known.tolist()


def test_a_large_column_keeps_a_sample_from_end_to_end():
    values = np.random.default_rng(0).permutation(10_000)
    column = profile(pa.table({"x": values}))["columns"]["x"]
    sample = column["sample"]
    assert len(sample) == 1000
    assert (sample[0], sample[-1]) == (0, 9999)
    assert max(np.diff(sample)) <= 11
    np.testing.assert_allclose(column["shares"], 0.1, atol=1e-3)


def test_what_is_not_finite_counts_as_null():
    table = pa.table({"x": [1.0, float("nan"), float("inf"), None]})
    column = profile(table)["columns"]["x"]
    assert (column["nulls"], column["sample"]) == (0.75, [1.0])


DAY = datetime.date(2020, 1, 2)


@pytest.mark.parametrize(
    ("array", "sample"),
    [
        (pa.array([DAY]), [18263.0]),
        (pa.array([datetime.datetime(1970, 1, 1, 0, 1)], pa.timestamp("s")), [60.0]),
        (pa.array([datetime.time(0, 0, 2)], pa.time32("ms")), [2000.0]),
        (pa.array([datetime.timedelta(seconds=3)], pa.duration("ms")), [3000.0]),
        (pa.array([7], pa.uint8()), [7.0]),
        (pa.array([1.5], pa.float32()), [1.5]),
        (pa.array([2.5]).cast(pa.decimal128(5, 2)), [2.5]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_every_kind_of_number_is_one(array, sample):
    column = profile(pa.table({"x": array}))["columns"]["x"]
    assert (column["kind"], column["sample"]) == ("number", sample)


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array(["a", "b", "b", None]), {"b": 2 / 3, "a": 1 / 3}),
        (pa.array(["a", "b", "b"]).dictionary_encode(), {"b": 2 / 3, "a": 1 / 3}),
        (pa.array([True, False, True, True]), {"True": 0.75, "False": 0.25}),
        (pa.array([b"\xff", b"\xff"]), {"b'\\xff'": 1.0}),
        (pa.array([["a"], ["a"], ["b"]]), {"['a']": 2 / 3, "['b']": 1 / 3}),
        (pa.array([None, None]), {}),
    ],
    ids=["text", "dictionary", "boolean", "binary", "list", "null"],
)
def test_everything_else_becomes_shares_of_values(array, values):
    column = profile(pa.table({"x": array}))["columns"]["x"]
    assert column["kind"] == "category"
    assert column["values"] == pytest.approx(values)
    assert column["nulls"] == array.null_count / len(array)


IMAGES = pa.FixedSizeListArray.from_arrays(
    pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype=np.uint8)), 2), 2
)
TENSORS = pa.ExtensionArray.from_storage(
    pa.fixed_shape_tensor(pa.float32(), (2,)), pa.array([[1, 3], [5, 7]], pa.list_(pa.float32(), 2))
)


@pytest.mark.parametrize(
    ("array", "described"),
    [
        (IMAGES, {"x (mean)": [1.5, 5.5, 9.5]}),
        (IMAGES.slice(1), {"x (mean)": [5.5, 9.5]}),
        (TENSORS, {"x (mean)": [2.0, 6.0]}),
        (pa.array([[1, 2], [6], None]), {"x (length)": [1.0, 2.0], "x (mean)": [1.5, 6.0]}),
        (pa.array([[1.0, None], []]), {"x (length)": [0.0, 2.0], "x (mean)": [1.0]}),
        (
            pa.array([[[1, 3]], [[1, 2], [3, 4]]]),
            {"x (length)": [1.0, 2.0], "x (mean)": [2.0, 2.5]},
        ),
        (pa.array([20 * "a", 22 * "b", None]), {"x (length)": [20.0, 22.0]}),
    ],
    ids=["images", "some of them", "tensors", "lists", "missing numbers", "channels", "text"],
)
def test_what_hardly_repeats_becomes_numbers_about_it(array, described):
    columns = profile(pa.table({"x": array}))["columns"]
    assert {name: column["sample"] for name, column in columns.items()} == described
    assert {column["kind"] for column in columns.values()} == {"number"}


def test_rare_values_are_put_together():
    words = [f"w{i:03d}" for i in range(80) for _ in range(1 + (i < 50))]
    values = profile(pa.table({"x": words}))["columns"]["x"]["values"]
    assert len(values) == 51
    assert values[OTHER] == pytest.approx(30 / 130)
    assert sum(values.values()) == pytest.approx(1)


def test_a_profile_is_json_and_an_empty_table_has_one():
    empty = profile(TABLE.slice(0, 0))
    assert empty["rows"] == 0
    assert empty["columns"]["n"] == {
        **{"kind": "number", "edges": [], "shares": [], "sample": [], "nulls": 0.0}
    }
    text = json.dumps(profile(TABLE), allow_nan=False)
    assert json.loads(text) == profile(TABLE)


TABLE = pa.table({"n": [1, 2, 3], "s": ["a", "b", "a"], "d": [DAY, None, DAY]})
