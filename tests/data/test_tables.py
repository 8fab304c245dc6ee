import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from distml.data.tables import as_table, first_line, unknown_column
from distml.errors import DataError

TABLE = pa.table({"a": [1, 2, None], "b": ["x", None, "z"]})


class StreamOnly:
    def __arrow_c_stream__(self, requested_schema=None):
        return TABLE.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(TABLE, id="table"),
        pytest.param(TABLE.to_batches()[0], id="batch"),
        pytest.param({"a": [1, 2, None], "b": ["x", None, "z"]}, id="dict of lists"),
        pytest.param({"a": TABLE["a"], "b": TABLE["b"]}, id="dict of arrow"),
        pytest.param([{"a": 1, "b": "x"}, {"a": 2}, {"b": "z"}], id="list of dicts"),
        pytest.param(StreamOnly(), id="arrow stream"),
        pytest.param(TABLE.replace_schema_metadata({"k": "v"}), id="metadata dropped"),
    ],
)
def test_every_form_becomes_the_same_table(data):
    assert as_table(data).equals(TABLE, check_metadata=True)


def test_pandas_loses_its_index_and_nan_becomes_null():
    frame = pd.DataFrame({"a": [1.0, np.nan], "c": pd.Categorical(["u", "v"])}, index=[7, 9])
    table = as_table(frame)
    assert table.column_names == ["a", "c"]
    assert table["a"].null_count == 1
    assert table["c"].to_pylist() == ["u", "v"]


def test_array_gets_names():
    array = np.arange(6.0).reshape(3, 2)
    assert as_table(array).column_names == ["x0", "x1"]
    assert as_table(array, columns=["u", "v"])["v"].to_pylist() == [1.0, 3.0, 5.0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(5, "cannot read a int", id="no table"),
        pytest.param({"a": [1], "b": [1, 2]}, "'a' has 1 rows but 'b' has 2", id="ragged"),
        pytest.param({"a": 1}, "'a' is one int", id="scalar"),
        pytest.param({"a": [1, "x"]}, "'a' cannot become one Arrow type", id="mixed"),
        pytest.param({"a": np.zeros((2, 2))}, "'a' cannot become", id="two dimensions in a column"),
        pytest.param(np.zeros(3), r"shape \(3,\)", id="one dimension"),
        pytest.param(pd.DataFrame({"m": [1, "x"]}), "column m", id="mixed pandas"),
        pytest.param(
            pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
            "'a' appears twice",
            id="duplicate",
        ),
    ],
)
def test_bad_tables_are_refused_by_name(data, message):
    with pytest.raises(DataError, match=message):
        as_table(data)


@pytest.mark.parametrize("asked", ["wind_gst", "Wind_Gust", "WIND_GUST"])
def test_an_unknown_column_is_told_with_the_nearest_one_whatever_its_case(asked):
    said = unknown_column(asked, ["hour", "wind_gust"], where="data")
    assert said == f"data: no column {asked!r}; did you mean 'wind_gust'?"


def test_wrong_number_of_names_is_refused():
    with pytest.raises(DataError, match="3 column names"):
        as_table(np.zeros((2, 2)), columns=["a", "b", "c"])


def test_unknown_column_suggests_the_nearest():
    assert unknown_column("wind", ["wind_gust", "hour"], where="t") == (
        "t: no column 'wind'; did you mean 'wind_gust'?"
    )
    assert "there are: a, b" in unknown_column("zzz", ["a", "b"], where="t")


def test_first_line_is_never_empty():
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("a.\nb")) == "a"
