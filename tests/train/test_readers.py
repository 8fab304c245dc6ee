import numpy as np
import pyarrow as pa
import pytest

from distml.errors import DataError
from distml.train.inputs import Inputs


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(pa.array(["b", None, "new", "a"]), id="strings"),
        pytest.param(pa.array(["b", None, "new", "a"]).dictionary_encode(), id="dictionary"),
        pytest.param(
            pa.chunked_array([
                pa.array(["b", None]).dictionary_encode(),
                pa.array(["new", "a"]).dictionary_encode(),
            ]),
            id="two dictionaries",
        ),
        pytest.param(pa.array(["b", None, "new", "a"], pa.string_view()), id="views"),
    ],
)  # fmt: skip
def test_missing_and_unseen_categories_are_0(now):
    inputs = Inputs().fit(pa.table({"x": ["a", "a", "b"]}))
    assert inputs.rows(pa.table({"x": now})).arrays["categories"].tolist() == [[2], [0], [0], [1]]


def test_numbers_as_categories_are_the_same_in_every_type():
    inputs = Inputs(categories=["x"]).fit(pa.table({"x": [7, 7, 9]}))
    for values in ([9, None, 7], [9.0, np.nan, 7.0]):
        assert inputs.rows({"x": values}).arrays["categories"].tolist() == [[2], [0], [1]]


def test_no_value_at_all_is_0_everywhere():
    inputs = Inputs().fit(pa.table({"x": pa.nulls(2, pa.string()), "n": [1.0, 2.0]}))
    rows = inputs.rows({"x": ["a"], "n": [None]})
    assert rows.arrays["categories"].tolist() == [[0]]
    assert np.isnan(rows.arrays["numbers"][0, 0])


def test_tokens_leave_room_for_padding_and_the_unknown():
    inputs = Inputs(tokens=["x"]).fit(pa.table({"x": [[0, 3], [1]]}))
    assert inputs.fields_[0].num_values == (6,)
    batch = inputs.rows({"x": [[0, 3], [99]]}).take(slice(0, 2))
    assert batch["tokens"].tolist() == [[2, 5], [1, 0]]


def test_sequences_of_the_same_lengths_are_channels():
    table = pa.table({
        "a": [[1.0, 2.0], [3.0]],
        "b": pa.array([[[5, 6], [7, 8]], [[9, 0]]], pa.list_(pa.list_(pa.int8(), 2))),
    })  # fmt: skip
    inputs = Inputs().fit(table)
    assert inputs.fields_[0].size == (3,)
    assert inputs.rows(table).arrays["sequence"].values.tolist() == [
        [1, 5, 6],
        [2, 7, 8],
        [3, 9, 0],
    ]
    assert inputs.scales_["sequence"].mean.tolist() == pytest.approx([2.0, 7.0, 14 / 3])


def test_sequences_of_other_lengths_are_refused():
    inputs = Inputs().fit(pa.table({"a": [[1.0], [3.0]], "b": [[1.0], [3.0]]}))
    other = {"a": [[1.0], [3.0]], "b": [[1.0], [3.0, 4.0]]}
    with pytest.raises(DataError, match=r"columns 'a' and 'b' .* \(the first in row 1\)"):
        inputs.rows(other)


@pytest.mark.parametrize(
    "values", [pa.array([[1.0], [np.inf]], pa.list_(pa.float32(), 1)), pa.array([[np.inf]])]
)
def test_infinite_numbers_in_lists_are_refused_at_prediction(values):
    finite = pa.table({"x": pa.array([[1.0]] * 2, values.type)})
    with pytest.raises(DataError, match="column 'x' has infinite numbers"):
        Inputs().fit(finite).rows({"x": values})


def test_varying_lists_given_as_an_array_are_refused_by_name():
    inputs = Inputs(arrays={"x": (1, 2)}).fit(pa.table({"x": [[1.0, 2.0]]}))
    assert inputs.rows({"x": [[5.0, 6.0]]}).arrays["array"].tolist() == [[[5.0, 6.0]]]
    with pytest.raises(DataError, match="column 'x' has lists of 2 to 3 entries"):
        inputs.rows({"x": [[1.0, 2.0], [1.0, 2.0, 3.0]]})
