import numpy as np
import pyarrow as pa
import pytest

from distml.errors import DataError, UserError
from distml.train.inputs import Inputs
from distml.train.roles import checked, roles_of

F32 = pa.float32()
TEXT = [f"four words and {i}" for i in range(4)]


@pytest.mark.parametrize(
    ("values", "role", "size"),
    [
        pytest.param(pa.array([1, 2]), "number", (), id="integers"),
        pytest.param(pa.array([True, None]), "number", (), id="booleans"),
        pytest.param(pa.array([1], pa.duration("s")), "number", (), id="durations"),
        pytest.param(pa.nulls(2), "number", (), id="nothing"),
        pytest.param(pa.array([0], pa.date32()), "date", (), id="dates"),
        pytest.param(pa.array([0], pa.timestamp("us", "UTC")), "date", (), id="timestamps"),
        pytest.param(pa.array(["a", "b"]), "category", (), id="strings"),
        pytest.param(pa.array(["a", None], pa.large_string()), "category", (), id="large strings"),
        pytest.param(pa.nulls(2, pa.string()), "category", (), id="no string"),
        pytest.param(pa.array(TEXT).dictionary_encode(), "category", (), id="dictionary"),
        pytest.param(pa.array([7, 8]).dictionary_encode(), "category", (), id="codes"),
        pytest.param(pa.array(TEXT), "text", (), id="text"),
        pytest.param(pa.array(TEXT[:1] * 8), "category", (), id="long but few"),
        pytest.param(pa.array([[1.0] * 3], pa.list_(F32, 3)), "array", (3,), id="fixed list"),
        pytest.param(
            pa.array([[[1] * 3] * 2], pa.list_(pa.list_(pa.uint8(), 3), 2)),
            "array",
            (2, 3),
            id="image",
        ),
        pytest.param(
            pa.ExtensionArray.from_storage(
                pa.fixed_shape_tensor(F32, (2, 2)), pa.array([[1.0] * 4], pa.list_(F32, 4))
            ),
            "array",
            (2, 2),
            id="tensors",
        ),
        pytest.param(pa.array([[1.0], [1.0, 2.0]]), "sequence", (1,), id="list"),
        pytest.param(
            pa.array([[[1.0, 2.0]]], pa.list_(pa.list_(F32, 2))), "sequence", (2,), id="steps"
        ),
        pytest.param(
            pa.array([[1.0]], pa.large_list(pa.float64())), "sequence", (1,), id="large list"
        ),
    ],
)
def test_column_is_read_by_its_type(values, role, size):
    (column,) = roles_of(pa.table({"x": values}), Inputs())
    assert (column.role, column.size) == (role, size)
    checked(pa.table({"x": values}), column)


@pytest.mark.parametrize(
    ("values", "options", "role"),
    [
        (pa.array(["a", "b"]), {"text": ["x"]}, "text"),
        (pa.array(TEXT), {"text": ()}, "category"),
        (pa.array(TEXT), {"categories": ["x"]}, "category"),
        (pa.array([3, 4]), {"categories": ["x"]}, "category"),
        (pa.array([[3, 4]]), {"tokens": ["x"]}, "tokens"),
        (pa.array([[3, 4]]), {"arrays": {"x": (2, 1)}}, "array"),
    ],
    ids=["text", "no text", "text as categories", "codes", "tokens", "array"],
)
def test_what_a_user_says_comes_first(values, options, role):
    (column,) = roles_of(pa.table({"x": values}), Inputs(**options))
    assert column.role == role


def test_columns_are_dropped():
    table = pa.table({"x": [1], "id": [b"abc"]})
    assert [column.name for column in roles_of(table, Inputs(drop=["id"]))] == ["x"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.binary(), [b"a"]),
        (pa.struct({"a": pa.int8()}), [{"a": 1}]),
        (pa.map_(pa.string(), pa.int8()), [[("a", 1)]]),
        (pa.list_(pa.string()), [["a"]]),
        (pa.list_(pa.list_(F32)), [[[1.0]]]),
        (pa.list_(pa.list_(F32), 1), [[[1.0]]]),
        (pa.list_(pa.list_(pa.list_(F32, 1), 1)), [[[[1.0]]]]),
    ],
    ids=str,
)
def test_type_that_no_network_takes_is_refused_with_how_to_drop_it(kind, values):
    with pytest.raises(DataError, match=r"column 'x' has type .* drop it: drop=\['x'\]"):
        roles_of(pa.table({"x": pa.array(values, kind)}), Inputs())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ["y"]}, "no column 'y'"),
        ({"drop": ["number"]}, "no column 'number'; did you mean 'numbers'"),
        ({"text": ["numbers"]}, "column 'numbers' has type int64 and cannot be read as text"),
        ({"tokens": ["signal"]}, "column 'signal' has type .* cannot be read as tokens"),
        ({"categories": ["signal"]}, "cannot be read as category"),
        ({"arrays": {"numbers": (1,)}}, "cannot be read as array"),
        (
            {"arrays": {"signal": (1,), "ids": (1,)}},
            r"columns 'signal' \(array\) and 'ids' \(array\)",
        ),
        ({"tokens": ["ids"], "text": ["words"]}, r"'words' \(text\) and 'ids' \(tokens\)"),
    ],
    ids=["unknown", "misspelt", "text", "tokens", "category", "array", "two arrays", "two tokens"],
)
def test_what_cannot_be_is_refused(options, message):
    table = pa.table({"numbers": [1], "signal": [[1.0]], "words": ["a"], "ids": [[1]]})
    with pytest.raises(UserError, match=message):
        roles_of(table, Inputs(**options))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (pa.array([1, 2]), pa.array(["a"])),
        (pa.array(["a"]), pa.array([1.0])),
        (pa.array([[1.0]]), pa.array([1.0])),
        (pa.array([[1.0]]), pa.array([[[1.0, 2.0]]], pa.list_(pa.list_(F32, 2)))),
        (pa.array([[1.0]]), pa.nulls(1)),
        (pa.nulls(1), pa.array(["a"])),
        (pa.array([0], pa.date32()), pa.array([0])),
    ],
    ids=["string", "number", "scalar", "channels", "nothing", "from nothing", "date"],
)
def test_column_that_has_become_something_else_is_refused(before, now):
    (column,) = roles_of(pa.table({"x": before}), Inputs())
    with pytest.raises(DataError, match=r"column 'x' was .* where the network was fitted"):
        checked(pa.table({"x": now}), column)


def test_renamed_column_is_missed():
    (column,) = roles_of(pa.table({"height": [1]}), Inputs())
    with pytest.raises(DataError, match="no column 'height'; did you mean 'Height'"):
        checked(pa.table({"Height": [1]}), column)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (pa.array([1, 2]), pa.array([True])),
        (pa.array([1, 2]), pa.nulls(1)),
        (pa.array(["a"]), pa.array(["a"]).dictionary_encode()),
        (pa.nulls(1), pa.array(np.array([1.0]))),
    ],
    ids=["boolean", "nothing", "dictionary", "from nothing"],
)
def test_column_may_change_its_type_within_its_family(before, now):
    (column,) = roles_of(pa.table({"x": before}), Inputs())
    assert len(checked(pa.table({"x": now}), column)) == 1
